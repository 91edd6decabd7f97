"""Tells cheaply whether anything was committed since the last look."""

import threading

from sqlalchemy import Connection, Engine


class CommitVersion:
    """A number that changes with each commit any process makes.

    SQLite answers `PRAGMA data_version` from shared memory: 2 µs, where a point read takes 20 to 30. It counts
    only what *other* connections commit, so this one is kept for reading and nothing else.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def now(self) -> int | None:
        """Two equal numbers: nothing was committed in between. None: this database cannot tell."""
        if self._engine.dialect.name != "sqlite":
            return None
        with self._lock:
            if self._connection is None:
                self._connection = self._engine.connect()
            driver = self._connection.connection.driver_connection
            assert driver is not None
            version: int = driver.execute("PRAGMA data_version").fetchone()[0]
            return version

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
