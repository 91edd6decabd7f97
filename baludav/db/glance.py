"""Looks at a row or two in a few microseconds, for what every request asks.

A read through SQLAlchemy costs 20 to 30 µs, almost all of it outside the database. Here a statement is compiled
once and handed to the driver; rows come back as the driver gives them, so a boolean is 0 or 1.
"""

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Select

from baludav.errors import Unavailable


class Prepared(NamedTuple):
    """A statement, and its text and the order of its parameters for the driver."""

    statement: Select[Any]
    text: str
    order: tuple[str, ...]


class Glance:
    """A connection that only reads; each look sees the newest commit. For any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._is_sqlite = engine.dialect.name == "sqlite"

    def prepare(self, statement: Select[Any]) -> Prepared:
        compiled = statement.compile(dialect=self._engine.dialect)
        return Prepared(statement, str(compiled), tuple(getattr(compiled, "positiontup", None) or ()))

    def rows(self, prepared: Prepared, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """All rows of a prepared statement."""
        if not self._is_sqlite:
            with self._engine.connect() as connection:
                return connection.execute(prepared.statement, parameters).all()
        return self._driven(prepared.text, tuple(parameters[name] for name in prepared.order))

    def version(self) -> int | None:
        """A number that changes with each commit any process makes; None: this database cannot tell.

        SQLite answers `PRAGMA data_version` from shared memory, in 2 µs. It counts only what *other* connections
        commit, which is why this one never writes.
        """
        if not self._is_sqlite:
            return None
        version: int = self._driven("PRAGMA data_version", ())[0][0]
        return version

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _driven(self, text: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            if self._connection is None:
                self._connection = self._engine.connect()
            driver = self._connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            try:
                return driver.execute(text, parameters).fetchall()
            except sqlite3.Error as error:
                raise Unavailable("The index database does not answer; try again later") from error
