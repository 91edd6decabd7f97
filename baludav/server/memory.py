"""Keeps the memory of the master and its workers small without making them slower."""

import ctypes
import gc
import mmap
import time

_libc = ctypes.CDLL(None)
_M_ARENA_MAX = -8  # mallopt(3)
_LOOK_SECONDS = 2.0
_MUCH = 4 << 20  # bytes
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
    """Tells when to give memory back: soon after much of it was taken, and now and then if anything was done.

    Not at once, as glibc can be told to: getting memory again costs more than most of what it is wanted for.
    """

    def __init__(self) -> None:
        now = time.monotonic()
        self._look_at = now + _LOOK_SECONDS
        self._due_at = now + _SECONDS
        self._worked = time.process_time()
        self._least = _resident()  # since memory was given back

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + _LOOK_SECONDS
        resident = _resident()
        self._least = min(self._least, resident)
        return resident - self._least >= _MUCH or (now >= self._due_at and self._has_worked(now))

    def give_back(self) -> None:
        """Give it back; what is left is needed, or cannot be had."""
        give_back()
        self._least = _resident()

    def _has_worked(self, now: float) -> bool:
        """Whether the process has done something since it was asked before."""
        self._due_at = now + _SECONDS
        worked = time.process_time() - self._worked
        self._worked += worked
        return worked >= _WORKED_SECONDS


def _resident() -> int:
    """Bytes of memory that this process has, those included that it shares."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE
