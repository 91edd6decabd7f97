"""Keeps the memory of the master and its workers small without making them slower."""

import ctypes
import gc
import time

_libc = ctypes.CDLL(None)
_M_ARENA_MAX = -8  # mallopt(3)
_SECONDS = 10.0
_WORKED_SECONDS = 0.1


def keep_together() -> None:
    """Take all memory of this process and its children from one place; to be called while there is one thread.

    By default, glibc keeps what was freed for the thread that had it: the 19 MiB that hashing a password takes, once
    for each. And of a place that is not the first one, `give_back` leaves the end.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, 1)


def share() -> None:
    """Make ready to fork: a collection writes to every object it looks at, and what is written to is shared no more."""
    give_back()
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Give freed memory back to the system. Takes some milliseconds, without the GIL."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


class Pace:
    """Tells when to give memory back: now and then, if the process has done something since.

    Not at once, as glibc can be told to: getting memory again costs more than most of what it is wanted for.
    """

    def __init__(self) -> None:
        self._next = time.monotonic() + _SECONDS
        self._worked = time.process_time()

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _SECONDS
        worked = time.process_time()
        if worked - self._worked < _WORKED_SECONDS:
            return False
        self._worked = worked
        return True
