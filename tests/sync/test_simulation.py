"""Devices that come and go, lose what they knew and break off, and others beside them: nobody's bytes are lost.

When all are online again and nothing happens any more, every device has the tree that the server has, and every byte
string that anybody has saved is in the tree or in the history; unless its own user threw it away before the server
had it, or somebody overwrote or deleted it on the server's disk, where no server can keep it.
"""

import contextlib
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import requests
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from baludav import config
from baludav.tree.upkeep import expiry
from providers.house import House, open_house
from tests.http.client import User
from tests.serving import Server, wait_for
from tests.sync.client import Client, Picture
from tests.sync.folder import Blocked, Folder, composed
from tests.sync.follower import Follower
from tests.sync.planner import Planner
from tests.sync.reference import Device, Memory, Offline, Trouble, sha256

WORKERS = 3
KINDS: list[tuple[type[Device], str, bool]] = [
    (Follower, "linux", False), (Planner, "phone", False), (Follower, "mac", True), (Planner, "windows", True),
]  # fmt: skip
PATHS = [
    "/a", "/A", "/b.txt", "/b.txt/x", "/d", "/d/a", "/d/A", "/D/a", "/d/e/x", "/d/e/y", "/D/e", "/f/g",
    "/\u00e9", "/e\u0301", "/d/\u00e9/x", "/d/e\u0301/y",
]  # fmt: skip
ROUNDS = 30
EXAMPLES = 30
STEPS = 50


