"""What was changed outside: a resource that was moved stays itself, whoever looks first, and nothing else does."""

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from baludav.db.tables import resources, storage_roots
from baludav.errors import NotFound
from baludav.tree.reading import NO_TERMS
from baludav.tree.records import index, vanished
from baludav.tree.roots import StorageRoot
from baludav.tree.tree import UserTree
from baludav.tree.truth import hashing
from baludav.tree.truth.checking import check
from baludav.tree.truth.refreshing import refresh
from providers.house import House
from tests.crash.installation import content, path, put, user_of

RED = {"{urn:x}color": b"<c xmlns='urn:x'>red</c>"}


@pytest.fixture
def house(house: House) -> Iterator[House]:
    """At the end it agrees with the disk, whatever was done."""
    yield house
    for root in house.tree.roots.everything():
        assert sum(refresh(house.tree, root)) >= 0
    assert check(house.tree, lambda done, total: None) == []
    sizes = sum(len(body or b"") for body in content(user_of(house)).values())
    with house.database.reading() as connection:
        assert sum(connection.scalars(select(storage_roots.c.used))) == sizes


@pytest.fixture
def root(house: House) -> StorageRoot:
    return house.tree.roots.home("alice")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the files that were hashed since."""
    sizes: list[int] = []
    original = hashing.hash_descriptor

    def counting(fd: int, patience: hashing.Patience = hashing.ENDLESS) -> str | None:
        sizes.append(os.fstat(fd).st_size)
        return original(fd, patience)

    monkeypatch.setattr(hashing, "hash_descriptor", counting)
    return sizes


def _id(user: UserTree, name: str) -> int | None:
    return user.look(path(name)).id


def _is_there(user: UserTree, name: str) -> bool:
    try:
        user.look(path(name))
    except NotFound:
        return False
    return True


# In which order somebody looks at the old and the new names; `round` reads everything.
Look = Callable[[House, list[str], list[str]], None]


def _new_first(house: House, old: list[str], new: list[str]) -> None:
    for name in [*new, *old]:
        _is_there(user_of(house), name)


def _old_first(house: House, old: list[str], new: list[str]) -> None:
    for name in [*old, *new]:
        _is_there(user_of(house), name)


def _round(house: House, old: list[str], new: list[str]) -> None:
    for root in house.tree.roots.everything():
        for _ in refresh(house.tree, root):
            pass


@pytest.fixture(params=[_new_first, _old_first, _round])
def look(request: pytest.FixtureRequest) -> Look:
    return request.param  # type: ignore[no-any-return]


def test_a_file_moved_outside_is_the_same_resource(
    house: House, user: UserTree, home: Path, hashed: list[int], look: Look
) -> None:
    """Id, dead properties and versions stay, no byte is read again, and the journal tells of a move."""
    put(user, "file", b"second")
    user.patch(path("file"), NO_TERMS, RED)
    before, token, count = _id(user, "file"), user.token(), len(hashed)
    (home / "file").rename(home / "d/sub/moved")
    look(house, ["file"], ["d/sub/moved"])
    assert _id(user, "d/sub/moved") == before
    assert not _is_there(user, "file")
    assert user.properties(user.look(path("d/sub/moved"))) == RED
    assert [version.size for version in user.versions(path("d/sub/moved"))] == [9]
    assert len(hashed) == count
    changes = {change.path: change for change in user.changes(token, most=99).changes}
    moved = changes[path("d/sub/moved")]
    assert (moved.action, moved.moved_from, moved.device_id) == ("created", path("file"), None)
    assert changes[path("file")].action == "deleted"


def test_a_folder_moved_outside_is_one_change_of_place(
    house: House, user: UserTree, home: Path, hashed: list[int], look: Look
) -> None:
    names = ["d", "d/x", "d/sub", "d/sub/y"]
    ids, token, count = [_id(user, name) for name in names], user.token(), len(hashed)
    (home / "d").rename(home / "e/dd")
    moved = [name.replace("d", "e/dd", 1) for name in names]
    look(house, names, moved)
    assert [_id(user, name) for name in moved] == ids
    assert len(hashed) == count
    changes = {change.path: change for change in user.changes(token, most=99).changes}
    assert {path(name): path(old) for name, old in zip(moved, names, strict=True)} == {
        found: change.moved_from for found, change in changes.items() if change.action == "created"
    }
    assert {path(name) for name in names} == {p for p, change in changes.items() if change.action == "deleted"}


def test_a_member_of_a_moved_folder_is_looked_at_first(user: UserTree, home: Path, hashed: list[int]) -> None:
    """The folder above has moved, so it moves as a whole, whatever was asked for."""
    ids, count = [_id(user, name) for name in ("d", "d/sub", "d/sub/y", "d/x")], len(hashed)
    (home / "d").rename(home / "e/dd")
    assert not _is_there(user, "d/sub/y")
    assert _id(user, "e/dd/sub/y") == ids[2]
    assert [_id(user, f"e/d{name}") for name in ("d", "d/sub", "d/sub/y", "d/x")] == ids
    assert len(hashed) == count


def test_members_moved_out_of_a_folder_that_goes(
    house: House, user: UserTree, home: Path, hashed: list[int], look: Look
) -> None:
    ids, count = [_id(user, name) for name in ("d/x", "d/sub")], len(hashed)
    (home / "d/x").rename(home / "e/x")
    (home / "d/sub").rename(home / "e/sub")
    (home / "d").rmdir()
    look(house, ["d", "d/x", "d/sub"], ["e/x", "e/sub"])
    assert [_id(user, name) for name in ("e/x", "e/sub")] == ids
    assert not _is_there(user, "d")
    assert len(hashed) == count


def test_a_folder_and_what_was_in_it_change_places(house: House, user: UserTree, home: Path, look: Look) -> None:
    """d/sub becomes the collection that holds d."""
    ids = [_id(user, name) for name in ("d", "d/sub", "d/sub/y", "d/x")]
    (home / "d/sub").rename(home / "top")
    (home / "d").rename(home / "top/d")
    look(house, ["d", "d/sub", "d/sub/y"], ["top", "top/d", "top/d/x"])
    assert [_id(user, name) for name in ("top/d", "top", "top/y", "top/d/x")] == ids


@pytest.mark.parametrize("names", [("file", "other"), ("d", "e"), ("d/x", "e/z"), ("file", "d/x")])
def test_two_names_are_swapped(
    house: House, user: UserTree, home: Path, hashed: list[int], look: Look, names: tuple[str, str]
) -> None:
    ids, count = [_id(user, name) for name in names], len(hashed)
    one, other = home / names[0], home / names[1]
    one.rename(home / "t")
    other.rename(one)
    (home / "t").rename(other)
    look(house, [names[0]], [names[1]])
    assert [_id(user, name) for name in reversed(names)] == ids
    assert len(hashed) == count


def test_names_are_rotated(house: House, user: UserTree, home: Path, hashed: list[int], look: Look) -> None:
    """As logs are: each keeps what it is, and the first name is a new resource."""
    ids, count = [_id(user, name) for name in ("file", "other")], len(hashed)
    (home / "other").rename(home / "third")
    (home / "file").rename(home / "other")
    (home / "file").write_bytes(b"begun anew")
    look(house, ["file", "other"], ["third"])
    assert [_id(user, name) for name in ("other", "third")] == ids
    assert _id(user, "file") not in ids
    assert hashed[count:] == [10]


def test_a_move_over_another_file(house: House, user: UserTree, home: Path, look: Look) -> None:
    """What was moved stays itself; the history of the name goes on, as after a MOVE."""
    put(user, "file", b"second")
    ids = [_id(user, name) for name in ("file", "other")]
    (home / "other").rename(home / "file")
    look(house, ["other"], ["file"])
    assert _id(user, "file") == ids[1]
    assert not _is_there(user, "other")
    assert [version.size for version in user.versions(path("file"))] == [9]


def test_an_editor_that_saves_by_rename(house: House, user: UserTree, home: Path, look: Look) -> None:
    """Nobody saw its temporary file: another resource, and yet the versions of this name stay with it."""
    put(user, "file", b"second")
    (home / "file.tmp").write_bytes(b"saved")
    (home / "file.tmp").rename(home / "file")
    look(house, ["file"], ["file"])
    assert content(user)["file"] == b"saved"
    assert [version.size for version in user.versions(path("file"))] == [9]


def test_moved_and_edited(house: House, user: UserTree, home: Path, hashed: list[int], look: Look) -> None:
    """The same resource with other bytes, which are read."""
    before, count = _id(user, "file"), len(hashed)
    (home / "file").rename(home / "moved")
    (home / "moved").write_bytes(b"edited!")
    look(house, ["file"], ["moved"])
    assert _id(user, "moved") == before
    assert content(user)["moved"] == b"edited!"
    assert hashed[count] == 7


def test_a_second_link_is_no_move(house: House, user: UserTree, home: Path, look: Look) -> None:
    before = _id(user, "file")
    os.link(home / "file", home / "link")
    look(house, ["file"], ["link"])
    assert _id(user, "file") == before
    assert _id(user, "link") != before
    (home / "file").unlink()
    look(house, ["file"], ["link"])
    assert _is_there(user, "link")


def test_two_links_of_what_has_vanished(house: House, user: UserTree, home: Path, look: Look) -> None:
    """One of them is the resource."""
    before = _id(user, "file")
    os.link(home / "file", home / "one")
    (home / "file").rename(home / "two")
    look(house, ["file"], ["one", "two"])
    assert {_id(user, "one") == before, _id(user, "two") == before} == {True, False}


def test_replaced_at_the_old_place(house: House, user: UserTree, home: Path, look: Look) -> None:
    before = _id(user, "file")
    (home / "file").rename(home / "moved")
    (home / "file").write_bytes(b"another one")
    look(house, ["file"], ["moved"])
    assert _id(user, "moved") == before
    assert _id(user, "file") != before


def test_an_inode_that_is_used_again_is_another_resource(
    house: House, user: UserTree, home: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same number, size and time, but born later."""
    before = _id(user, "file")
    root = house.tree.roots.home("alice")
    born = root.storage.born_ns
    (home / "file").rename(home / "moved")  # the same inode, as if it were used again
    monkeypatch.setattr(root.storage, "born_ns", lambda names: born(names) + 1)
    monkeypatch.setattr("baludav.tree.disk.kernel.born_ns", lambda fd: 1)
    look(house, ["file"], ["moved"])
    assert _id(user, "moved") != before


