"""What is overwritten or deleted is kept, can be had back, and goes when its time is over."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from baludav.db import audit
from baludav.db.audit import Kind
from baludav.db.tables import storage_roots, trash, versions
from baludav.errors import DiskFull, NotFound, Unavailable
from baludav.tree.disk.local import LocalStorage
from baludav.tree.disk.temporary import TemporaryFile
from baludav.tree.reading import NO_TERMS
from baludav.tree.records import history
from baludav.tree.tree import UserTree
from baludav.tree.truth.checking import check
from baludav.tree.truth.refreshing import refresh
from baludav.tree.upkeep import expiry
from baludav.tree.upkeep.recovery import recover
from providers.house import House
from tests.crash.installation import content, history_of, path, put
from tests.serving import wait_for


@pytest.fixture
def house(house: House) -> Iterator[House]:
    """At the end it agrees with the disk, whatever was done."""
    yield house
    assert check(house.tree, lambda done, total: None) == []
    assert all(recover(house.tree, root) == 0 for root in house.tree.roots.everything())


def _bytes(user: UserTree, name: str) -> list[bytes]:
    """The versions of a file, newest first."""
    found = []
    for version in user.versions(path(name)):
        fd = user.open_version(path(name), version.id)
        found.append(os.pread(fd, 1 << 20, 0))
        os.close(fd)
        assert version.size == len(found[-1])
    return found


def _move(user: UserTree, source: str, target: str) -> None:
    user.move(path(source), path(target), NO_TERMS, overwrite=True)


def _used(house: House) -> int:
    with house.database.reading() as connection:
        return sum(connection.scalars(select(storage_roots.c.used)))


def test_overwriting_keeps_the_old_bytes(user: UserTree) -> None:
    put(user, "file", b"second")
    put(user, "file", b"third")
    put(user, "file", b"third")  # the same bytes are no version
    assert _bytes(user, "file") == [b"second", b"old bytes"]
    assert {version.reason for version in user.versions(path("file"))} == {"overwritten"}


def test_a_version_shares_its_bytes_with_what_it_was(user: UserTree, tmp_path: Path) -> None:
    """Nothing is copied: the inode of the old file is that of the version."""
    inode = (tmp_path / "data/files/alice/file").stat().st_ino
    put(user, "file", b"second")
    (version,) = user.versions(path("file"))
    assert (tmp_path / "data/files/alice" / version.kept).stat().st_ino == inode


def test_restoring_a_version_is_a_write(user: UserTree) -> None:
    put(user, "file", b"second")
    (version,) = user.versions(path("file"))
    before = user.token()
    written = user.restore_version(path("file"), version.id)
    assert content(user)["file"] == b"old bytes"
    assert written.resource.sha256 == version.sha256
    assert _bytes(user, "file") == [b"second", b"old bytes"]
    assert user.versions(path("file"))[0].reason == "restored"
    assert [change.path for change in user.changes(before, most=9).changes] == [("file",)]
    with pytest.raises(NotFound):
        user.restore_version(path("file"), 999)
    with pytest.raises(NotFound):
        user.restore_version(path("other"), version.id)


def test_what_is_removed_from_the_trash_is_gone(house: House, user: UserTree, tmp_path: Path) -> None:
    """With all below it, and its versions; other things in the trash stay."""
    put(user, "d/sub/y", b"y2")
    put(user, "file", b"second")
    kept = tmp_path / "data/files/alice/.baludav/kept"
    before = len(list(kept.iterdir()))
    for name in ("d", "file", "e"):
        user.delete(path(name), NO_TERMS)
    ids = {entry.path: entry.deleted.resource_id for entry in user.trash()}
    for name in ("d", "file"):
        user.remove_trashed(ids[(name,)])
    assert [entry.path for entry in user.trash()] == [("e",)]
    assert len(list(kept.iterdir())) < before + 3
    for gone in (ids[("d",)], 999):
        with pytest.raises(NotFound):
            user.remove_trashed(gone)
        with pytest.raises(NotFound):
            user.trashed(gone)
        with pytest.raises(NotFound):
            user.restore_deleted(gone)
    user.empty_trash()
    assert user.trash() == []
    assert list(kept.iterdir()) == []


def test_a_large_trash_is_emptied(house: House, user: UserTree, tmp_path: Path) -> None:
    """In several transactions, and one row of the audit trail."""
    for number in range(450):
        user.make_collection(path(f"many{number}"), NO_TERMS)
        user.delete(path(f"many{number}"), NO_TERMS)
    user.empty_trash()
    assert user.trash() == []
    assert list((tmp_path / "data/files/alice/.baludav/kept").iterdir()) == []
    with house.database.reading() as connection:
        events = list(audit.find(connection, kinds=[Kind.TRASH_REMOVED]))
    assert [(event.user, event.path, event.times) for event in events] == [("alice", "/", 450)]


def test_bytes_outlast_a_disk_that_is_not_there(user: UserTree, tmp_path: Path) -> None:
    """What lies in the trash of a disk that is not mounted stays in the index, so that it is found again."""
    user.delete(path("file"), NO_TERMS)
    marker = tmp_path / "data/files/alice/.baludav/root"
    away = marker.rename(tmp_path / "away")
    (entry,) = user.trash()

    def is_missed() -> bool:
        with contextlib.suppress(Unavailable):
            return user.look(()) is None
        return True

    wait_for(is_missed, 10, "it is noticed that the disk is not there")
    for remove in (user.empty_trash, lambda: user.remove_trashed(entry.deleted.resource_id)):
        with pytest.raises(Unavailable):
            remove()
    away.rename(marker)
    assert user.trash() == [entry]
    user.restore_deleted(entry.deleted.resource_id)
    assert content(user)["file"] == b"old bytes"


def test_a_resource_is_found_by_its_id(user: UserTree) -> None:
    """Where it is now, wherever it was; not while it is in the trash."""
    number = user.look(path("d/x")).id
    assert number is not None
    assert user.find(number) == path("d/x")
    _move(user, "d", "moved")
    assert user.find(number) == path("moved/x")
    user.delete(path("moved"), NO_TERMS)
    for missing in (number, 0, 1 << 60):
        with pytest.raises(NotFound):
            user.find(missing)
    top = user.look(()).id
    assert top is not None
    assert user.find(top) == ()


@pytest.mark.parametrize("name", ["copy", "move"])
def test_copy_and_move_over_a_file_keep_its_bytes(user: UserTree, name: str) -> None:
    """So an editor that writes a new file and renames it leaves the history as one that overwrites."""
    put(user, "file", b"second")
    put(user, "new", b"third")
    if name == "move":
        _move(user, "new", "file")
    else:
        user.copy(path("new"), path("file"), NO_TERMS, overwrite=True, is_infinite=True)
    assert _bytes(user, "file") == [b"second", b"old bytes"]


def test_a_file_has_so_many_versions_and_no_more(user: UserTree, tmp_path: Path) -> None:
    for number in range(25):
        put(user, "file", b"%d" % number)
    assert _bytes(user, "file") == [b"%d" % number for number in range(23, 3, -1)]
    assert len(list((tmp_path / "data/files/alice/.baludav/kept").iterdir())) == 20


def test_delete_moves_to_the_trash_and_back(house: House, user: UserTree) -> None:
    """With members, ids, dead properties and versions; the quota is free meanwhile."""
    put(user, "d/sub/y", b"y2")
    user.patch(path("d/sub/y"), NO_TERMS, {"{urn:x}color": b"<c xmlns='urn:x'>red</c>"})
    before, used, resource = content(user), _used(house), user.look(path("d/sub/y"))
    token = user.token()
    user.delete(path("d"), NO_TERMS)
    assert _used(house) == used - 5002
    assert "d" not in content(user)
    (entry,) = user.trash()
    assert (entry.path, entry.is_collection, entry.deleted.size) == (("d",), True, 5002)
    user.restore_deleted(entry.deleted.resource_id)
    assert content(user) == before
    assert _used(house) == used
    assert user.look(path("d/sub/y")).id == resource.id
    assert user.properties(user.look(path("d/sub/y"))) == {"{urn:x}color": b"<c xmlns='urn:x'>red</c>"}
    assert _bytes(user, "d/sub/y") == [b"y"]
    assert user.trash() == []
    changes = user.changes(token, most=99).changes
    assert {change.path for change in changes} == {path(name) for name in before if name.startswith("d")}
    with pytest.raises(NotFound):
        user.restore_deleted(entry.deleted.resource_id)


def test_a_restore_overwrites_nothing(user: UserTree) -> None:
    user.delete(path("file"), NO_TERMS)
    user.make_collection(path("file"), NO_TERMS)
    user.delete(path("d/x"), NO_TERMS)
    user.delete(path("d"), NO_TERMS)
    first = {entry.path: entry.deleted.resource_id for entry in user.trash()}
    assert user.restore_deleted(first[path("file")]).resource.path == ("file (restored)",)
    written = user.restore_deleted(first[path("d/x")])
    assert written.resource.path == ("d", "x")
    assert user.restore_deleted(first["d",]).resource.path == ("d (restored)",)
    found = content(user)
    assert (found["file"], found["file (restored)"], found["d/x"]) == (None, b"old bytes", b"x" * 5000)
    assert "d (restored)/sub/y" in found


@pytest.mark.parametrize("name", ["copy collection", "move collection", "move file", "copy file"])
def test_what_replaces_a_collection_puts_it_in_the_trash(user: UserTree, name: str) -> None:
    source = "d" if "collection" in name else "file"
    if "move" in name:
        _move(user, source, "e")
    else:
        user.copy(path(source), path("e"), NO_TERMS, overwrite=True, is_infinite=True)
    (entry,) = user.trash()
    assert entry.path == ("e",)
    user.restore_deleted(entry.deleted.resource_id)
    assert content(user)["e (restored)/z"] == b"z"


def test_nobody_learns_of_the_history_of_others(house: House, user: UserTree) -> None:
    bob = house.accounts.add("bob", "bob's password")
    house.tree.create_home("bob")
    reader = house.tree.of(bob)
    put(user, "pub/f", b"one")
    put(user, "pub/f", b"two")
    with pytest.raises(NotFound):
        reader.versions(path("pub/f"))
    user.delete(path("pub/f"), NO_TERMS)
    (entry,) = user.trash()
    assert entry.path == ("pub", "f")
    assert reader.trash() == []
    with pytest.raises(NotFound):
        reader.restore_deleted(entry.deleted.resource_id)


def test_history_goes_by_age(house: House, user: UserTree) -> None:
    put(user, "file", b"second")
    put(user, "other", b"second")
    user.delete(path("d"), NO_TERMS)
    user.delete(path("e"), NO_TERMS)
    (old,) = user.versions(path("file"))
    deleted = next(entry.deleted for entry in user.trash() if entry.path == ("e",))

    def age(connection: Connection) -> None:
        connection.execute(update(versions).where(versions.c.id == old.id).values(kept_ns=1))
        connection.execute(update(trash).where(trash.c.resource_id == deleted.resource_id).values(deleted_ns=1))

    house.database.commit(age)
    assert expiry.expire_all(house.tree) == 2
    assert _bytes(user, "file") == []
    assert _bytes(user, "other") == [b"other bytes" * 100]
    assert [entry.path for entry in user.trash()] == [("d",)]
    assert history_of(user) == {b"other bytes" * 100, b"x" * 5000, b"y"}


def test_history_takes_its_share_of_the_free_quota(house: House, user: UserTree) -> None:
    """The oldest goes first; what is left is at most half of what the quota has free."""
    house.accounts.set_quota("alice", 100_000)
    for number in range(9):
        put(user, f"big{number}", b"%d" % number * 8_000)
    for number in range(9):
        user.delete(path(f"big{number}"), NO_TERMS)
    expiry.expire_all(house.tree)
    free = 100_000 - _used(house)
    left = sum(entry.deleted.size for entry in user.trash())
    assert free // 2 - 8_000 < left <= free // 2
    assert [entry.path for entry in user.trash()] == [(f"big{number}",) for number in range(8, 8 - left // 8_000, -1)]


def test_history_gives_way_before_a_disk_is_full(user: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    user.delete(path("d"), NO_TERMS)
    put(user, "file", b"second")
    monkeypatch.setattr(LocalStorage, "free", lambda self, path=(): (64 << 20) + (1 << 20))
    put(user, "small", b"s" * (1 << 20))
    assert len(user.trash()) == 1
    put(user, "large", b"l" * ((1 << 20) + 1_000))
    assert user.trash() == []
    assert _bytes(user, "file") == [b"old bytes"], "more went than was needed"


def test_what_others_have_beyond_their_share_gives_way(
    house: House, user: UserTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has a quota, and deletes more than that, keeps a disk full for nobody else."""
    house.accounts.add("mallory", "the-password-of-mallory", quota=30_000)
    house.tree.create_home("mallory")
    mallory = house.tree.of(house.accounts.get("mallory"))
    for number in range(9):
        put(mallory, f"f{number}", b"%d" % number * 8_000)
        mallory.delete(path(f"f{number}"), NO_TERMS)
    monkeypatch.setattr(LocalStorage, "free", lambda self, path=(): (64 << 20) + (1 << 20))
    put(user, "small", b"s" * (1 << 20))
    assert len(mallory.trash()) == 9
    put(user, "large", b"l" * ((1 << 20) + 1_000))
    assert sum(entry.deleted.size for entry in mallory.trash()) <= 15_000
    assert [entry.path for entry in mallory.trash()] == [("f8",)]


