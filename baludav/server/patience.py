"""How long a client is waited for that sends a body or takes an answer: as long as it gets on."""

import fcntl
import struct
import termios
import time
from collections.abc import Callable


class Patience:
    """Of one connection, with one client.

    Only the time counts in which the client is waited for, so nobody is cut off because the server or its disk is slow.
    After every so many bytes it begins anew.

    Args:
        seconds: that are waited for so many bytes.
        rate: bytes a second, on average; 0: any byte is enough.
        clock: seconds that never go back.

    Attributes:
        since: when the present waiting began; 0.0: there is none.
    """

    __slots__ = ("_clock", "_fd", "_least", "_moved", "_seconds", "_untaken", "_waited", "since")

    def __init__(self, seconds: float, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._least = max(1, int(rate * seconds))
        self._clock = clock
        self._fd = -1
        self._untaken = 0
        self.begin()

    def begin(self) -> None:
        """Forget what was."""
        self._moved = 0
        self._waited = 0.0
        self.since = 0.0

    def start(self, fd: int) -> None:
        """The client is waited for from now on, at this socket."""
        self._fd, self._untaken = fd, untaken(fd)
        self.since = self._clock()

    def stop(self) -> None:
        """It is waited for no longer. What it took of its answer counts; what it sent is told by `moved`."""
        self._waited += self._clock() - self.since
        self.since = 0.0
        self.moved(self._untaken - untaken(self._fd))

    def moved(self, count: int) -> None:
        """So many bytes came, or were taken."""
        self._moved += count
        if self._moved >= self._least:
            self.begin()

    @property
    def left(self) -> float:
        """Seconds that the client may still be waited for, if it goes on as slowly; 0.0: it is too slow."""
        return max(0.0, self._seconds - self._waited)

    @property
    def told(self) -> str:
        """Why a client that is too slow is given up, for a person."""
        return f"In {self._seconds:g} s of waiting fewer than {self._least} bytes came or were taken"


def untaken(fd: int) -> int:
    """Bytes that a socket was given and that the other machine has not acknowledged (tcp(7), SIOCOUTQ).

    The kernel takes megabytes that a slow client takes minutes to fetch, and says that there is room again only once a
    third of them is gone; so what it takes says little about the client.
    """
    try:
        return int(struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0])
    except (OSError, ValueError):  # it is closed
        return 0
