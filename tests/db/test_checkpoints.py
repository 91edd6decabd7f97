"""The write-ahead log stays short, however long commits follow each other."""

import threading
from pathlib import Path

from sqlalchemy import Connection

from baludav.db.engine import Database
from baludav.db.migrate import upgrade
from baludav.db.tables import meta

LARGE = "x" * 40_000  # ten pages, as a commit of the server has


def test_the_log_is_bounded_while_commits_never_pause(tmp_path: Path) -> None:
    """Also while others read, who see every commit; nothing is lost when it begins anew."""
    database = Database(tmp_path / "index.db", "fast")
    upgrade(database)
    done = threading.Event()
    seen: list[int] = []

    def write(connection: Connection, number: int) -> None:
        connection.execute(meta.delete())
        connection.execute(meta.insert().values(key=f"{number}", value=LARGE))

    def read() -> None:
        while not done.is_set():
            with database.snapshot() as connection:
                seen.extend(int(row.key) for row in connection.execute(meta.select()))

    database.commit(lambda connection: write(connection, 0))
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    largest = 0
    for number in range(1, 4001):  # 160 MiB of log, were it never begun anew
        database.commit(lambda connection, number=number: write(connection, number))  # type: ignore[misc]
        largest = max(largest, (tmp_path / "index.db-wal").stat().st_size)
        assert database.note(f"{number}") == LARGE
    done.set()
    for reader in readers:
        reader.join()
    assert largest < 120 << 20
    assert len(set(seen)) > 1
    database.close()
