"""Uploads that grow at their end, below HTTP: expiry, a full disk, and what one process remembers of them."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator

import pytest

from baludav.errors import DiskFull, NotFound, OffsetMismatch
from baludav.tree import appending
from baludav.tree.appending import Appended
from baludav.tree.disk.temporary import TemporaryFile
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from baludav.tree.upkeep.expiry import expire_all
from providers.house import House, open_house

DAY_NS = 86_400_000_000_000


@pytest.fixture
def house(empty: House) -> House:
    return empty


def _create(user: UserTree, length: int, target: str | None = "f") -> str:
    name = user.create_upload(length, (target,) if target else None, NO_TERMS, note="").name
    return name.removeprefix("/")


def _send(user: UserTree, upload_id: str, offset: int, *bodies: bytes) -> Appended:
    upload = user.appended(upload_id).upload
    return user.append(upload, offset, map(memoryview, bodies), NO_TERMS)


def _bytes_of(house: House) -> bytes:
    return (house.config.folder / "files/alice/f").read_bytes()


def test_an_upload_expires_a_day_after_its_last_bytes(house: House, user: UserTree) -> None:
    """Its bytes are gone from disk and quota; before that it is there."""
    upload_id = _create(user, 10)
    upload = _send(user, upload_id, 0, b"bytes").upload
    expire_all(house.tree, lambda: int(upload.ends_at * 1e9) - 1_000_000_000)
    assert user.appended(upload_id).offset == 5
    expire_all(house.tree, lambda: int(upload.ends_at * 1e9) + 1_000_000_000)
    with pytest.raises(NotFound):
        user.appended(upload_id)
    assert house.tree.roots.home("alice").storage.begun() == []
    used, _ = user.quota(user.look(())) or (-1, 0)
    assert used == 0


def test_a_finished_upload_expires_too(house: House, user: UserTree) -> None:
    """The file stays; only the answer for a client that asks again is forgotten."""
    upload_id = _create(user, 5)
    _send(user, upload_id, 0, b"bytes")
    assert user.appended(upload_id).offset == 5
    expire_all(house.tree, lambda: time.time_ns() + 2 * DAY_NS)
    assert _bytes_of(house) == b"bytes"
    with pytest.raises(NotFound):
        user.appended(upload_id)


def test_what_came_in_order_is_not_read_again(user: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last request of a large upload takes no time, so no proxy gives it up."""
    upload_id = _create(user, 3000)
    for offset in (0, 1000):
        _send(user, upload_id, offset, bytes([offset % 251]) * 1000)

    def read(*_: object) -> bool:
        raise AssertionError("it was read again")

    monkeypatch.setattr("baludav.tree.truth.hashes.Hashes.read", read)
    written = _send(user, upload_id, 2000, b"x" * 1000).written
    assert written is not None
    assert written.resource.sha256 == hashlib.sha256(bytes(1000) + bytes([1000 % 251]) * 1000 + b"x" * 1000).hexdigest()


def test_what_another_process_took_is(house: House, user: UserTree) -> None:
    """A hash that might not be that of the bytes is never used."""
    upload_id = _create(user, 15)
    _send(user, upload_id, 0, b"first")
    other = open_house(house.config)
    _send(other.tree.of(other.accounts.get("alice")), upload_id, 5, b"other")
    other.close()
    written = _send(user, upload_id, 10, b"third").written
    assert written is not None
    assert written.resource.sha256 == hashlib.sha256(b"firstotherthird").hexdigest()
    assert _bytes_of(house) == b"firstotherthird"


