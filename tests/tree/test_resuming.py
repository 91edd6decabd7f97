"""Uploads in parts, below HTTP: expiry, limits, and what one process remembers of them."""

import hashlib
import time
from pathlib import Path

import pytest

from baludav.config import Limits
from baludav.errors import LimitReached, NotFound
from baludav.tree.reading import NO_TERMS
from baludav.tree.records import uploads
from baludav.tree.tree import UserTree
from baludav.tree.upkeep.expiry import expire_all
from providers.house import House, open_house

DAY_NS = 86_400_000_000_000


@pytest.fixture
def house(empty: House) -> House:
    return empty


def _send(user: UserTree, name: str, body: bytes) -> None:
    with user.open_part("u", name, length=len(body)) as part:
        part.write(body)
        part.commit()


def test_an_upload_expires_a_day_after_its_last_part(house: House, user: UserTree) -> None:
    """Its bytes are gone from disk and quota; one with a younger part stays."""
    user.begin_upload("u")
    _send(user, "1", b"bytes")
    expire_all(house.tree, lambda: time.time_ns() + DAY_NS - 60_000_000_000)
    assert [part.size for part in user.upload_parts("u")] == [5]
    expire_all(house.tree, lambda: time.time_ns() + DAY_NS + 60_000_000_000)
    with pytest.raises(NotFound):
        user.upload_parts("u")
    assert house.tree.roots.home("alice").storage.begun() == []
    used, _ = user.quota(user.look(())) or (-1, 0)
    assert used == 0


def test_a_finished_upload_expires_too(house: House, user: UserTree) -> None:
    """The file stays; only the answer for a client that repeats its last step is forgotten."""
    user.begin_upload("u")
    _send(user, "1", b"bytes")
    user.finish_upload("u", ("f",), NO_TERMS)
    expire_all(house.tree, lambda: time.time_ns() + 2 * DAY_NS)
    assert user.look(("f",)).size == 5
    with pytest.raises(NotFound):
        user.finish_upload("u", ("f",), NO_TERMS)
    used, _ = user.quota(user.look(())) or (-1, 0)
    assert used == 5


def test_what_came_in_order_is_not_read_again(user: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of a large upload takes no time, so no proxy gives it up."""
    user.begin_upload("u")
    for name in ("1", "2", "3"):
        _send(user, name, name.encode() * 1000)

    def read(*_: object) -> bool:
        raise AssertionError("it was read again")

    monkeypatch.setattr("baludav.tree.truth.hashes.Hashes.read", read)
    written = user.finish_upload("u", ("f",), NO_TERMS)
    assert written.resource.sha256 == hashlib.sha256(b"1" * 1000 + b"2" * 1000 + b"3" * 1000).hexdigest()


@pytest.mark.parametrize("how", ["out of order", "again", "by another process"])
def test_what_did_not_is(house: House, user: UserTree, how: str, tmp_path: Path) -> None:
    """A hash that might not be that of the bytes is never used."""
    user.begin_upload("u")
    order = ["2", "1", "3"] if how == "out of order" else ["1", "2", "3"]
    for name in order:
        _send(user, name, name.encode() * 1000)
    bodies = {name: name.encode() * 1000 for name in order}
    if how == "again":
        bodies["2"] = b"x" * 1000
        _send(user, "2", bodies["2"])
    if how == "by another process":
        other = open_house(house.config)
        bodies["2"] = b"y" * 1000
        _send(other.tree.of(other.accounts.get("alice")), "2", bodies["2"])
        other.close()
    whole = b"".join(bodies[name] for name in sorted(bodies))
    written = user.finish_upload("u", ("f",), NO_TERMS)
    assert written.resource.sha256 == hashlib.sha256(whole).hexdigest()
    assert (house.config.folder / "files" / "alice" / "f").read_bytes() == whole


def test_there_is_a_limit(user: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of uploads of one user, and of parts of one upload."""
    user.tree.limits = Limits(unfinished_uploads=2)
    monkeypatch.setattr(uploads, "MOST_PARTS", 2)
    user.begin_upload("u")
    user.begin_upload("v")
    with pytest.raises(LimitReached):
        user.begin_upload("w")
    _send(user, "1", b"1")
    _send(user, "2", b"2")
    _send(user, "2", b"2")
    with pytest.raises(LimitReached):
        _send(user, "3", b"3")


def test_the_bytes_were_removed_by_hand(house: House, user: UserTree) -> None:
    """The upload is not there any more, and can be begun again."""
    user.begin_upload("u")
    _send(user, "1", b"1")
    for file in (house.config.folder / "files/alice/.baludav/uploads").iterdir():
        file.unlink()
    with pytest.raises(NotFound):
        _send(user, "2", b"2")
    user.begin_upload("u")
    _send(user, "1", b"again")
    assert user.finish_upload("u", ("f",), NO_TERMS).resource.size == 5
    used, _ = user.quota(user.look(())) or (-1, 0)
    assert used == 5


def test_a_file_gets_the_permissions_of_its_folder(house: House, user: UserTree) -> None:
    home = house.config.folder / "files" / "alice"
    user.make_collection(("c",), NO_TERMS)
    (home / "c").chmod(0o755)
    user.begin_upload("u")
    _send(user, "1", b"1")
    user.finish_upload("u", ("c", "f"), NO_TERMS)
    assert (home / "c" / "f").stat().st_mode & 0o777 == 0o644
