"""Moves what was committed from SQLite's write-ahead log into the database, beside the commits and not in them.

Left to itself SQLite does so in the middle of the commit that makes the log too long, which then waits for two syncs
of the disk. A passive checkpoint on a connection of its own waits for nobody and makes nobody wait.
"""

import logging
import threading

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)

_COMMITS = 200  # after so many it is worth the syncs
_SECONDS = 5.0  # or after such a time, if there was any


class Checkpoints:
    """The checkpoints of one process.

    Args:
        engine: of a SQLite database in WAL mode, whose connections do no checkpoints themselves.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
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
        with self._engine.connect().execution_options(baludav_begin="") as connection:
            while not self._is_closing:
                self._due.wait(_SECONDS)
                self._due.clear()
                if self._commits and not self._is_closing:
                    self._commits = 0
                    self._checkpoint(connection)

    @staticmethod
    def _checkpoint(connection: Connection) -> None:
        try:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except DBAPIError as error:
            log.warning("no checkpoint of the index: %s", error.orig)