class Saved:
    """What anybody has saved, and the bytes that nobody can be asked for any more."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self._numbers = itertools.count()

    def new(self) -> bytes:
        """Bytes that nobody has saved before; some are long enough to come in pieces."""
        number = next(self._numbers)
        body = b"%d " % number * (60_000 if number % 13 == 12 else 3)
        self.bodies[sha256(body)] = body
        return body

    def thrown_away(self, body: bytes) -> None:
        self.bodies.pop(sha256(body), None)


# ---- what may happen at any time, also while a device is at it ----


class World:
    """A server, the devices of one user, and what else changes that user's files."""

    def __init__(self, server: Server, house: House, name: str) -> None:
        self.server = server
        self.house = house
        self.name = name
        self.saved = Saved()
        self.home = server.home(name)
        self.api = Client(server, name)
        self.dav = User(server, name)
        clock = itertools.count(1_700_000_000)
        self.devices = [kind(self.api, name, Folder(folds=folds), clock) for kind, name, folds in KINDS]
        self.backups: dict[int, tuple[Folder, Memory]] = {}
        self.has_killed = False

    def do(self, what: str, *arguments: Any) -> None:
        getattr(self, what)(*arguments)

    # Users at their devices

    def write(self, number: int, path: str) -> None:
        body = self.saved.new()
        if not self._write(number, path, body):
            self.saved.thrown_away(body)

    def write_the_same(self, number: int, path: str) -> None:
        """What others may write, too."""
        self._write(number, path, b"the same everywhere")

    def _write(self, number: int, path: str, body: bytes) -> bool:
        folder = self.devices[number].folder
        before = folder.files()
        try:
            folder.write(path, body)
        except Blocked:
            return False
        self._gone_here(number, before)
        return True

    def make_folder(self, number: int, path: str) -> None:
        with contextlib.suppress(Blocked):
            self.devices[number].folder.make(path)

    def remove(self, number: int, path: str) -> None:
        before = self.devices[number].folder.files()
        self.devices[number].folder.remove(path)
        self._gone_here(number, before)

    def rename(self, number: int, path: str, to: str) -> None:
        with contextlib.suppress(Blocked):
            self.devices[number].folder.rename(path, to)

    def prefer(self, number: int, resolution: str) -> None:
        self.devices[number].resolution = resolution

    def _gone_here(self, number: int, before: dict[str, bytes]) -> None:
        """What a user throws away that the server never had is nowhere."""
        device = self.devices[number]
        left = set(device.folder.files().values())
        for path, body in before.items():
            if body not in left and device.memory.base.get(path) != sha256(body):
                self.saved.thrown_away(body)

    # What befalls devices

    def back_up(self, number: int) -> None:
        self.backups[number] = self.devices[number].backup()

    def restore(self, number: int, is_whole: bool) -> None:
        """Have back what the backup holds: everything, or only what the client remembers."""
        if number not in self.backups:
            return
        device = self.devices[number]
        before, (folder, memory) = device.folder.files(), self.backups.pop(number)
        if is_whole:
            device.folder = folder
            self._gone_here(number, before)
        device.memory = memory

    def forget(self, number: int) -> None:
        """The client loses all that it remembers."""
        self.devices[number].memory = Memory()

    def sync(self, number: int, meanwhile: "list[tuple[int, Act]]" = [], trouble: "Break" = None) -> None:  # noqa: B006
        """One sync of a device, in the middle of which other things happen, and which may break off."""
        left = sorted(meanwhile, key=lambda one: one[0], reverse=True)

        def before(count: int) -> None:
            while left and left[-1][0] <= count:
                self.do(*left.pop()[1])

        device = self.devices[number]
        device.line.renew(before, {} if trouble is None else dict([trouble]))
        with contextlib.suppress(Offline):
            device.sync()
        device.line.renew()

    # Others, who use the server without a sync client, and without any condition

    def put(self, path: str) -> None:
        body = self.saved.new()
        for collection in Folder.above(path):
            self._request("MKCOL", collection)
        if self._request("PUT", path, body) not in (201, 204):
            self.saved.thrown_away(body)

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def transfer(self, path: str, to: str, is_move: bool) -> None:
        self._request("MOVE" if is_move else "COPY", path, Destination=to)

    def _request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
        try:
            answer = self.dav(method, path, body, **headers)
        except requests.RequestException:
            return 0  # its worker was killed
        assert answer.status_code != 500, answer.text
        return answer.status_code

    # Outside, on the disk of the server

    def write_outside(self, path: str, is_saved_aside: bool) -> None:
        target, body = self._on_disk(path), self.saved.new()
        old = target.read_bytes() if target.is_file() else b""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            written = target.with_name(f"{target.name}~") if is_saved_aside else target
            written.write_bytes(body)
            written.replace(target)
        except OSError:  # a folder is there, or a file above
            self.saved.thrown_away(body)
        else:
            self.saved.thrown_away(old)

    def remove_outside(self, path: str) -> None:
        target = self._on_disk(path)
        bodies = [file.read_bytes() for file in (target, *target.rglob("*")) if file.is_file()]
        with contextlib.suppress(OSError):
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            for body in bodies:
                self.saved.thrown_away(body)

    def rename_outside(self, path: str, to: str) -> None:
        source, target = self._on_disk(path), self._on_disk(to)
        old = target.read_bytes() if target.is_file() else b""
        with contextlib.suppress(OSError):
            source.rename(target)
            self.saved.thrown_away(old)

    def _on_disk(self, path: str) -> Path:
        return self.home / path[1:]

    # What befalls the server

    def kill_worker(self, number: int) -> None:
        workers = self.server.pids()[1:]
        os.kill(workers[number % len(workers)], signal.SIGKILL)
        wait_for(
            lambda: len(set(self.server.pids()[1:]) - {workers[number % len(workers)]}) == WORKERS, 20, "a new one"
        )

    def expire(self) -> None:
        """All changes until now are older than the server remembers."""
        root = self.house.tree.roots.home(self.name)
        expiry.forget_changes(self.house.tree, root, 1 << 62)

    # ---- what must be ----

    def come_to_rest(self) -> None:
        """All are online, one after the other, until nobody has anything to do."""
        self._await_the_disk()
        for _ in range(ROUNDS):
            if sum(self._has_synced(device) for device in self.devices) == 0:
                return
        raise AssertionError("they never rest")

    def _await_the_disk(self) -> None:
        wait_for(lambda: self.server_files() == self.disk_files(), 30, "what was changed outside is known")

    def _has_synced(self, device: Device) -> bool:
        try:
            return device.sync()
        except Offline:  # a connection of a worker that was killed
            return True

    def require_agreement(self) -> None:
        server = self.server_files()
        assert server == self.disk_files()
        for device in self.devices:
            here = {path: sha256(body) for path, body in device.folder.files().items()}
            assert _alike(here) == _alike(server), device.name
        states = {one["name"]: one for one in self.api.get("/devices")["devices"]}
        for device in self.devices:
            state = states[device.name]
            assert (state["status"], state["pending_changes"], state["conflicts"]) == ("synced", 0, 0), state

    def require_everything_saved(self) -> None:
        """Whatever was deleted is had back, and then every byte string is a file, or a version of one."""
        while entries := self.api.get("/trash")["entries"]:
            for entry in entries:
                self._restore(entry)
            # Something may have been deleted outside just before its collection was: its versions come to the trash.
            self._await_the_disk()
        found = self.server_files()
        there = set(found.values())
        for path in found:
            there |= {version["sha256"] for version in self.api.get("/history", path=path)["versions"]}
        missing = self.saved.bodies.keys() - there
        assert not missing, [self.saved.bodies[digest][:20] for digest in missing]
        kept = {sha256(file.read_bytes()) for file in self.home.rglob("*") if file.is_file()}
        assert self.saved.bodies.keys() <= kept, "the index says so, and the disk has it not"

    def _restore(self, entry: Any) -> None:
        answer = self.api("POST", "/trash/restore", json={"trash_id": entry["trash_id"]})
        if answer.status_code == 409:  # a file is where its collection was
            for number, above in enumerate(Folder.above(entry["path"])):
                self.dav("MOVE", above, Destination=f"{above} {entry['trash_id']} {number}", Overwrite="F")
            answer = self.api("POST", "/trash/restore", json={"trash_id": entry["trash_id"]})
        assert answer.status_code == 200, answer.text

    def server_files(self) -> dict[str, str | None]:
        picture = Picture(self.api, 10_000)
        picture.read()
        return {path: found for path, found in picture.tree.items() if found is not None}

    def disk_files(self) -> dict[str, str | None]:
        files = (file for file in self.home.rglob("*") if file.is_file())
        shown = ((f"/{file.relative_to(self.home)}", file) for file in files)
        return {path: sha256(file.read_bytes()) for path, file in shown if not path.startswith("/.baludav")}


