"""What is kept open for the next who needs it, and closed when nobody does."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from baludav.db.engine import Database
from baludav.db.migrate import upgrade
from baludav.db.tables import meta
from baludav.errors import Unavailable
from baludav.spares import Spares
from baludav.tree.disk.guards import Guards

MANY = 9


def test_what_nobody_has_needed_is_closed() -> None:
    """From one look to the next, all but one of those that were never taken; those that were taken stay."""
    closed: list[int] = []
    spares = Spares(closed.append)
    assert spares.take() is None
    for number in range(6):
        spares.put(number)
    spares.close_unneeded()
    assert not closed, "they were put since"
    taken = [spares.take() for _ in range(3)]
    assert taken == [5, 4, 3]
    for number in (3, 4, 5):
        spares.put(number)
    spares.close_unneeded()
    assert closed == [0, 1], "two of the three that lay there all the time"
    spares.close_unneeded()
    assert closed == [0, 1, 2, 3, 4]
    assert len(spares) == 1
    spares.close_unneeded()
    assert spares.take() == 5, "one is always kept"
    spares.close_unneeded()
    spares.put(5)
    spares.close_unneeded()
    assert len(spares) == 1
    spares.close()
    assert closed == list(range(6))


def test_one_who_found_none_needs_one() -> None:
    """Where more are needed than there are, none is closed."""
    spares = Spares(lambda thing: pytest.fail("it was needed"))
    for number in range(3):
        spares.put(number)
    spares.close_unneeded()
    assert [spares.take() for _ in range(4)] == [2, 1, 0, None]
    for number in range(4):
        spares.put(number)
    spares.close_unneeded()
    assert len(spares) == 4


def test_connections_and_guards_of_a_rush_are_closed_after_it(tmp_path: Path) -> None:
    """So many who read and write at once each need a connection and a guard; afterwards one of each is enough."""
    database, guards = Database(tmp_path / "index.db", "fast"), Guards(tmp_path / "guards")
    upgrade(database)
    together = threading.Barrier(MANY)

    def work(number: int) -> str | None:
        with guards.hold((1, (f"name {number}",))), database.reading():
            together.wait(20)
        with database.snapshot():
            together.wait(20)
            return database.note("epoch")

    with ThreadPoolExecutor(MANY) as pool:
        assert len(set(pool.map(work, range(MANY)))) == 1
    assert _open(tmp_path / "guards") == MANY
    # Of the database file itself SQLite keeps descriptors for those who connect later: closing one ends all locks.
    log = tmp_path / "index.db-wal"
    rush = _open(log)
    assert rush >= MANY
    for _ in range(2):
        guards.tidy()
        database.tidy()
    assert _open(tmp_path / "guards") == 1
    assert _open(log) <= rush - MANY + 1
    assert work_alone(database, guards), "what is left serves"
    guards.close()
    database.close()
    assert _open(tmp_path / "guards") == _open(tmp_path / "index.db") == _open(log) == 0


def work_alone(database: Database, guards: Guards) -> str | None:
    with guards.hold((1, ("a",))), database.snapshot():
        return database.note("epoch")


def test_a_snapshot_ends_with_its_connection_ready_for_others(tmp_path: Path) -> None:
    """Also when what is done inside fails: the next reader sees the newest commit."""
    database = Database(tmp_path / "index.db", "fast")
    upgrade(database)

    def write(value: str) -> None:
        database.commit(lambda connection: connection.execute(meta.update().values(value=value)))

    def read(statement: str = "SELECT DISTINCT value FROM meta") -> str:
        with database.snapshot() as connection:
            first = str(connection.exec_driver_sql(statement).scalar())
            write(f"{first}, later")
            assert connection.exec_driver_sql(statement).scalar() == first, "one moment"
        return first

    write("one")
    assert read() == "one"
    assert read() == "one, later"
    with pytest.raises(Unavailable):
        read("SELECT nothing")
    with pytest.raises(LookupError), database.snapshot() as connection:
        connection.exec_driver_sql("SELECT value FROM meta").all()
        raise LookupError
    assert read() == "one, later, later"
    assert len(database._readers) == 1
    database.close()


def _open(file: Path) -> int:
    """How often this process has a file open."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            count += link.readlink() == file
        except OSError:
            continue  # the descriptor that lists them
    return count
