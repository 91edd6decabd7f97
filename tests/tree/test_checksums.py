"""Hashes beside SHA-256: what is kept, and what is forgotten."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from baludav.config import build
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from baludav.tree.upkeep.expiry import expire_all
from providers.house import House, open_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = open_house(build({"baludav": {"data": str(tmp_path / "data"), "history_versions": 0}}, {}))
    house.accounts.add("alice", "her password")
    house.tree.create_home("alice")
    yield house
    house.close()


def _put(user: UserTree, name: str, body: bytes) -> str:
    """Write as a client that announces MD5; the SHA-256 of the bytes."""
    announced = {"md5": hashlib.md5(body, usedforsecurity=False).hexdigest()}
    with user.open_write((name,), NO_TERMS, announced=announced) as upload:
        upload.write(body)
        sha256 = upload.commit().resource.sha256
    assert sha256 is not None
    return sha256


def test_hashes_of_bytes_that_are_nowhere_are_forgotten(house: House) -> None:
    user = house.tree.of(house.accounts.get("alice"))
    gone, kept = _put(user, "f", b"gone"), _put(user, "g", b"kept")
    _put(user, "f", b"new")
    root = house.tree.roots.home("alice").id
    assert set(house.tree.checksums.known(root, [gone, kept])) == {gone, kept}
    expire_all(house.tree)
    assert set(house.tree.checksums.known(root, [gone, kept])) == {kept}


def test_bytes_in_the_trash_keep_theirs(house: House) -> None:
    user = house.tree.of(house.accounts.get("alice"))
    sha256 = _put(user, "f", b"bytes")
    user.delete(("f",), NO_TERMS)
    expire_all(house.tree)
    root = house.tree.roots.home("alice").id
    assert house.tree.checksums.known(root, [sha256])[sha256] == {
        "sha1": hashlib.sha1(b"bytes", usedforsecurity=False).hexdigest(),
        "md5": hashlib.md5(b"bytes", usedforsecurity=False).hexdigest(),
    }


def test_nobody_learns_what_another_has(house: House) -> None:
    """The hashes of bytes are known where they were computed, and nowhere else."""
    sha256 = _put(house.tree.of(house.accounts.get("alice")), "f", b"a secret")
    house.accounts.add("bob", "his password")
    house.tree.create_home("bob")
    bob = house.tree.of(house.accounts.get("bob"))
    with bob.open_write(("guess",), NO_TERMS) as upload:
        upload.write(b"a secret")
        guess = upload.commit().resource
    assert guess.sha256 == sha256
    assert bob.checksums([guess], is_complete=False) == {}


def test_a_file_that_is_gone_is_passed_over(house: House) -> None:
    user = house.tree.of(house.accounts.get("alice"))
    with user.open_write(("f",), NO_TERMS) as upload:
        upload.write(b"bytes")
        resource = upload.commit().resource
    (house.config.folder / "files" / "alice" / "f").unlink()
    assert user.checksums([resource], is_complete=True) == {}
