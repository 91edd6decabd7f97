"""Something to wait for, a number that anybody may tell, and the two kinds of answers that wait for it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

from baludav.db.engine import Database
from baludav.db.tables import meta

UNSEEN = 1_000_000
"""The first look at this number fails."""


class News:
    """The number, in a database that the test and every worker open for themselves."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "news.db", "fast")
        meta.create(self._database.engine, checkfirst=True)

    def tell(self, number: int) -> None:
        sql, values = "insert or replace into meta values ('number', ?)", (str(number),)
        self._database.commit(lambda connection: connection.exec_driver_sql(sql, values))

    def read(self) -> int:
        return int(self._database.note("number") or 0)

    def close(self) -> None:
        self._database.close()


class Source(News):
    """The number as the server waits for it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lock = threading.Lock()  # so that nobody puts an older number over a newer one
        self.waiting: set[_Waiting] = set()
        self._failed_at = 0
        self._listening = self._database.listen()

    def fileno(self) -> int:
        return self._listening.fileno()

    def look(self) -> "list[_Waiting]":
        self._listening.take()
        with self.lock:
            number = self.read()
            if number == UNSEEN != self._failed_at:
                self._failed_at = number
                raise RuntimeError("as asked")
            for body in self.waiting:
                body.number = number
            return list(self.waiting)

    def body(self, path: str, query: str) -> "_Waiting":
        """The answer to `/stream` or `/poll`."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        return Stream(self, asked) if path == "/stream" else Poll(self, asked)


class _Waiting:
    def __init__(self, source: Source, asked: dict[str, str]) -> None:
        self.source = source
        self.asked = asked
        self.told = int(asked.get("since", 0))
        self.is_over = False
        self.seconds = float(asked.get("seconds", 60))
        self.due = time.monotonic() + self.seconds
        with source.lock:
            source.waiting.add(self)
            self.number = source.read()

    def stop(self) -> None:
        self.is_over = True

    def close(self) -> None:
        with self.source.lock:
            self.source.waiting.discard(self)


class Stream(_Waiting):
    """A line for each new number, or `beat` when nothing was told for some seconds; ends with -1.

    `size` lengthens the lines, and `fail` makes it fail instead of saying one.
    """

    def pull(self, now: float) -> bytes | None:
        if self.is_over or self.number < 0:
            return None
        if self.number > self.told:
            self.told = self.number
            if "fail" in self.asked:
                raise RuntimeError("as asked")
            self.due = now + self.seconds
            return str(self.told).encode().ljust(int(self.asked.get("size", 0)), b".") + b"\n"
        if now >= self.due:
            self.due = now + self.seconds
            return b"beat\n"
        return b""

    def __iter__(self) -> Iterator[bytes]:
        yield b"end\n"


class Poll(_Waiting):
    """The first number above `since`; what there is after some seconds."""

    def pull(self, now: float) -> bytes | None:
        return None if self.is_over or self.number > self.told or now >= self.due else b""

    def __iter__(self) -> Iterator[bytes]:
        yield str(self.source.read()).encode()