def _alike(files: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted((composed(path), digest) for path, digest in files.items())


Act = tuple[Any, ...]
Break = tuple[int, Trouble] | None


def _act(what: Callable[..., None], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Act]:
    return st.tuples(st.just(what.__name__), *arguments)


paths = st.sampled_from(PATHS)
numbers = st.integers(0, len(KINDS) - 1)
at_devices = st.one_of(
    _act(World.write, numbers, paths),
    _act(World.write, numbers, paths),
    _act(World.write_the_same, numbers, paths),
    _act(World.remove, numbers, paths),
    _act(World.rename, numbers, paths, paths),
    _act(World.make_folder, numbers, paths),
)
by_others = st.one_of(
    _act(World.put, paths),
    _act(World.delete, paths),
    _act(World.transfer, paths, paths, st.booleans()),
    _act(World.write_outside, paths, st.booleans()),
    _act(World.remove_outside, paths),
    _act(World.rename_outside, paths, paths),
)
befalling = st.one_of(
    _act(World.back_up, numbers),
    _act(World.restore, numbers, st.booleans()),
    _act(World.forget, numbers),
    _act(World.prefer, numbers, st.sampled_from(["keep_server", "keep_local", "keep_both"])),
    _act(World.expire),
    _act(World.kill_worker, st.integers(0, WORKERS - 1)),
)
meanwhile = st.lists(
    st.tuples(st.integers(0, 12), st.one_of(at_devices, by_others, _act(World.sync, numbers))), max_size=3
)
breaks = st.none() | st.tuples(st.integers(0, 12), st.sampled_from(["cut", "lost"]))


class Simulation(RuleBasedStateMachine):
    server: Server
    house: House
    names: Iterator[str]

    @initialize()
    def begin(self) -> None:
        self.world = World(self.server, self.house, next(self.names))
        self.failure: Exception | None = None

    def _do(self, *acts: Act) -> None:
        """Do something. A failure ends the run after all has been drawn, which must not depend on what happens."""
        try:
            for act in acts if self.failure is None else ():
                self.world.do(*act)
        except Exception as error:
            self.failure = error

    @rule(acts=st.lists(at_devices, min_size=1, max_size=3))
    def users_are_busy(self, acts: list[Act]) -> None:
        self._do(*acts)

    @rule(act=by_others)
    def others_are_busy(self, act: Act) -> None:
        self._do(act)

    @rule(act=befalling)
    def something_befalls(self, act: Act) -> None:
        self._do(act)

    @rule(number=numbers, meanwhile=meanwhile, trouble=breaks)
    def one_syncs(self, number: int, meanwhile: list[tuple[int, Act]], trouble: Break) -> None:
        self._do(("sync", number, meanwhile, trouble))

    @rule(number=numbers)
    def one_syncs_quietly(self, number: int) -> None:
        self._do(("sync", number))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            if self.failure is not None:
                raise self.failure
            self.world.come_to_rest()
            self.world.require_agreement()
            self.world.require_everything_saved()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Server, House]]:
    """A server whose users have their homes before it starts, so that these are watched from the beginning."""
    settings = {"data": str(tmp_path / "data"), "history_versions": 1000}
    house = open_house(config.build({"baludav": settings}, {}))
    server = Server(tmp_path / "data", workers=WORKERS, environment={"BALUDAV_HISTORY_VERSIONS": "1000"})
    for number in range(EXAMPLES):
        name = f"user{number}"
        server.passwords[name] = f"the-password-of-{name}"
        house.accounts.add(name, server.passwords[name])
        house.tree.create_home(name)
    with server:
        yield server, house
    house.close()


def test_nobody_loses_anything(served: tuple[Server, House]) -> None:
    Simulation.server, Simulation.house = served
    Simulation.names = iter(name for name in served[0].passwords if name != "admin")
    machine = Simulation.TestCase
    machine.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # what others do at the same time cannot be made smaller
    )
    machine("runTest").runTest()
