"""Commits of several threads at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection

from baludav import waiting
from baludav.db.engine import Database
from baludav.db.migrate import upgrade
from baludav.db.tables import meta
from baludav.server import pool as pools
from baludav.server.pool import Pool
from tests.serving import wait_for


def test_a_part_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    """Of works that share a commit, each is undone alone."""
    database = Database(tmp_path / "index.db", "fast")
    upgrade(database)
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        go_on.wait(60)
        _insert(connection, "slow")

    def failing(connection: Connection) -> None:
        _insert(connection, "failing")
        raise ValueError("on purpose")

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(database.commit, slow)
        assert begun.wait(60)
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


def test_tasks_of_a_pool_share_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though only one of them runs at a time."""
    database = Database(tmp_path / "index.db", "fast")
    upgrade(database)
    pool, begin = Pool(1, 50), threading.Event()
    monkeypatch.setattr(waiting, "_others", pool)
    monkeypatch.setattr(pools, "PATIENCE", 30.0)
    sizes: list[int] = []
    lead = database._writer._lead
    monkeypatch.setattr(database._writer, "_lead", lambda group: (sizes.append(len(group)), lead(group)))
    pool.submit(lambda: begin.wait(30) and None)
    for number in range(20):
        pool.submit(lambda number=number: database.commit(lambda c: _insert(c, str(number))))  # type: ignore[misc]
    begin.set()
    wait_for(lambda: pool.busy == 0, 30, "all are done")
    assert sizes == [16, 4]
    assert all(database.note(f"test-{number}") == "" for number in range(20))
    database.close()


def _insert(connection: Connection, key: str) -> None:
    connection.execute(meta.insert().values(key=f"test-{key}", value=""))
