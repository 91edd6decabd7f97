"""A worker that dies in the middle of a write: who looks next finds the resource itself, while the others go on."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import select

from baludav.db.tables import storage_roots
from baludav.errors import NotFound
from baludav.tree.http.preconditions import Conditions
from baludav.tree.http.updates import Update
from baludav.tree.reading import NO_TERMS
from baludav.tree.records.uploads import Begun
from baludav.tree.tree import UserTree
from baludav.tree.truth.checking import check
from baludav.tree.truth.refreshing import refresh
from baludav.tree.upkeep.recovery import recover
from providers.house import House
from tests.crash.dying import die_at
from tests.crash.installation import content, copy, move, open_installation, path, put, user_of

RED = {"{urn:x}color": b"<c xmlns='urn:x'>red</c>"}
Work = Callable[[UserTree], object]


@pytest.fixture
def house(house: House) -> Iterator[House]:
    """At the end index, disk and history agree, whatever was interrupted."""
    yield house
    for root in house.tree.roots.everything():
        for _ in refresh(house.tree, root):
            pass
        recover(house.tree, root)
    assert check(house.tree, lambda done, total: None) == []
    assert all(recover(house.tree, root) == 0 for root in house.tree.roots.everything())


@pytest.fixture(autouse=True)
def _annotated(user: UserTree) -> None:
    put(user, "empty", b"")
    put(user, "temporary", b"saved")
    for name in ("file", "empty"):
        user.patch(path(name), NO_TERMS, RED)


def _interrupted(folder: Path, work: Work, step: str = "renamed") -> None:
    """Let another process do it, and die at the step of this name."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            house = open_installation(folder)
            die_at(step)
            work(user_of(house))
            status = 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) < 0, "it has not come to this step"


def _patch(user: UserTree) -> None:
    with user.open_patch(path("file"), NO_TERMS, Update(4)) as patch:
        patch.write(b"BYTES")
        patch.commit()


def _write_known(user: UserTree) -> None:
    resource = user.look(path("e/z"))
    assert resource.sha256 is not None
    user.write_known(path("file"), NO_TERMS, resource.sha256, resource.size)


WRITES: dict[str, tuple[str, Work, bytes]] = {
    "put": ("file", lambda user: put(user, "file", b"new bytes"), b"new bytes"),
    "patch": ("file", _patch, b"old BYTES"),
    "write known bytes": ("file", _write_known, b"z"),
    "copy": ("file", copy("e/z", "file"), b"z"),
    "save": ("file", move("temporary", "file"), b"saved"),
    "put over nothing": ("empty", lambda user: put(user, "empty", b"new"), b"new"),
    "save over nothing": ("empty", move("temporary", "empty"), b"saved"),
    "put nothing": ("file", lambda user: put(user, "file", b""), b""),
}


@pytest.mark.parametrize("write", WRITES)
def test_what_is_replaced_is_the_same_resource(write: str, house: House, user: UserTree, tmp_path: Path) -> None:
    """Its id, dead properties and history stay, and one change tells of the new bytes."""
    name, work, body = WRITES[write]
    before, token = user.look(path(name)), user.token()
    old = content(user)[name]
    _interrupted(tmp_path, work)
    assert content(user)[name] == body
    now = user.look(path(name))
    assert now.id == before.id
    assert user.properties(now) == RED
    assert [version.sha256 for version in user.versions(path(name))] == ([before.sha256] if old else [])
    changes = [change for change in user.changes(token, most=99).changes if change.path == path(name)]
    assert [change.action for change in changes] == ["modified"]
    assert house.tree.roots.home("alice").storage.kept() == [] or old


def test_a_write_over_the_very_bytes(user: UserTree, house: House, tmp_path: Path) -> None:
    """Nothing has changed, and nothing is left of it."""
    before, token = user.look(path("file")), user.token()
    _interrupted(tmp_path, lambda user: put(user, "file", b"old bytes"))
    now = user.look(path("file"))
    assert (now.id, now.sha256, user.token()) == (before.id, before.sha256, token)
    assert house.tree.roots.home("alice").storage.kept() == []


def test_a_move_over_a_file(user: UserTree, tmp_path: Path) -> None:
    """What was moved stays itself, though the bytes are the same, and so does the history of the name."""
    put(user, "e/z", b"older than it")
    user.move(path("file"), path("e/moved"), NO_TERMS, overwrite=False)
    put(user, "other", b"old bytes")
    moved = user.look(path("e/moved"))
    _interrupted(tmp_path, move("e/moved", "other"))
    now = user.look(path("other"))
    assert now.id == moved.id
    assert user.properties(now) == RED
    assert content(user)["other"] == b"old bytes"
    assert [version.size for version in user.versions(path("other"))] == [1100]


def test_locks_stay(user: UserTree, tmp_path: Path) -> None:
    lock, _, _ = user.lock(
        path("file"), NO_TERMS, is_exclusive=True, is_infinite=False, owner_xml="", timeout=60, client=""
    )
    terms = dataclasses.replace(NO_TERMS, conditions=Conditions.parse({"HTTP_IF": f"(<{lock.token}>)"}))
    _interrupted(tmp_path, lambda user: user.replace(path("file"), terms, b"new bytes"))
    assert content(user)["file"] == b"new bytes"
    assert [held.token for held, _ in user.locks_on(user.look(path("file")))] == [lock.token]


