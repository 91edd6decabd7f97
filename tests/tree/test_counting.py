"""What quotas are compared with is set right if it is wrong, and is never wrong because of that."""

import threading

import pytest
from sqlalchemy import Connection, update

from baludav.db.tables import storage_roots
from baludav.tree.reading import NO_TERMS
from baludav.tree.records import counting, index
from baludav.tree.records.counting import held, set_right
from baludav.tree.roots import StorageRoot
from baludav.tree.tree import UserTree
from baludav.tree.truth.checking import rebuild
from baludav.tree.truth.rounds import Pace
from baludav.tree.upkeep.keeping import Keeper
from providers.house import House
from tests.crash.installation import path, put
from tests.serving import wait_for


@pytest.fixture
def root(house: House) -> StorageRoot:
    return next(root for root in house.tree.roots.everything() if root.kind == "home")


def _used(house: House, root: StorageRoot) -> int:
    with house.database.reading() as connection:
        return index.used(connection, root.id)


def _held(house: House, root: StorageRoot) -> int:
    with house.database.snapshot() as connection:
        return held(connection, root)


def _spoil(house: House, root: StorageRoot, by: int) -> None:
    values = {"used": storage_roots.c.used + by}
    statement = update(storage_roots).where(storage_roots.c.id == root.id).values(values)
    house.database.commit(lambda connection: connection.execute(statement))


def _begin_upload(user: UserTree) -> None:
    user.begin_upload("u")
    with user.open_part("u", "1", length=5) as part:
        part.write(b"12345")
        part.commit()


@pytest.mark.parametrize("by", [1, -1, 10**12, -(10**12)])
def test_it_is_set_right(house: House, user: UserTree, root: StorageRoot, by: int) -> None:
    """What lies in the trash does not count, nor do versions; nothing changes where nothing is wrong."""
    put(user, "file", b"second")
    user.delete(path("d"), NO_TERMS)
    right = _used(house, root)
    assert right == len(b"second") + len(b"other bytes" * 100) + len(b"z") + len(b"never touched")
    assert set_right(house.database, root) is None
    _spoil(house, root, by)
    assert set_right(house.database, root) == (right + by, right)
    assert _used(house, root) == right
    assert set_right(house.database, root) is None


def test_others_stay_as_they_are(house: House, root: StorageRoot) -> None:
    (other,) = (one for one in house.tree.roots.everything() if one.id != root.id)
    _spoil(house, other, 7)
    assert set_right(house.database, root) is None
    assert _used(house, other) == 7


def test_who_writes_meanwhile_counts(
    house: House, user: UserTree, root: StorageRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write between finding it wrong and setting it right; and no reader ever sees another sum than that of now."""
    _spoil(house, root, 1000)
    looked = threading.Event()
    real = counting.held

    def held_then_write(connection: Connection, root: StorageRoot) -> int:
        found = real(connection, root)
        if not looked.is_set():
            looked.set()
            put(user, "new", b"12345")
        return found

    monkeypatch.setattr(counting, "held", held_then_write)
    corrected = set_right(house.database, root)
    assert looked.is_set()
    monkeypatch.undo()
    assert corrected == (_held(house, root) + 1000, _held(house, root))
    assert _used(house, root) == _held(house, root)


def test_it_is_right_at_every_moment(house: House, user: UserTree, root: StorageRoot) -> None:
    """While files come, grow and go, and it is set right again and again: in each snapshot it is the sum."""
    is_over = threading.Event()

    def write() -> None:
        for number in range(30):
            put(user, f"w{number % 3}", b"x" * (number * 100))
            if number % 3 == 2:
                user.delete(path(f"w{number % 3}"), NO_TERMS)
        is_over.set()

    writer = threading.Thread(target=write)
    writer.start()
    corrected = []
    while not is_over.is_set():
        corrected.append(set_right(house.database, root))
        with house.database.snapshot() as connection:
            assert index.used(connection, root.id) == held(connection, root)
    writer.join()
    assert set(corrected) == {None}


def test_what_has_come_of_an_upload_counts(house: House, user: UserTree, root: StorageRoot) -> None:
    _begin_upload(user)
    right = _used(house, root)
    assert set_right(house.database, root) is None
    _spoil(house, root, -3)
    assert set_right(house.database, root) == (right - 3, right)


def test_the_server_and_a_rebuild_set_it_right(
    house: House, root: StorageRoot, caplog: pytest.LogCaptureFixture
) -> None:
    right = _used(house, root)
    _spoil(house, root, 5)
    rebuild(house.tree, lambda done, total: None)
    assert _used(house, root) == right
    _spoil(house, root, 7)
    keeper = Keeper(house.tree, Pace(untold=3600))
    keeper.start()
    try:
        wait_for(lambda: _used(house, root) == right, 60, "it is set right")
    finally:
        keeper.stop()
    assert f"home alice: {right + 7} bytes were counted for the quota instead of {right}" in caplog.text
