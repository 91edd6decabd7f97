"""Bytes that the user has already, below HTTP: a full disk, two at once, and what the time of an answer tells."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from baludav.config import build
from baludav.errors import AlreadyThere, DiskFull, NotFound
from baludav.tree.disk.local import LocalStorage
from baludav.tree.disk.temporary import TemporaryFile
from baludav.tree.http.preconditions import Conditions
from baludav.tree.reading import NO_TERMS, Terms
from baludav.tree.tree import Tree, UserTree
from providers.house import House, open_house
from tests.crash.installation import put
from tests.test_growth import Watched

BODY = b"bytes" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
NEW = Terms(Conditions(if_none_match="*"), lambda tag: None)


def _open(folder: Path, *shares: str) -> House:
    section = {
        "data": str(folder / "data"),
        "shares": {name: {"folder": str(folder / name), "read": ["alice"]} for name in shares},
    }
    return open_house(build({"baludav": section}, {}))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = _open(tmp_path)
    for name in ("alice", "bob"):
        house.accounts.add(name, "a password")
        house.tree.create_home(name)
    yield house
    house.close()


@pytest.fixture
def user(house: House) -> UserTree:
    return house.tree.of(house.accounts.get("alice"))


def test_what_a_share_hides_is_not_there(user: UserTree, tmp_path: Path) -> None:
    """Alice could not read it, either; without the share she can."""
    user.make_collection(("Paper",), NO_TERMS)
    put(user, "Paper/f", BODY)
    (tmp_path / "Paper").mkdir()
    other = _open(tmp_path, "Paper")
    try:
        hers = other.tree.of(other.accounts.get("alice"))
        with pytest.raises(NotFound):
            hers.write_known(("f",), NO_TERMS, SHA256, len(BODY))
    finally:
        other.close()
    assert user.write_known(("f",), NO_TERMS, SHA256, len(BODY)).is_created


def test_a_full_disk(user: UserTree, monkeypatch: pytest.MonkeyPatch, house: House) -> None:
    """507, and nothing is left of the attempt."""
    put(user, "f", BODY)

    def full(staged: TemporaryFile, fd: int, size: int) -> None:
        os.write(staged.fd, b"half")
        raise DiskFull

    with monkeypatch.context() as patch:
        patch.setattr(TemporaryFile, "copy_from", full)
        with pytest.raises(DiskFull):
            user.write_known(("g",), NO_TERMS, SHA256, len(BODY))
    assert list((house.config.folder / "files/alice/.baludav/tmp").iterdir()) == []
    with pytest.raises(NotFound):
        user.look(("g",))
    assert user.write_known(("g",), NO_TERMS, SHA256, len(BODY)).resource.size == len(BODY)


def test_one_that_goes_meanwhile(user: UserTree, monkeypatch: pytest.MonkeyPatch, house: House) -> None:
    """The next place that has the bytes is looked at; without one, they are not there."""
    put(user, "f", BODY)
    put(user, "g", BODY)
    open_file = LocalStorage.open
    gone = []

    def first_gone(storage: LocalStorage, path: tuple[str, ...]) -> int:
        if not gone:
            gone.append(path)
            (house.config.folder / "files/alice" / path[-1]).unlink()
        return open_file(storage, path)

    monkeypatch.setattr(LocalStorage, "open", first_gone)
    assert user.write_known(("h",), NO_TERMS, SHA256, len(BODY)).resource.sha256 == SHA256
    assert gone


def test_of_two_at_once_one_wins(house: House, user: UserTree) -> None:
    """Both name a file that must not be there."""
    put(user, "f", BODY)

    def write(_: int) -> bool:
        one = house.tree.of(house.accounts.get("alice"))
        try:
            return one.write_known(("new",), NEW, SHA256, len(BODY)).is_created
        except AlreadyThere:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(write, range(8))) == [*[False] * 7, True]


def test_the_time_of_an_answer_tells_nothing_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many steps of the index, and no file opened, whether another user has the bytes or nobody."""
    connect = sqlite3.dbapi2.connect
    monkeypatch.setattr(sqlite3.dbapi2, "connect", lambda *args, **options: connect(*args, factory=Watched, **options))
    monkeypatch.setattr(Tree, "keep", lambda tree: None)
    house = _open(tmp_path)
    try:
        for name in ("alice", "bob"):
            house.accounts.add(name, "a password")
            house.tree.create_home(name)
        alice, bob = (house.tree.of(house.accounts.get(name)) for name in ("alice", "bob"))
        put(alice, "another", b"x" * len(BODY))

        def steps() -> int:
            before = Watched.steps
            with pytest.raises(NotFound):
                alice.write_known(("f",), NO_TERMS, SHA256, len(BODY))
            return Watched.steps - before

        steps()
        nobody = steps()
        for number in range(50):
            put(bob, str(number), BODY)
        steps()
        monkeypatch.setattr(LocalStorage, "open", lambda *_: pytest.fail("a file was opened"))
        assert steps() == nobody
        assert nobody > 0
    finally:
        house.close()