def test_who_writes_next_goes_on(user: UserTree, tmp_path: Path) -> None:
    before = user.look(path("file"))
    _interrupted(tmp_path, lambda user: put(user, "file", b"new bytes"))
    put(user, "file", b"newer bytes")
    now = user.look(path("file"))
    assert now.id == before.id
    assert [version.size for version in user.versions(path("file"))] == [9, 9]


def _last_piece(upload: Begun) -> Work:
    return lambda user: user.append(upload, 5, iter([memoryview(b" bytes")]), NO_TERMS)


def _begun(user: UserTree, name: str) -> Begun:
    upload = user.create_upload(11, path(name), NO_TERMS, note="")
    return user.append(upload, 0, iter([memoryview(b"newer")]), NO_TERMS, length=5).upload


@pytest.mark.parametrize("name", ["file", "created", "pub/created"])
def test_an_upload_that_was_put_in_place_is_finished(name: str, house: House, user: UserTree, tmp_path: Path) -> None:
    """Who asks how far it has come is told so, and it counts as stored once."""
    upload = _begun(user, name)
    _interrupted(tmp_path, _last_piece(upload))
    now = user.appended(upload.name[1:])
    assert now.offset == now.upload.length == 11
    assert now.upload.sha256 == user.look(path(name)).sha256 == sha256(b"newer bytes").hexdigest()
    assert house.tree.roots.home("alice").storage.begun() == []
    with house.database.reading() as connection:
        assert sum(connection.scalars(select(storage_roots.c.used))) == sum(
            len(body or b"") for body in content(user).values()
        )


def test_an_upload_whose_file_is_gone_is_given_up(user: UserTree, home: Path) -> None:
    """At once, whoever asks, and not only who sends more; another file of its size at its place is not taken for it."""
    upload = _begun(user, "created")
    (home / upload.begun).unlink()
    (home / "created").write_bytes(b"other bytes")
    for _ in range(2):
        with pytest.raises(NotFound):
            user.appended(upload.name[1:])


def test_what_was_not_replaced_proves_nothing(house: House, user: UserTree, home: Path, tmp_path: Path) -> None:
    """It died before; then something outside replaces the file, which makes another resource, as ever."""
    before = user.look(path("file"))
    _interrupted(tmp_path, lambda user: put(user, "file", b"never came"), "kept")
    assert user.look(path("file")).id == before.id
    (home / "file.tmp").write_bytes(b"of another program")
    (home / "file.tmp").rename(home / "file")
    assert content(user)["file"] == b"of another program"
    assert user.look(path("file")).id != before.id
    recover(house.tree, house.tree.roots.home("alice"))
    assert b"old bytes" in _kept(house)


def test_what_was_not_replaced_is_not_kept_twice(house: House, user: UserTree, tmp_path: Path) -> None:
    """It died before; what it had kept is one more name of the bytes that the next write keeps."""
    _interrupted(tmp_path, lambda user: put(user, "file", b"never came"), "kept")
    put(user, "file", b"new bytes")
    root = house.tree.roots.home("alice")
    assert len(root.storage.kept()) == 2
    recover(house.tree, root)
    assert len(root.storage.kept()) == len(user.versions(path("file"))) == 1


def _kept(house: House) -> list[bytes]:
    found = []
    storage = house.tree.roots.home("alice").storage
    for kept in storage.kept():
        fd = storage.open(kept.path)
        found.append(os.pread(fd, 1 << 20, 0))
        os.close(fd)
    return found


def test_a_start_leaves_the_proof(house: House, user: UserTree, tmp_path: Path) -> None:
    """What looks at the file later needs it."""
    before = user.look(path("file"))
    _interrupted(tmp_path, lambda user: put(user, "file", b"new bytes"))
    house.tree.prepare()
    house.tree.prepare()
    assert user.look(path("file")).id == before.id
    assert [version.reason for version in user.versions(path("file"))] == ["interrupted"]


def test_a_start_drops_what_was_not_worth_keeping(house: House, user: UserTree, tmp_path: Path) -> None:
    """It died after the commit: there are no more versions than it has recorded."""
    _interrupted(tmp_path, lambda user: put(user, "empty", b"bytes"), "committed")
    house.tree.prepare()
    assert content(user)["empty"] == b"bytes"
    assert user.versions(path("empty")) == []
    assert house.tree.roots.home("alice").storage.kept() == []


def test_where_files_have_no_time_of_birth(
    house: House, user: UserTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the bytes tells a file from another with its inode."""
    monkeypatch.setattr("baludav.tree.disk.kernel.born_ns", lambda fd: 0)
    before = user.look(path("file"))
    _interrupted(tmp_path, lambda user: put(user, "file", b"new bytes"))
    assert user.look(path("file")).id == before.id


def test_where_there_are_no_links(
    house: House, user: UserTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy is kept, which proves as much."""

    def link(*_: object, **__: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", link)
    before = user.look(path("file"))
    _interrupted(tmp_path, lambda user: put(user, "file", b"new bytes"))
    assert user.look(path("file")).id == before.id
    assert [version.sha256 for version in user.versions(path("file"))] == [before.sha256]
