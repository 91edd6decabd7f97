"""Looks at a row or two in a few microseconds, for what every request asks."""

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from baludav.db.statements import Statement, Values
from baludav.errors import Unavailable


class Glance:
    """A connection that only reads, kept open; each look sees the newest commit. For any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def rows(self, statement: Statement, values: Values) -> list[Sequence[Any]]:
        """All rows of a statement."""
        with self._lock:
            try:
                return statement.rows(self._opened(), values)
            except DBAPIError as error:
                raise Unavailable("The index database does not answer; try again later") from error

    def version(self) -> int | None:
        """A number that changes with each commit any process makes; None: this database cannot tell.

        SQLite answers `PRAGMA data_version` from shared memory, in 2 µs. It counts only what *other* connections
        commit, which is why this one never writes.
        """
        with self._lock:
            driver = self._opened().connection.driver_connection
            if not isinstance(driver, sqlite3.Connection):
                return None
            try:
                version: int = driver.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error as error:
                raise Unavailable("The index database does not answer; try again later") from error
            return version

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection
