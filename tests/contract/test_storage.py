"""What every storage does alike (`baludav.tree.disk.storage`)."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path as DiskPath

import pytest

from baludav import errors
from baludav.tree.disk import marker
from baludav.tree.disk.local import LocalStorage
from baludav.tree.disk.storage import CrossDevice, Identity, Stat, Storage
from tests.contract.memory import MemoryStorage

Make = Callable[[], Storage]
_NEXT = Identity(1 << 40, -1)  # of no file that is there


@pytest.fixture(params=["local, synced", "local", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: DiskPath) -> Iterator[Make]:
    """Makes storages of one kind, each empty."""
    made: list[Storage] = []

    def make() -> Storage:
        if request.param == "memory":
            made.append(MemoryStorage())
        else:
            folder = tmp_path / str(len(made))
            mark = marker.make(folder)
            made.append(LocalStorage(folder, mark, sync="synced" in request.param))
        return made[-1]

    yield make
    for storage in made:
        storage.close()


@pytest.fixture
def storage(make: Make) -> Storage:
    return make()


def _put(storage: Storage, path: str, data: bytes, mtime_ns: int | None = None) -> Stat:
    where = tuple(path.split("/"))
    staged = storage.stage(where[:-1])
    staged.write(data)
    staged.finish(mtime_ns=mtime_ns, sync=False)
    return storage.put(staged, where)


def _get(storage: Storage, path: str) -> bytes:
    with contextlib.ExitStack() as stack:
        fd = storage.open(tuple(path.split("/")))
        stack.callback(os.close, fd)
        return os.pread(fd, 1 << 20, 0)


def _names(storage: Storage, *path: str) -> set[str]:
    return {name for name, _ in storage.scan(path)}


def test_put_creates_and_replaces_in_one_step(storage: Storage) -> None:
    """Nothing is seen before; whoever has the old bytes open keeps them; the signature changes."""
    staged = storage.stage(())
    staged.write(b"ab")
    staged.write(memoryview(b"c"))
    assert staged.size == 3
    assert os.pread(staged.fd, 10, 0) == b"abc"
    assert _names(storage) == set()
    staged.finish(mtime_ns=5_000_000_000, sync=True)
    first = storage.put(staged, ("f",))
    assert first == storage.stat(("f",))
    assert (first.size, first.mtime_ns, first.is_collection) == (3, 5_000_000_000, False)
    old = storage.open(("f",))
    second = _put(storage, "f", b"new")
    assert (second.inode, second.ctime_ns) != (first.inode, first.ctime_ns)
    assert _get(storage, "f") == b"new"
    assert os.pread(old, 10, 0) == b"abc"
    os.close(old)


def test_what_is_discarded_was_never_there(storage: Storage) -> None:
    staged = storage.stage(())
    staged.write(b"abc")
    staged.discard()
    staged.discard()
    assert _names(storage) == set()


def test_staged_bytes_can_come_from_another_file(storage: Storage) -> None:
    _put(storage, "f", b"x" * 300_000)
    fd = storage.open(("f",))
    staged = storage.stage(())
    staged.copy_from(fd, 300_000)
    os.close(fd)
    staged.finish(mtime_ns=None, sync=False)
    assert storage.put(staged, ("g",)).size == 300_000
    assert _get(storage, "g") == b"x" * 300_000


def test_folders(storage: Storage) -> None:
    assert storage.make_folder(("d",)).is_collection
    storage.make_folder(("d", "e"))
    _put(storage, "d/f", b"f")
    assert _names(storage, "d") == {"e", "f"}
    assert storage.stat(()) is not None
    with pytest.raises(errors.Conflict):
        storage.make_folder(("d",))
    with pytest.raises(errors.Conflict):
        storage.make_folder(("d", "f"))
    with pytest.raises(errors.Conflict):
        storage.make_folder(("missing", "d"))


def test_what_is_not_there(storage: Storage) -> None:
    """Absence is an answer for reading, NotFound where something is needed, Conflict where a parent is."""
    _put(storage, "f", b"f")
    for path in (("missing",), ("missing", "deep"), ("f", "below")):
        assert storage.stat(path) is None
        assert storage.scan(path) == []
        with pytest.raises(errors.NotFound):
            storage.open(path)
        with pytest.raises(errors.NotFound):
            storage.set_mtime(path, 1)
        for take in (storage.take_aside, storage.put_away):
            with pytest.raises(errors.NotFound):
                take(path, 7)
        with pytest.raises(errors.NotFound):
            storage.keep(path, 7, _NEXT)
        storage.drop(path)
    with pytest.raises(errors.NotFound):
        storage.open(())
    for folder in (("missing",), ("f",)):
        with pytest.raises(errors.Conflict):
            storage.stage(folder)


def test_a_file_never_replaces_a_folder_nor_a_folder_a_file(storage: Storage) -> None:
    storage.make_folder(("d",))
    _put(storage, "f", b"f")
    staged = storage.stage(())
    staged.finish(mtime_ns=None, sync=False)
    with pytest.raises(errors.Failure):
        storage.put(staged, ("d",))
    staged.discard()
    with pytest.raises(errors.Failure):
        storage.move(("f",), storage, ("d",))
    with pytest.raises(errors.Failure):
        storage.move(("d",), storage, ("f",))
    assert _get(storage, "f") == b"f"
    assert _names(storage) == {"d", "f"}


def test_move_keeps_what_moves(make: Make) -> None:
    """Within a storage and to another on the same file system; the inode and the time stay."""
    one, other = make(), make()
    one.make_folder(("d",))
    before = _put(one, "d/f", b"f", 7_000_000_000)
    after = one.move(("d",), one, ("moved",))
    assert after.is_collection
    moved = one.stat(("moved", "f"))
    assert moved is not None
    assert (moved.inode, moved.mtime_ns) == (before.inode, before.mtime_ns)
    _put(other, "there", b"old")
    assert one.move(("moved", "f"), other, ("there",)).inode == before.inode
    assert _get(other, "there") == b"f"
    assert _names(one, "moved") == set()
    with pytest.raises(errors.Failure):
        one.move(("missing",), other, ("x",))


def test_move_to_another_kind_of_storage(storage: Storage, tmp_path: DiskPath) -> None:
    """CrossDevice, and nothing has changed."""
    _put(storage, "f", b"f")
    other = _Other()
    with pytest.raises(CrossDevice):
        storage.move(("f",), other, ("f",))  # type: ignore[arg-type]
    assert _get(storage, "f") == b"f"


class _Other:
    """No storage that any other knows."""


def test_aside(storage: Storage) -> None:
    """What is taken aside is gone at once, and comes back whole or is kept."""
    storage.make_folder(("d",))
    _put(storage, "d/f", b"f")
    aside = storage.take_aside(("d",), 7)
    assert _names(storage) == set()
    aside.put_back()
    assert _get(storage, "d/f") == b"f"
    kept = storage.take_aside(("d",), 7).put_away()
    assert _names(storage) == set()
    assert [(entry.path, entry.owner, entry.stat.is_collection) for entry in storage.kept()] == [(kept, 7, True)]
    assert storage.sweep(older_than_ns=time.time_ns() + 10**12) == 0
    storage.move(kept, storage, ("back",))
    assert _get(storage, "back/f") == b"f"
    assert storage.kept() == []


def test_what_is_put_away_can_come_back(storage: Storage) -> None:
    _put(storage, "f", b"f")
    kept = storage.put_away(("f",), 3)
    assert _names(storage) == set()
    assert _get(storage, "/".join(kept)) == b"f"
    assert [(entry.path, entry.owner, entry.stat.size) for entry in storage.kept()] == [(kept, 3, 1)]
    storage.move(kept, storage, ("g",))
    assert _get(storage, "g") == b"f"


def test_kept_bytes_outlive_what_replaces_them(storage: Storage) -> None:
    before = _put(storage, "f", b"old", 5_000_000_000)
    kept = storage.keep(("f",), 3, _NEXT)
    assert _names(storage) == {"f"}
    _put(storage, "f", b"newer")
    assert _get(storage, "/".join(kept)) == b"old"
    ((path, owner, stat),) = storage.kept()
    assert (path, owner, stat.inode, stat.mtime_ns) == (kept, 3, before.inode, 5_000_000_000)
    storage.drop(kept)
    assert storage.kept() == []
    assert _get(storage, "f") == b"newer"


def test_what_was_kept_is_found_by_what_replaces_it(storage: Storage) -> None:
    """Only for this owner and this very file, which is the same when it is in place."""
    _put(storage, "f", b"old")
    staged = storage.stage(())
    staged.write(b"newer")
    staged.finish(mtime_ns=None, sync=False)
    kept = storage.keep(("f",), 3, staged.identity)
    storage.put(staged, ("f",))
    now = storage.stat(("f",))
    assert now is not None
    successor = Identity.of(now, storage.born_ns(("f",)))
    found = storage.kept_from(("f",), 3, successor)
    assert found is not None
    assert (found.path, found.owner, found.stat.size) == (kept, 3, 3)
    assert [entry.path for entry in storage.kept()] == [kept]
    assert storage.kept_from(("f",), 4, successor) is None
    assert storage.kept_from(("f",), 3, _NEXT) is None
    assert storage.kept_from(("f",), 3, successor._replace(since_ns=successor.since_ns + 1)) is None


def test_what_was_kept_before_is_not_lost_when_it_is_kept_again(storage: Storage) -> None:
    """An attempt at a replacement was interrupted; what is there by now is kept before the next, and found."""
    _put(storage, "f", b"old")
    first = storage.keep(("f",), 3, _NEXT)
    assert storage.keep(("f",), 3, _NEXT) == first
    assert [entry.path for entry in storage.kept()] == [first]
    _put(storage, "f", b"newer")
    again = storage.keep(("f",), 3, _NEXT)
    found = storage.kept_from(("f",), 3, _NEXT)
    assert found is not None
    assert (found.path, _get(storage, "/".join(found.path))) == (again, b"newer")
    assert {_get(storage, "/".join(entry.path)) for entry in storage.kept()} == {b"old", b"newer"}


def test_what_was_put_can_be_taken_back(storage: Storage) -> None:
    """What was there is there again, whether it came to the replacement or not, and the bytes are staged again."""
    _put(storage, "f", b"old")
    for has_come in (True, False):
        staged = storage.resume(storage.begin(()))
        staged.write(b"newer")
        kept = storage.keep(("f",), 7, staged.identity)
        if has_come:
            storage.put(staged, ("f",))
            assert _get(storage, "f") == b"newer"
        storage.take_back(staged, ("f",), kept, has_replaced=True)
        staged.leave()
        assert _get(storage, "f") == b"old"
        assert storage.kept() == []
    assert len(storage.begun()) == 2


def test_a_new_file_can_be_taken_back(storage: Storage) -> None:
    """Nothing is there then, and nothing is left once the bytes are discarded."""
    staged = storage.stage(())
    staged.write(b"new")
    storage.put(staged, ("f",))
    storage.take_back(staged, ("f",), None, has_replaced=False)
    staged.discard()
    assert storage.stat(("f",)) is None
    assert storage.sweep(older_than_ns=1 << 62) == 0


def test_what_is_dropped_is_gone(storage: Storage) -> None:
    storage.make_folder(("d",))
    _put(storage, "d/f", b"f")
    storage.drop(("d",))
    assert _names(storage) == set()
    assert storage.kept() == []


def test_a_staged_folder_is_seen_when_it_is_moved_into_place(storage: Storage) -> None:
    _put(storage, "f", b"copied")
    staged, found = storage.stage_folder(())
    assert found.is_collection
    storage.make_folder((*staged, "d"))
    source = storage.open(("f",))
    with storage.filling((*staged, "d")) as folder:
        copied = folder.copy("g", source, 6, 9_000_000_000)
    os.close(source)
    assert os.pread(copied.fd, 9, 0) == b"copied"
    os.close(copied.fd)
    assert (copied.stat.size, copied.stat.mtime_ns) == (6, 9_000_000_000)
    assert copied.born_ns == storage.born_ns((*staged, "d", "g"))
    assert _names(storage) == {"f"}
    storage.sync_all(())
    storage.move(staged, storage, ("tree",))
    assert _get(storage, "tree/d/g") == b"copied"


def test_times(storage: Storage) -> None:
    before = _put(storage, "f", b"f")
    after = storage.set_mtime(("f",), 1_234_567_890_123_456_789)
    assert (after.mtime_ns, after.size, after.inode) == (1_234_567_890_123_456_789, 1, before.inode)
    assert after.ctime_ns >= before.ctime_ns
    born = storage.born_ns(("f",))
    _put(storage, "f", b"replaced")
    assert storage.born_ns(("missing",)) == 0
    assert born == 0 or storage.born_ns(("f",)) >= born


def test_free_space(storage: Storage) -> None:
    assert storage.free() > 0
    assert storage.free(("missing",)) > 0
    assert storage.granularity_ns((), 1) >= 0


def test_the_reserved_folder_is_not_listed(storage: Storage) -> None:
    storage.stage(()).discard()
    assert _names(storage) == set()


def test_finding_some_members(storage: Storage) -> None:
    """Only what is there, of what was asked for."""
    storage.make_folder(("d",))
    stat = _put(storage, "d/f", b"f")
    _put(storage, "d/g", b"g")
    assert storage.find(("d",), ["f", "missing"]) == {"f": stat}
    assert storage.find((), ["d"]) == {"d": storage.stat(("d",))}
    assert storage.find(("missing",), ["f"]) == {}
    assert storage.find(("d", "f"), ["f"]) == {}


def test_watching_a_folder_that_is_not_there(storage: Storage) -> None:
    _put(storage, "f", b"f")
    for path in (("missing",), ("f",)):
        with pytest.raises(errors.NotFound):
            storage.watch(-1, path)


def test_a_file_that_many_requests_fill(storage: Storage) -> None:
    """It stays when it is left, takes ranges in any order, and is put in place like any other."""
    _put(storage, "source", b"0123456789")
    begun = storage.begin(())
    assert storage.begun() == [begun]
    source = storage.open(("source",))
    for start, size, at in ((4, 3, 2), (0, 2, 0)):
        staged = storage.resume(begun)
        staged.copy_range(source, start, size, at)
        staged.finish(mtime_ns=None, sync=True)
        staged.leave()
    os.close(source)
    assert storage.sweep(older_than_ns=time.time_ns() + 10**12) == 0
    assert _names(storage) == {"source"}
    staged = storage.resume(begun)
    assert (staged.size, os.pread(staged.fd, 100, 0)) == (5, b"01456")
    storage.adopt(staged, ())
    assert not storage.is_begun(begun, ("target",))
    storage.put(staged, ("target",))
    staged.leave()
    assert storage.is_begun(begun, ("target",)) == (storage.born_ns(("target",)) != 0)
    assert not storage.is_begun(begun, ("source",))
    assert _get(storage, "target") == b"01456"
    assert storage.begun() == []
    with pytest.raises(errors.NotFound):
        storage.resume(begun)


def test_one_that_is_given_up(storage: Storage) -> None:
    begun = storage.begin(())
    storage.drop(begun)
    storage.drop(begun)
    assert storage.begun() == []
    with pytest.raises(errors.NotFound):
        storage.resume(begun)
    with pytest.raises(errors.Conflict):
        storage.begin(("missing",))
