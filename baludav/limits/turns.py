"""Counts what is going on at a time, for each user and over all processes.

Each process counts in its own part of a memory that they share, so what one that was killed had counted can be told
from what goes on, and is counted no longer.
"""

import mmap
import os
import threading

from baludav.limits.parts import Parts

_ROWS = 4096  # users whose ids differ by one less have one count
_BYTES = 4  # of a number


class Turns:
    """Counts of one kind; make it before the processes are forked."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._numbers = memoryview(mmap.mmap(-1, max(1, parts.count) * _ROWS * _BYTES)).cast("I")
        self._apart = memoryview(bytearray(_ROWS * _BYTES)).cast("I")  # of a process that has no part: seen by it alone
        self._lock = threading.Lock()
        self._pid = 0  # of the process that has ...
        self._mine = self._apart  # ... these numbers

    def enter(self, number: int, most: int) -> bool:
        """Count one more of what has this number, unless there are as many as there may be."""
        row = _row(number)
        with self._lock:
            self._begin()
            self._mine[row] += 1  # first, so that two processes never both take the last turn
            if self._sum(row) <= most or self._sum_of_living(row) <= most:
                return True
            self._mine[row] -= 1
            return False

    def leave(self, number: int) -> None:
        """Count one less."""
        with self._lock:
            self._mine[_row(number)] -= 1

    def _begin(self) -> None:
        if self._pid != os.getpid():
            part = self._parts.mine()
            has_one = part < self._parts.count
            self._mine = self._numbers[part * _ROWS : (part + 1) * _ROWS] if has_one else self._apart
            self._mine[:] = memoryview(bytearray(_ROWS * _BYTES)).cast("I")  # of a process that has ended
            self._pid = os.getpid()

    def _sum(self, row: int) -> int:
        """How many all processes count."""
        shared = sum(self._numbers[row + part * _ROWS] for part in range(self._parts.count))
        return shared + self._mine[row] if self._mine is self._apart else shared

    def _sum_of_living(self, row: int) -> int:
        """The same, once what processes had counted that have ended is forgotten."""
        for part in range(self._parts.count):
            place = row + part * _ROWS
            if self._numbers[place] and part != self._parts.mine():
                with self._parts.abandoned(part) as is_abandoned:
                    if is_abandoned:
                        self._numbers[place] = 0
        return self._sum(row)


def _row(number: int) -> int:
    """0 has a row of its own: it stands for all."""
    return (number - 1) % (_ROWS - 1) + 1 if number else 0