def test_pieces_of_one_request(house: House, user: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept while more come; when the bytes break off, all of them are."""
    monkeypatch.setattr(appending, "_PIECE", 10)
    upload_id = _create(user, 100)
    seen = []

    def bodies() -> Iterator[memoryview]:
        for number in range(8):
            seen.append(user.appended(upload_id).offset)
            yield memoryview(bytes([number]) * 7)
        raise EOFError

    with pytest.raises(EOFError):
        user.append(user.appended(upload_id).upload, 0, bodies(), NO_TERMS)
    assert seen == [0, 0, 14, 14, 28, 28, 42, 42]
    assert user.appended(upload_id).offset == 56
    _send(user, upload_id, 56, b"x" * 44)
    assert _bytes_of(house) == b"".join(bytes([number]) * 7 for number in range(8)) + b"x" * 44


def test_another_request_comes_between_two_pieces(
    house: House, user: UserTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one stops there: what it still has belongs elsewhere."""
    monkeypatch.setattr(appending, "_PIECE", 4)
    upload_id = _create(user, 12)

    def bodies() -> Iterator[memoryview]:
        yield memoryview(b"1111")
        yield memoryview(b"22")
        _send(user, upload_id, 4, b"3333")
        yield memoryview(b"22")

    with pytest.raises(OffsetMismatch):
        user.append(user.appended(upload_id).upload, 0, bodies(), NO_TERMS)
    assert user.appended(upload_id).offset == 8
    _send(user, upload_id, 8, b"4444")
    assert _bytes_of(house) == b"111133334444"


def _full_at_copying(staged: TemporaryFile, fd: int, start: int, size: int, at: int) -> None:
    os.pwrite(staged.fd, b"half", at)
    raise DiskFull


def _full_at_syncing(staged: TemporaryFile, *, mtime_ns: int | None, sync: bool) -> None:
    raise DiskFull


def _full_at_writing(staged: TemporaryFile, data: bytes) -> None:
    raise DiskFull


FULL: dict[str, Callable[..., None]] = {
    "copy_range": _full_at_copying,
    "finish": _full_at_syncing,
    "write": _full_at_writing,
}


@pytest.mark.parametrize("step", FULL)
@pytest.mark.parametrize("is_last", [False, True])
def test_a_full_disk(step: str, is_last: bool, house: House, user: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was acknowledged stays, the rest is not counted, and the upload goes on when there is room again."""
    body = b"567890" if is_last else b"5678"
    upload_id = _create(user, 10)
    _send(user, upload_id, 0, b"1234")
    with monkeypatch.context() as full:
        full.setattr(TemporaryFile, step, FULL[step])
        with pytest.raises(DiskFull):
            _send(user, upload_id, 4, body)
    assert user.appended(upload_id).offset == 4
    assert not (house.config.folder / "files/alice/f").exists()
    used, _ = user.quota(user.look(())) or (-1, 0)
    assert used == 4
    _send(user, upload_id, 4, body)
    if not is_last:
        _send(user, upload_id, 8, b"90")
    assert _bytes_of(house) == b"1234567890"
    assert list((house.config.folder / "files/alice/.baludav/tmp").iterdir()) == []


def test_a_full_disk_at_concatenation(house: House, user: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts stay, and can be concatenated when there is room again."""
    ids = [_create(user, 4, None) for _ in range(2)]
    for upload_id in ids:
        _send(user, upload_id, 0, b"part")
    with monkeypatch.context() as full:
        full.setattr(TemporaryFile, "copy_range", _full_at_copying)
        with pytest.raises(DiskFull):
            user.concatenate(ids, ("f",), NO_TERMS, note="")
    assert [user.appended(upload_id).offset for upload_id in ids] == [4, 4]
    user.concatenate(ids, ("f",), NO_TERMS, note="")
    assert _bytes_of(house) == b"partpart"
    assert house.tree.roots.home("alice").storage.begun() == []


def test_the_bytes_were_removed_by_hand(house: House, user: UserTree) -> None:
    """The upload is not there any more."""
    upload_id = _create(user, 10)
    _send(user, upload_id, 0, b"bytes")
    for file in (house.config.folder / "files/alice/.baludav/uploads").iterdir():
        file.unlink()
    with pytest.raises(NotFound):
        _send(user, upload_id, 5, b"bytes")
    with pytest.raises(NotFound):
        user.appended(upload_id)
    used, _ = user.quota(user.look(())) or (-1, 0)
    assert used == 0


def test_a_file_gets_the_permissions_of_its_folder(house: House, user: UserTree) -> None:
    home = house.config.folder / "files" / "alice"
    user.make_collection(("c",), NO_TERMS)
    (home / "c").chmod(0o755)
    name = user.create_upload(5, ("c", "f"), NO_TERMS, note="").name
    _send(user, name.removeprefix("/"), 0, b"bytes")
    assert (home / "c" / "f").stat().st_mode & 0o777 == 0o644
