"""Commits of several threads at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection

from baludav.db.engine import Database
from baludav.db.migrate import upgrade
from baludav.db.tables import meta
from tests.serving import wait_for


def test_a_part_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    """Of works that share a commit, each is undone alone."""
    database = Database(tmp_path / "index.db", "fast")
    upgrade(database)
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        go_on.wait(10)
        _insert(connection, "slow")

    def failing(connection: Connection) -> None:
        _insert(connection, "failing")
        raise ValueError("on purpose")

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(database.commit, slow)
        assert begun.wait(10)
        others = [pool.submit(database.commit, failing)]
        others += [pool.submit(database.commit, lambda c, n=n: _insert(c, f"good-{n}")) for n in range(2)]
        wait_for(lambda: len(database._writer._waiting) == 3, 10, "three wait for one commit")
        go_on.set()
        first.result()
        with pytest.raises(ValueError, match="on purpose"):
            others[0].result()
        for other in others[1:]:
            other.result()
    assert {database.note(f"test-{key}") for key in ("slow", "good-0", "good-1")} == {""}
    assert database.note("test-failing") is None
    database.close()


def _insert(connection: Connection, key: str) -> None:
    connection.execute(meta.insert().values(key=f"test-{key}", value=""))
