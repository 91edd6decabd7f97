"""The operations that faults meet, the installation they work on, and what is wrong after each fault."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from baludav.errors import Failure, NotFound
from baludav.tree.reading import NO_TERMS
from baludav.tree.records.conflicts import Found, Kind
from baludav.tree.tree import UserTree
from baludav.tree.truth.refreshing import refresh
from providers.house import House
from tests.crash.installation import agreed, open_installation, path, prepare, put, user_of
from tests.crash.test_break_points import OPERATIONS as CRASHED
from tests.faults.failing import Faults, failing_database

PARTS = {"1": b"first " * 1000, "2": b"second " * 3000}
CLEAR = {503, 507}  # Service Unavailable, Insufficient Storage


def prepare_more(folder: Path) -> None:
    prepare(folder)
    house = open_installation(folder)
    user = user_of(house)
    put(user, "twice", b"first")
    put(user, "twice", b"second")
    put(user, "guarded", b"guarded")
    user.lock(path("guarded"), NO_TERMS, is_exclusive=True, is_infinite=False, owner_xml="", client="", timeout=3600)
    put(user, "gone", b"gone")
    user.delete(path("gone"), NO_TERMS)
    user.make_collection(path("lost"), NO_TERMS)
    put(user, "lost/l", b"lost")
    user.delete(path("lost"), NO_TERMS)
    put(user, "doc", b"first save")
    user.move(path("doc"), path("old doc"), NO_TERMS, overwrite=True)
    put(user, "doc", b"saved")
    put(user, "empty", b"")
    put(user, "pub/p", b"p")
    user.begin_upload("parts")
    _send(user, "1")
    alice = house.accounts.get("alice")
    laptop, _ = house.devices.add(alice.id, "laptop", "desktop", "token")
    user.record_conflicts(laptop.id, [Found(path("file"), Kind.BOTH_EDITED, "b" * 64, "1" * 64, "5" * 64)], frozenset())
    house.close()


def _send(user: UserTree, name: str) -> None:
    with user.open_part("parts", name, length=len(PARTS[name])) as part:
        part.write(PARTS[name])
        part.commit()


def _finish(user: UserTree) -> None:
    if len(user.upload_parts("parts")) == 1:
        _send(user, "2")
    user.finish_upload("parts", path("file"), NO_TERMS)


def _restore_version(user: UserTree) -> None:
    (version, *_) = user.versions(path("twice"))
    user.restore_version(path("twice"), version.id)


def _restore(name: str) -> Callable[[UserTree], object]:
    def work(user: UserTree) -> None:
        (entry,) = (entry for entry in user.trash() if entry.path == path(name))
        user.restore_deleted(entry.deleted.resource_id)

    return work


def _unlock(user: UserTree) -> None:
    for lock, _ in user.locks_on(user.look(path("guarded"))):
        user.unlock(path("guarded"), lock.token)


def _resolve(user: UserTree) -> None:
    for conflict in user.conflicts():
        user.resolve_conflict(conflict, "keep_server")


def _patch(user: UserTree) -> object:
    return user.patch(path("file"), NO_TERMS, {"{urn:x}colour": b"<x/>", "{urn:x}size": None}, modified_ns=10**18)


def _lock_there(user: UserTree) -> object:
    return user.lock(path("file"), NO_TERMS, is_exclusive=False, is_infinite=False, owner_xml="", client="", timeout=60)


def _save(user: UserTree) -> None:
    """The last step of a save that renames twice: the old file goes."""
    user.delete(path("old doc"), NO_TERMS)


def _delete(name: str) -> Callable[[UserTree], object]:
    return lambda user: user.delete(path(name), NO_TERMS)


OPERATIONS: dict[str, Callable[[UserTree], object]] = {
    **{name: operation for name, (operation, _) in CRASHED.items()},
    "put over, all at once": lambda user: user.replace(path("file"), NO_TERMS, b"newer bytes", modified_ns=10**18),
    "put the same": lambda user: user.replace(path("file"), NO_TERMS, b"old bytes"),
    "put over nothing": lambda user: user.replace(path("empty"), NO_TERMS, b"some"),
    "put what was deleted": lambda user: put(user, "gone", b"back"),
    "delete from a share": _delete("pub/p"),
    "proppatch": _patch,
    "lock": _lock_there,
    "unlock": _unlock,
    "restore a version": _restore_version,
    "restore a file": _restore("gone"),
    "restore a collection": _restore("lost"),
    "resolve": _resolve,
    "finish a save": _save,
    "finish an upload": _finish,
}


def picture(house: House, folder: Path, *, has_debris: bool = False) -> dict[str, object]:
    """All that an operation changes for its user; fails unless all is well."""
    user = user_of(house)
    found: dict[str, object] = dict(agreed(house, folder, has_debris=has_debris))
    file = user.look(path("file")) if "file" in found else None
    found["properties"] = None if file is None else (user.properties(file), file.modified_ns == 10**18)
    found["locks"] = sorted(
        (name, lock.is_exclusive)
        for name, body in found.items()
        if isinstance(body, bytes) and "/" not in name
        for lock, _ in user.locks_on(user.look(path(name)))
    )
    found["trash"] = sorted("/".join(entry.path) for entry in user.trash())
    found["versions"] = {
        name: [version.size for version in user.versions(path(name))]
        for name, body in found.items()
        if isinstance(body, bytes)
    }
    found["conflicts"] = len(user.conflicts())
    return found


def problems(name: str, faults: Faults, pristine: Path, folder: Path) -> list[str]:
    """What is wrong after each fault of an operation."""
    operation = OPERATIONS[name]
    found = []
    with failing_database():
        with _copied(pristine, folder) as house:
            old = picture(house, folder)
            operation(user_of(house))
            new = picture(house, folder)
        while True:
            before = len(os.listdir("/proc/self/fd"))
            with _copied(pristine, folder) as house:
                try:
                    _one(operation, house, folder, faults, old, new)
                except (AssertionError, Failure) as error:
                    found.append(f"{faults.fired}: {error!r}")
            if faults.fired is None:
                return found
            if len(os.listdir("/proc/self/fd")) > before:
                found.append(f"{faults.fired}: a descriptor is left open")


def _one(
    operation: Callable[[UserTree], object], house: House, folder: Path, faults: Faults, old: object, new: object
) -> None:
    user, failure = user_of(house), None
    with faults.armed():
        try:
            operation(user)
        except Failure as caught:
            failure = caught
        except Exception as error:
            raise AssertionError(f"{error!r} is no failure of ours") from error
    place = faults.fired and faults.fired[0]
    found = picture(house, folder, has_debris=place is not None and place.is_removal)
    if failure is None:
        assert found == new, f"no failure: {place}"
        return
    is_sent_instead = isinstance(failure, NotFound) and place is not None and place.is_within("write_known")
    assert failure.status in CLEAR or is_sent_instead, f"{failure!r}: {place}"
    assert found in (old, new), f"{failure!r}: {place}"
    operation(user)
    assert picture(house, folder) == new, f"the next request: {place}"


@contextlib.contextmanager
def _copied(pristine: Path, folder: Path) -> Iterator[House]:
    """A copy of the installation, as if it had always been there."""
    shutil.copytree(pristine, folder)
    house = open_installation(folder, "fast")
    try:
        for root in house.tree.roots.everything():
            for _ in refresh(house.tree, root):
                pass
        house.close()
        house = open_installation(folder)
        yield house
    finally:
        house.close()
        shutil.rmtree(folder)
