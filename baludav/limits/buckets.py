"""Token buckets in memory that all workers share: whoever takes a token, all see it.

A bucket is full again at some moment, which each token that is taken puts off (GCRA, the virtual scheduling of ITU-T
I.371). Processes do not lock each other out: each adds up in a number of its own by how much it has put that moment
off, and none writes to that of another, so nothing that was taken is lost. What they share is the moment without all
that, which changes only while the bucket is full.

A key has a few places in the table where its bucket may be. One that finds all of them taken has that of the bucket
that is full first, which then forgets what was taken.
"""

import mmap
import secrets
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from threading import Lock

from baludav.limits.parts import Parts

_SLOTS = 1 << 13  # a power of two
_NEIGHBOURS = 8  # places of a key
_WORD = 8  # bytes
_MODULO = (1 << 64) - 1  # the moment without what was taken may lie before the clock began
_secret = secrets.token_bytes(16)  # the same in all workers: this is read before they are forked


class Rate:
    """How fast a bucket fills.

    Attributes:
        each: nanoseconds for a token.
        nanoseconds: in which an empty bucket is full again.
    """

    __slots__ = ("each", "nanoseconds")

    def __init__(self, capacity: int, seconds: float) -> None:
        self.each = max(1, int(seconds * 1_000_000_000) // capacity)
        self.nanoseconds = self.each * capacity


class Buckets:
    """A table of buckets, of which any may have any rate.

    Args:
        slots: how many there are; a power of two.
        clock: nanoseconds that never go back, the same in all processes.
    """

    def __init__(self, parts: Parts, slots: int = _SLOTS, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._parts = parts
        # A key, the moment, a number for each process, and one for those that have no part.
        self._size = 2 + parts.count + 1
        self._words = memoryview(mmap.mmap(-1, slots * self._size * _WORD)).cast("Q")
        self._mask = slots - 1
        self._clock = clock
        self._lock = Lock()  # among the threads of a process

    def take(self, key: int, rate: Rate) -> float:
        """Take a token, if there is one.

        Returns:
            0.0, or seconds until there will be one.
        """
        now = self._clock()
        words = self._words
        with self._lock:
            place = self._place(key, now)
            taken = self._taken(place)
            full_at = (words[place + 1] + taken) & _MODULO
            if full_at < now:
                words[place + 1] = (now - taken) & _MODULO
                full_at = now
            missing = full_at + rate.each - now - rate.nanoseconds
            if missing > 0:
                return missing / 1e9
            mine = place + 2 + self._parts.mine()
            words[mine] = (words[mine] + rate.each) & _MODULO
        return 0.0

    def _taken(self, place: int) -> int:
        return sum(self._words[place + 2 : place + self._size])

    def _place(self, key: int, now: int) -> int:
        words, size = self._words, self._size
        first = (key & self._mask) * size
        if words[first] == key:
            return first
        places = [(number & self._mask) * size for number in range(key, key + _NEIGHBOURS)]
        for place in places:
            if words[place] == key:
                return place
        place = min(places, key=lambda place: (words[place + 1] + self._taken(place)) & _MODULO)
        words[place] = key
        words[place + 1] = (now - self._taken(place)) & _MODULO
        return place


@lru_cache(maxsize=16384)
def key_of(name: str) -> int:
    """What the bucket of this name is found by. Nobody outside can tell which names have the same places."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=_secret).digest()
    return int.from_bytes(digest) or 1