def test_without_times_of_birth_only_files_are_recognised(
    house: House, user: UserTree, home: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("file", "d"):  # as a file system that has none would have it
        with house.database.reading() as connection:
            row = index.chain(connection, house.tree.roots.home("alice").id, (name,))[-1]
        house.database.commit(
            lambda connection, row=row: index.see(
                connection, row, row.signature, sha256=row.sha256, born_ns=0, is_settled=True
            )
        )
    ids = [_id(user, name) for name in ("file", "d")]
    monkeypatch.setattr("baludav.tree.disk.kernel.born_ns", lambda fd: 0)
    (home / "file").rename(home / "moved")
    (home / "d").rename(home / "dd")
    look(house, ["file", "d"], ["moved", "dd"])
    assert _id(user, "moved") == ids[0]
    assert _id(user, "dd") != ids[1]
    assert content(user)["dd/x"] == b"x" * 5000


def test_a_move_between_storage_roots_is_none(
    house: House, user: UserTree, home: Path, tmp_path: Path, look: Look
) -> None:
    before = _id(user, "d")
    (home / "d").rename(tmp_path / "share/d")
    look(house, ["d"], ["pub/d"])
    assert _id(user, "pub/d") != before
    assert content(user)["pub/d/x"] == b"x" * 5000


def test_what_does_not_turn_up_is_forgotten_after_a_round(house: House, user: UserTree, home: Path) -> None:
    def rows() -> int:
        with house.database.reading() as connection:
            return int(connection.scalar(select(func.count()).select_from(resources)) or 0)

    before = rows()
    shutil.rmtree(home / "d")
    assert not _is_there(user, "d")
    assert rows() == before, "it might turn up"
    _round(house, [], [])
    assert rows() == before - 4
    with house.database.reading() as connection:
        assert vanished.all_of(connection, house.tree.roots.home("alice").id) == []


def test_what_comes_back_is_the_same(house: House, user: UserTree, home: Path, tmp_path: Path, look: Look) -> None:
    """Moved out of sight and back to where it was: deleted and created, but no move."""
    names = ["d", "d/x", "d/sub/y"]
    ids = [_id(user, name) for name in names]
    (home / "d").rename(tmp_path / "elsewhere")
    assert not _is_there(user, "d")
    token = user.token()
    (tmp_path / "elsewhere").rename(home / "d")
    look(house, [], names)
    assert [_id(user, name) for name in names] == ids
    assert {change.moved_from for change in user.changes(token, most=99).changes} == {None}


def test_a_write_to_the_old_name(user: UserTree, home: Path) -> None:
    """Makes another resource; what was moved away stays itself."""
    before = _id(user, "file")
    (home / "file").rename(home / "moved")
    put(user, "file", b"new")
    assert _id(user, "file") != before
    assert _id(user, "moved") == before


def test_locks_do_not_move(user: UserTree, home: Path) -> None:
    """RFC 4918 §7.5."""
    user.lock(path("file"), NO_TERMS, is_exclusive=True, is_infinite=False, owner_xml="", timeout=60, client="")
    (home / "file").rename(home / "moved")
    assert user.locks_on(user.look(path("moved"))) == []


def test_a_disk_that_is_not_mounted_in_a_folder(
    house: House, user: UserTree, home: Path, root: StorageRoot, look: Look
) -> None:
    """Its empty mount point says nothing: what is on it has not been deleted."""
    with house.database.reading() as connection:
        rows = index.subtree(connection, index.chain(connection, root.id, ("d",))[-1].id)
    for row in rows:  # as if it had been another disk
        stat = row.signature._replace(device=row.device + 1)
        house.database.commit(
            lambda connection, row=row, stat=stat: index.see(
                connection, row, stat, sha256=row.sha256, born_ns=row.born_ns, is_settled=row.is_settled
            )
        )
    token = user.token()
    shutil.rmtree(home / "d")
    (home / "d").mkdir()
    look(house, ["d/x", "d"], ["d/sub/y"])
    assert user.members(user.look(path("d"))) == []
    assert user.changes(token, most=9).changes == []
    (home / "d/now").write_bytes(b"in use as a folder")
    look(house, ["d"], ["d/now"])
    assert "d/x" not in content(user)
    assert {change.path for change in user.changes(token, most=9).changes} > {("d", "x"), ("d", "now")}


def test_a_disk_with_another_number_is_the_same(
    house: House, user: UserTree, root: StorageRoot, hashed: list[int]
) -> None:
    """As some file systems get one at each mount: nothing is hashed, nothing has changed."""
    token = user.token()
    with house.database.reading() as connection:
        row = index.top(connection, root.id)
    assert row is not None
    house.database.commit(lambda connection: index.renumber(connection, root.id, row.device, 1 << 40))
    _round(house, [], [])
    assert hashed == []
    assert user.changes(token, most=9).changes == []


def test_a_restore_onto_another_disk(house: House, user: UserTree, home: Path, tmp_path: Path) -> None:
    """New inodes everywhere: what has its name and bytes is the same resource."""
    names = ["file", "d", "d/sub/y"]
    ids, token = [_id(user, name) for name in names], user.token()
    shutil.copytree(home, tmp_path / "copy")
    shutil.rmtree(home)
    (tmp_path / "copy").rename(home)
    (home / "file").write_bytes(b"newer than the backup")
    _round(house, [], [])
    assert [_id(user, name) for name in names[1:]] == ids[1:]
    assert [change.path for change in user.changes(token, most=9).changes] == [("file",)]
    (home / "d").rename(home / "dd")  # from now on inodes count again
    assert _id(user, "dd") == ids[1]


def _change_something(chance: random.Random, home: Path, text: bytes) -> None:
    """One random change, many of which fail."""

    def some() -> Path:
        return home / "/".join(chance.choice(["d", "e", "file", "x", "sub"]) for _ in range(chance.randint(1, 3)))

    one = some()
    with contextlib.suppress(OSError):
        match chance.randrange(8):
            case 0:
                one.mkdir()
            case 1 | 2 | 3:
                one.write_bytes(text)
            case 4 | 5 | 6:
                one.rename(some())
            case 7:
                shutil.rmtree(one) if one.is_dir() else one.unlink()


@pytest.mark.parametrize("seed", range(25))
def test_every_inode_stays_the_resource_that_it_was(
    house: House, user: UserTree, home: Path, root: StorageRoot, seed: int
) -> None:
    """Through any changes, whenever somebody looks; and whoever follows the journal has the same picture."""
    chance = random.Random(seed)
    known: dict[tuple[int, int], int | None] = {}

    def learn() -> None:
        for file in sorted(home.rglob("*")):
            name = file.relative_to(home).as_posix()
            if not name.startswith(".baludav"):
                inode = file.stat().st_ino, root.storage.born_ns(path(name))
                now = _id(user, name)
                assert known.setdefault(inode, now) == now, name

    def picture() -> dict[tuple[str, ...], int | None]:
        return {resource.path: resource.id for resource in user.listing(most=999).resources}

    mirror, token = picture(), user.token()
    for turn in range(60):
        _change_something(chance, home, b"%d" % turn)
        if chance.random() < 0.1:
            _round(house, [], [])
        if chance.random() < 0.1:
            learn()
        if chance.random() < 0.3:
            _is_there(user, chance.choice(["d/sub", "e", "d/x", "file"]))
    _round(house, [], [])
    learn()
    for change in user.changes(token, most=9999).changes:
        if change.resource is None:
            mirror = {where: i for where, i in mirror.items() if where[: len(change.path)] != change.path}
        else:
            mirror[change.path] = change.resource.id
    assert mirror == picture()
