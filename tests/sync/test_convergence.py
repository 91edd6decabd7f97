"""Devices and a server in memory do what is decided and resolved: all end with the same, and no bytes are lost."""

import itertools
from collections.abc import Callable
from random import Random

import hypothesis.strategies as st
from hypothesis import given, settings

from baludav.tree.conflictcopy import conflict_copy, is_conflict_copy
from sync_ext.actions import Action, Clash, DeleteHere, DeleteThere, Download, Here, There, Upload, Wait
from sync_ext.decision import decide
from sync_ext.resolution import Now, Step, steps
from sync_ext.spelling import folded

NAMES = ["/a", "/A", "/b.txt", "/d", "/d/x", "/d/X", "/D/x", "/d/e/y", "/D/e/y", "/b.txt/z"]
RESOLUTIONS = ["keep_server", "keep_local", "keep_both"]
EDITS = ["write", "write", "write", "delete", "move"]
ROUNDS = 40


class Refused(Exception):
    """A condition does not hold (any more)."""


class Died(Exception):
    """The client of a device was killed."""


def is_below(path: str, collection: str) -> bool:
    return path.startswith(f"{collection}/")


def collections_above(path: str) -> set[str]:
    return {path[:at] for at in range(1, len(path)) if path[at] == "/"}


class Server:
    """Files by path, and the bytes in the history."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.collections: set[str] = set()
        self.history: set[str] = set()

    def now(self, path: str) -> Now | None:
        if path in self.collections:
            inside = sorted((p, sha) for p, sha in self.files.items() if is_below(p, path))
            folders = sorted(c for c in self.collections if is_below(c, path))
            return Now(f"{inside}{folders}", True)
        return Now(self.files[path], False) if path in self.files else None

    def listing(self) -> list[There]:
        files = [There(*item) for item in self.files.items()]
        return files + [There(path, None, True, self.now(path).etag) for path in self.collections]  # type: ignore[union-attr]

    def require(self, path: str, etag: str | None) -> None:
        now = self.now(path)
        if (None if now is None else now.etag) != etag:
            raise Refused(path)

    def put(self, path: str, sha256: str, replaces: str | None) -> None:
        self.require(path, replaces)
        if collections_above(path) & self.files.keys() or path in self.collections:
            raise Refused(path)
        if path in self.files:
            self.history.add(self.files[path])
        self.collections |= collections_above(path)
        self.files[path] = sha256

    def delete(self, path: str, etag: str) -> None:
        self.require(path, etag)
        for gone in [p for p in self.files if p == path or is_below(p, path)]:
            self.history.add(self.files.pop(gone))
        self.collections = {c for c in self.collections if c != path and not is_below(c, path)}

    def move(self, path: str, to: str, etag: str) -> None:
        self.require(path, etag)
        self.require(to, None)
        moved = {to + p[len(path) :]: sha for p, sha in self.files.items() if p == path or is_below(p, path)}
        folders = {to + c[len(path) :] for c in self.collections if c == path or is_below(c, path)}
        kept = set(self.history)
        self.delete(path, etag)
        self.history = kept
        self.files |= moved
        self.collections |= folders | collections_above(to)


class Device:
    """A client that keeps what it had in common with the server.

    Args:
        folds: its file system does not tell cases apart.
        dies: whether it dies now.
    """

    def __init__(self, server: Server, name: str, dies: Callable[[], bool], *, folds: bool) -> None:
        self.server, self.name, self.dies, self.folds = server, name, dies, folds
        self.files: dict[str, str] = {}
        self.base: dict[str, str] = {}

    def spelled(self, path: str) -> str:
        """The name under which the file system would find a path."""
        if not self.folds:
            return path
        everything = self.files.keys() | set().union(*map(collections_above, self.files))
        found = ""
        for name in path.split("/")[1:]:
            wanted = f"{found}/{name}"
            found = next((p for p in sorted(everything) if folded(p) == folded(wanted)), wanted)
        return found

    def can_hold(self, path: str) -> bool:
        return not collections_above(path) & self.files.keys() and not any(is_below(p, path) for p in self.files)

    # What its user does

    def write(self, path: str, sha256: str) -> None:
        path = self.spelled(path)
        if self.can_hold(path):
            self.files[path] = sha256

    def delete(self, path: str) -> None:
        path = self.spelled(path)
        self.files = {p: sha for p, sha in self.files.items() if p != path and not is_below(p, path)}

    def move(self, path: str, to: str) -> None:
        path = self.spelled(path)
        moved = {p: sha for p, sha in self.files.items() if p == path or is_below(p, path)}
        self.delete(path)
        to = self.spelled(to)
        is_free = to not in self.files and self.can_hold(to)
        for p, sha in moved.items():
            self.files[(to if is_free else path) + p[len(path) :]] = sha

    # What its client does

    def plan(self) -> list[Action]:
        paths = self.files.keys() | self.base.keys()
        return decide([Here(p, self.files.get(p), self.base.get(p)) for p in paths], self.server.listing())

    def settle(self) -> None:
        """Remember what is in common."""
        for path in self.files.keys() | self.base.keys():
            if self.files.get(path) == self.server.files.get(path):
                if path in self.files:
                    self.base[path] = self.files[path]
                else:
                    del self.base[path]

    def apply(self, actions: list[Action]) -> None:
        for kind in (DeleteHere, Download, DeleteThere, Upload):
            for action in actions:
                if isinstance(action, kind):
                    self.do(action)

    def do(self, action: Action) -> None:
        self.may_die()
        match action:
            case DeleteHere(path, sha256):
                assert self.files.pop(path) == sha256
                self.base.pop(path)
            case Download(path):
                self.download(path)
            case DeleteThere(path, etag):
                self.server.delete(path, etag)
                if path not in self.files:
                    self.forget(path)
            case Upload(path, replaces):
                self.upload(path, path, replaces)

    def upload(self, path: str, source: str, replaces: str | None) -> None:
        if source not in self.files:
            raise Refused(source)
        self.server.put(path, self.files[source], replaces)
        self.may_die()
        if path == source:
            self.base[path] = self.files[path]

    def forget(self, path: str) -> None:
        self.base = {p: sha for p, sha in self.base.items() if p != path and not is_below(p, path)}

    def may_die(self) -> None:
        if self.dies():
            raise Died

    def download(self, path: str) -> None:
        if path not in self.server.files:
            raise Refused(path)
        assert self.spelled(path) == path, "the file system would take it for another"
        assert self.can_hold(path)
        self.files[path] = self.base[path] = self.server.files[path]

    def resolve(self, clash: Clash, at: float, resolution: str) -> None:
        names = tuple(clash.path.split("/")[1:])
        copy = "/" + "/".join(conflict_copy(names, at, self.name))
        other = None if clash.other is None else self.server.now(clash.other)
        may_copy = not is_conflict_copy(names[-1])
        for step in steps(clash, resolution, copy, self.server.now(clash.path), other, may_copy=may_copy):  # type: ignore[arg-type]
            self.take(step)

    def take(self, step: Step) -> None:
        self.may_die()
        path = step.path
        match step.do:
            case "upload":
                assert step.source is not None
                self.upload(path, step.source, step.etag)
            case "download":
                self.download(path)
            case "delete":
                assert step.etag is not None
                self.server.delete(path, step.etag)
            case "move":
                assert step.to is not None
                assert step.etag is not None
                self.server.move(path, step.to, step.etag)
            case "delete_local":
                self.files.pop(path, None)
                self.forget(path)
            case "move_local":
                assert step.to is not None
                moved = {p: sha for p, sha in self.files.items() if p == path or is_below(p, path)}
                if not moved:
                    raise Refused(path)
                assert self.spelled(step.to) == step.to
                assert step.to not in self.files
                assert self.can_hold(step.to)
                self.files = {p: sha for p, sha in self.files.items() if p not in moved}
                self.forget(path)
                self.files |= {step.to + p[len(path) :]: sha for p, sha in moved.items()}


edits = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(EDITS), st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12
)


@settings(max_examples=200)
@given(st.lists(edits, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_all_end_with_the_same_and_nothing_is_lost(
    phases: list[list[tuple[int, str, str, str]]], chance: Random
) -> None:
    server, mortality = Server(), [0.05]
    devices = [
        Device(server, name, lambda: chance.random() < mortality[0], folds=name == "windows")
        for name in ("linux", "windows", "phone")
    ]
    contents, clock = itertools.count(1), itertools.count(1_700_000_000)
    saved: set[str] = set()
    for phase in phases:
        for number, what, path, to in phase:
            device = devices[number]
            before = set(device.files.values())
            if what == "write":
                device.write(path, f"{next(contents) if chance.random() < 0.8 else 0:064}")
            elif what == "delete":
                device.delete(path)
            else:
                device.move(path, to)
            # What its own user takes away before anybody else has seen it is not lost.
            saved -= before - set(device.files.values()) - set(server.files.values()) - server.history
        for device in chance.sample(devices, 2):
            _sync(device, device.plan(), saved, chance, clock.__next__)
    mortality[0] = 0
    for _ in range(ROUNDS):
        # All plan before one of them acts: some find on the way that their plan is out of date.
        plans = [(device, device.plan()) for device in devices]
        if not any(actions for _, actions in plans):
            break
        for device, actions in plans:
            assert not actions or any(not isinstance(action, Wait) for action in actions), "for what do all wait?"
            _sync(device, actions, saved, chance, clock.__next__)
    for device in devices:
        assert device.plan() == []
        assert device.files == server.files
    assert not saved - set(server.files.values()) - server.history
    assert not any(name.count("(conflict ") > 1 for path in server.files for name in path.split("/"))


def _sync(device: Device, actions: list[Action], saved: set[str], chance: Random, clock: Callable[[], int]) -> None:
    """A device does what was decided, and resolves its conflicts somehow; it stops where that cannot be."""
    saved |= set(device.files.values()) | set(device.server.files.values())
    try:
        device.apply(actions)
        for action in actions:
            if isinstance(action, Clash):
                device.resolve(action, clock(), chance.choice(RESOLUTIONS))
        device.settle()
    except (Refused, Died):
        pass
