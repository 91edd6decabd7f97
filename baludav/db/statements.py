"""Statements that run in a few microseconds, for what every request asks and writes.

Executing a statement through SQLAlchemy costs 20 to 30 µs, almost all of it outside the database. Here it is
compiled once and handed to the driver; rows come back as the driver gives them, so a boolean is 0 or 1.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
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
        return _drive(driver, text, parameters)

    @cached_property
    def _compiled(self) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        """For SQLite: the text, the order of its parameters, and the values of those that are constants."""
        compiled = self._clause.compile(dialect=dialect(), column_keys=self._columns)
        order = tuple(compiled.positiontup or ())
        constants = {name: compiled.params[name] for name in order if not compiled.binds[name].required}
        return str(compiled), order, constants


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Begin a transaction that may write, and commit it; undone if anything fails."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        with connection.begin():
            yield
        return
    # A transaction that reads first and writes later can fail for good; one that writes at once waits.
    _drive(driver, "BEGIN IMMEDIATE")
    try:
        yield
        _drive(driver, "COMMIT")
    except BaseException:
        if driver.in_transaction:
            driver.rollback()
        raise
    finally:
        if connection.in_transaction():  # what SQLAlchemy believes, of statements that went through it
            connection.rollback()


@contextlib.contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Inside, all statements see the same moment; nothing is written."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        with connection.begin():
            yield
        return
    _drive(driver, "BEGIN")
    try:
        yield
    finally:
        if driver.in_transaction:
            driver.rollback()


@contextlib.contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Part of a transaction, which is undone alone if it fails."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        with connection.begin_nested():
            yield
        return
    _drive(driver, "SAVEPOINT part")
    try:
        yield
    except BaseException:
        if driver.in_transaction:  # some failures end the whole transaction
            _drive(driver, "ROLLBACK TO part")
            _drive(driver, "RELEASE part")
        raise
    _drive(driver, "RELEASE part")


def _drive(driver: sqlite3.Connection, text: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
    try:
        return driver.execute(text, parameters)
    except sqlite3.Error as error:
        raise DBAPIError.instance(text, parameters, error, sqlite3.Error, hide_parameters=True) from error
