"""Statements that run in a few microseconds, for what every request asks and writes.

Executing a statement through SQLAlchemy costs 20 to 30 µs, almost all of it outside the database. Here it is
compiled once and handed to the driver; rows come back as the driver gives them, so a boolean is 0 or 1.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, Update
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.exc import DBAPIError

Values = Mapping[str, Any]
_NONE: Values = {}


class Statement:
    """One statement with named parameters.

    Args:
        clause: with `bindparam`s; none of them expanding.
        columns: of an insert, those that get a value.
    """

    def __init__(self, clause: Select[Any] | Insert | Update | Delete, columns: Sequence[str] | None = None) -> None:
        self._clause = clause
        self._columns = columns

    def rows(self, connection: Connection, values: Values = _NONE) -> list[Sequence[Any]]:
        """All rows."""
        found: list[Sequence[Any]] = self._run(connection, values).fetchall()
        return found

    def row(self, connection: Connection, values: Values = _NONE) -> Sequence[Any] | None:
        """The first row, if there is one."""
        found: Sequence[Any] | None = self._run(connection, values).fetchone()
        return found

    def scalar(self, connection: Connection, values: Values = _NONE) -> Any:
        """The first column of the first row; None without one."""
        found = self.row(connection, values)
        return None if found is None else found[0]

    def change(self, connection: Connection, values: Values = _NONE) -> int:
        """Insert, update or delete; how many rows."""
        count: int = self._run(connection, values).rowcount
        return count

    def insert(self, connection: Connection, values: Values) -> int:
        """Insert a row; its key."""
        if connection.dialect.name != "sqlite":
            key = connection.execute(self._clause, values).inserted_primary_key
            assert key is not None
            return int(key[0])
        return int(self._run(connection, values).lastrowid)

    def _run(self, connection: Connection, values: Values) -> Any:
        driver = connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            return connection.execute(self._clause, values)
        text, order, constants = self._compiled
        if constants:
            values = {**constants, **values}
        parameters = [values[name] for name in order]
        try:
            return driver.execute(text, parameters)
        except sqlite3.Error as error:
            raise DBAPIError.instance(text, parameters, error, sqlite3.Error) from error

    @cached_property
    def _compiled(self) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        """For SQLite: the text, the order of its parameters, and the values of those that are constants."""
        compiled = self._clause.compile(dialect=dialect(), column_keys=self._columns)
        order = tuple(compiled.positiontup or ())
        constants = {name: compiled.params[name] for name in order if not compiled.binds[name].required}
        return str(compiled), order, constants
