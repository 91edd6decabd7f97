"""Moves what was committed from SQLite's write-ahead log into the database, beside the commits and not in them.

Left to itself SQLite does so in the middle of the commit that makes the log too long, which then waits for two syncs
of the disk. A passive checkpoint on a connection of its own waits for nobody and makes nobody wait.

But SQLite begins the log anew only when all of it has been moved and nobody reads in it, which may never be while
commits follow each other closely. So once it is long, what is left of it is moved while nobody commits.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)

_COMMITS = 200  # after so many it is worth the syncs
_SECONDS = 5.0  # or after such a time, if there was any
_LONG = 4000  # pages of the log
_PATIENCE = 100  # milliseconds that writers wait for readers to leave a long log


class Checkpoints:
    """The checkpoints of one process.

    Args:
        engine: of a SQLite database in WAL mode, whose connections do no checkpoints themselves.
        alone: while inside, nobody else commits.
    """

    def __init__(self, engine: Engine, alone: Callable[[], AbstractContextManager[None]]) -> None:
        self._engine = engine
        self._alone = alone
        self._commits = 0
        self._due = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Count a commit. One at a time."""
        self._commits += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()
        if self._commits >= _COMMITS:
            self._due.set()

    def close(self) -> None:
        self._is_closing = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={_PATIENCE}")
            while not self._is_closing:
                self._due.wait(_SECONDS)
                self._due.clear()
                if self._commits and not self._is_closing:
                    self._commits = 0
                    self._checkpoint(connection)

    def _checkpoint(self, connection: Connection) -> None:
        try:
            _, pages, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
            if pages > _LONG:
                with self._alone():
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(RESTART)").one()
        except DBAPIError as error:
            log.warning("no checkpoint of the index: %s", error.orig)
