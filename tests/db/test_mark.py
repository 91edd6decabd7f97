"""The number in memory by which a remembered sign-in is known to be good still."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from baludav.db.engine import Database
from baludav.db.mark import Mark
from baludav.db.migrate import upgrade
from baludav.db.tables import meta


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "index.db", "fast")
    upgrade(database)
    yield database
    database.close()


def test_it_changes_with_what_may_change_an_account(database: Database) -> None:
    database.commit(_nothing)
    before = database.accounts_mark.read()
    database.commit(_nothing, spares_accounts=True)
    assert database.accounts_mark.read() == before is not None
    database.commit(_nothing)
    assert database.accounts_mark.read() not in (before, None)


def test_it_changes_after_the_commit_and_says_nothing_until_then(database: Database) -> None:
    """Whoever looked before the commit and remembers it under the number of then must not be taken for good after."""
    database.commit(_nothing)
    during: list[bytes | None] = []

    def work(connection: Connection) -> None:
        connection.execute(meta.insert().values(key="test", value=""))
        during.append(database.accounts_mark.read())

    database.commit(work)
    assert during == [None]
    assert database.accounts_mark.read() is not None


def test_a_change_that_fails_leaves_a_number(database: Database) -> None:
    def work(connection: Connection) -> None:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        database.commit(work)
    assert database.accounts_mark.read() is not None


def test_all_processes_share_it(database: Database, tmp_path: Path) -> None:
    elsewhere = Database(tmp_path / "index.db", "fast")
    elsewhere.commit(_nothing)
    assert database.accounts_mark.read() == elsewhere.accounts_mark.read() is not None
    elsewhere.close()


def test_a_process_that_dies_in_the_middle_hides_nothing(database: Database, tmp_path: Path) -> None:
    """Nobody can tell whether it had committed, so nobody relies on the number until the next change."""
    database.commit(_nothing)
    child = os.fork()
    if child == 0:
        with Mark(tmp_path / "index.db-accounts").changing():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert database.accounts_mark.read() is None
    database.commit(_nothing, spares_accounts=True)
    assert database.accounts_mark.read() is None
    database.commit(_nothing)
    assert database.accounts_mark.read() is not None


def _nothing(connection: Connection) -> None:
    pass