def test_history_gives_way_to_an_upload_of_any_length(user: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that turns out to be full in the middle of an upload is not the end of it."""
    user.delete(path("d"), NO_TERMS)
    monkeypatch.setattr(LocalStorage, "free", lambda self, path=(): 64 << 20)
    write, failures = TemporaryFile.write, [DiskFull()]

    def once_full(staged: TemporaryFile, data: bytes) -> None:
        if failures:
            raise failures.pop()
        write(staged, data)

    monkeypatch.setattr(TemporaryFile, "write", once_full)
    put(user, "small", b"some bytes")
    assert user.trash() == []
    assert content(user)["small"] == b"some bytes"


def test_what_a_crash_left_unrecorded_is_found_again(house: House, user: UserTree, tmp_path: Path) -> None:
    """Put away, but its row still in its place, or gone already: both come into the trash."""
    root = user.look(()).place.root
    assert root is not None
    first, second = user.look(path("file")).id, user.look(path("other")).id
    assert first is not None
    assert second is not None
    root.storage.put_away(path("file"), first)
    root.storage.put_away(path("other"), second)
    with pytest.raises(NotFound):
        user.look(path("other"))  # so the row goes
    assert recover(house.tree, root) == 2
    assert {entry.path for entry in user.trash()} == {("file",), ("other",)}
    for entry in user.trash():
        user.restore_deleted(entry.deleted.resource_id)
    assert content(user)["other"] == b"other bytes" * 100


def test_what_is_gone_from_the_disk_is_gone_from_the_history(house: House, user: UserTree, tmp_path: Path) -> None:
    put(user, "file", b"second")
    user.delete(path("d"), NO_TERMS)
    root = user.look(()).place.root
    assert root is not None
    for entry in root.storage.kept():
        root.storage.drop(entry.path)
    assert recover(house.tree, root) == 2
    assert (user.trash(), _bytes(user, "file")) == ([], [])


# What is deleted outside


def test_the_versions_of_what_is_deleted_outside_are_in_the_trash(house: House, user: UserTree, tmp_path: Path) -> None:
    """The newest comes back under its name, with the others; at once, and after all has been read again."""
    for name in ("file", "d/sub/y", "other"):
        for body in (b"second", b"third"):
            put(user, name, body + name.encode())
    home, used = tmp_path / "data/files/alice", _kept(house, user)
    (home / "file").unlink()
    shutil.rmtree(home / "d")
    for _ in range(2):
        _read_everything(house)
        entries = {entry.path: entry for entry in user.trash()}
        assert {path: entry.is_collection for path, entry in entries.items()} == {
            path("file"): False, path("d/sub/y"): False,
        }  # fmt: skip
        assert entries[path("d/sub/y")].deleted.size == len(b"secondd/sub/y")
        assert _kept(house, user) == used, "it is counted once"
    for entry in entries.values():
        user.restore_deleted(entry.deleted.resource_id)
    found = content(user)
    assert (found["file"], found["d/sub/y"]) == (b"secondfile", b"secondd/sub/y")
    assert (_bytes(user, "file"), _bytes(user, "d/sub/y")) == ([b"old bytes"], [b"y"])
    assert user.trash() == []


def test_what_turns_up_again_is_not_in_the_trash(house: House, user: UserTree, tmp_path: Path) -> None:
    """It was moved outside, or something else has taken its place: its versions go with it."""
    put(user, "file", b"second")
    put(user, "d/x", b"second")
    home = tmp_path / "data/files/alice"
    (home / "file").rename(home / "e/moved")
    (home / "d").rename(home / "e/d")
    for name in ("file", "d"):
        with pytest.raises(NotFound):
            user.look(path(name))
    assert {entry.path for entry in user.trash()} == {path("file"), path("d/x")}
    assert (_bytes(user, "e/moved"), _bytes(user, "e/d/x")) == ([b"old bytes"], [b"x" * 5000])
    assert user.trash() == []
    (home / "saved").write_bytes(b"third")
    (home / "saved").rename(home / "e/moved")
    assert _bytes(user, "e/moved") == [b"old bytes"]
    assert user.trash() == []


def test_what_was_deleted_outside_goes_by_age(house: House, user: UserTree, tmp_path: Path) -> None:
    """The version is what is left, and ends as one; or the deletion is what is old."""
    for name in ("file", "other"):
        put(user, name, b"second")
        (tmp_path / "data/files/alice" / name).unlink()
    _read_everything(house)
    deleted = {entry.path[0]: entry.deleted.resource_id for entry in user.trash()}

    def age(connection: Connection) -> None:
        connection.execute(update(versions).where(versions.c.resource_id == deleted["file"]).values(kept_ns=1))
        connection.execute(update(trash).where(trash.c.resource_id == deleted["other"]).values(deleted_ns=1))

    house.database.commit(age)
    assert expiry.expire_all(house.tree) == 2
    assert user.trash() == []
    assert history_of(user) == set()


def _kept(house: House, user: UserTree) -> int:
    root = user.look(()).place.root
    assert root is not None
    with house.database.reading() as connection:
        return history.used(connection, root.id)


def _read_everything(house: House) -> None:
    for root in house.tree.roots.everything():
        for _ in refresh(house.tree, root):
            pass
