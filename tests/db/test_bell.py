"""The doorbell: whoever listens hears of each commit, whichever process made it, and not before it can be seen."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from baludav.db.bell import Bell, Listening
from baludav.db.engine import Database
from baludav.db.migrate import upgrade
from baludav.db.tables import meta

_WRITER = """
import sys
from pathlib import Path
from baludav.db.engine import Database

database = Database(Path(sys.argv[1]), "fast")
for number in range(int(sys.argv[2])):
    key = f"test-{number}"
    database.commit(lambda connection: connection.exec_driver_sql("insert into meta values (?, '')", (key,)))
database.close()
"""
_COUNT = select(func.count()).select_from(meta).where(meta.c.key.like("test-%"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "index.db", "fast")
    upgrade(database)
    yield database
    database.close()


@pytest.fixture(params=["inotify", "asking"])
def listening(
    database: Database, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Listening]:
    if request.param == "asking":

        def refuse(bell: Bell) -> int:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(Bell, "_watch", refuse)
    listening = database.listen()
    yield listening
    listening.close()


def _commit(database: Database, number: int) -> None:
    database.commit(
        lambda connection: connection.exec_driver_sql("insert into meta values (?, '')", (f"test-{number}",))
    )


def _commit_elsewhere(database: Database, count: int) -> "subprocess.Popen[bytes]":
    """So many commits by a process of its own."""
    return subprocess.Popen([sys.executable, "-c", _WRITER, str(database.file), str(count)])


def test_a_commit_of_this_process_is_heard(database: Database, listening: Listening) -> None:
    """Also where the system has no inotify to spare."""
    _commit(database, 1)
    assert listening.wait(60)
    assert not listening.wait(0)


def test_a_commit_of_another_process_is_heard(database: Database, listening: Listening) -> None:
    writer = _commit_elsewhere(database, 1)
    assert listening.wait(60)
    assert writer.wait(60) == 0


@pytest.mark.parametrize("listening", ["inotify"], indirect=True)  # who asks may do so just between two of the commits
def test_many_commits_are_one_ring(database: Database, listening: Listening) -> None:
    """Nobody who is slow to look is rung for more than once."""
    for number in range(20):
        _commit(database, number)
    assert listening.wait(60)
    listening.take()
    assert not listening.wait(0)


def test_what_is_heard_can_be_seen(database: Database) -> None:
    """Whoever takes a ring and then looks misses no commit before it, however they race."""
    listening = database.listen()
    other = Database(database.file, "fast")
    wanted = 300
    writer = _commit_elsewhere(database, wanted)
    seen = 0
    try:
        while seen < wanted:
            assert listening.wait(60), f"no ring after {seen} of {wanted} commits"
            with other.reading() as connection:
                seen = connection.scalar(_COUNT) or 0
    finally:
        assert writer.wait(60) == 0
        listening.close()
        other.close()


def test_ringing_changes_nothing_on_the_disk(database: Database, tmp_path: Path) -> None:
    """It must work on a full disk, and must not wait for one."""
    file = tmp_path / "index.db-bell"
    before = file.stat()
    _commit(database, 1)
    after = file.stat()
    assert (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size, after.st_mtime_ns, after.st_ctime_ns,
    )  # fmt: skip


def test_a_commit_that_fails_stays_silent(database: Database) -> None:
    listening = database.listen()

    def fail(connection: Connection) -> None:
        connection.exec_driver_sql("insert into meta values ('test-1', '')")
        raise ValueError("as asked")

    with pytest.raises(ValueError, match="as asked"):
        database.commit(fail)
    assert not listening.wait(0)
    listening.close()


def test_a_bell_that_is_broken_breaks_no_commit(database: Database) -> None:
    database._bell.close()
    _commit(database, 1)
    with database.reading() as connection:
        assert connection.scalar(_COUNT) == 1
