"""Spreads connections evenly over the workers, which all accept from one socket.

Left alone, the worker that is awake takes most of a burst, and the others have nothing to do. So one that has more
connections than another lets that one go first.
"""

import mmap

_SIZE = 4  # bytes of a number


class Balance:
    """How many connections each worker has, in memory that all of them share; made before they are forked.

    Args:
        seats: how many workers there can be at a time.
    """

    def __init__(self, seats: int) -> None:
        self._numbers = memoryview(mmap.mmap(-1, seats * _SIZE)).cast("I")
        self._taken: set[int] = set()

    def take(self) -> "Seat":
        """A seat for a worker that is about to begin; if none is free, one where nobody sees it."""
        free = (number for number in range(len(self._numbers)) if number not in self._taken)
        number = next(free, None)
        if number is None:
            return Seat(memoryview(bytearray(_SIZE)).cast("I"), 0)
        self._taken.add(number)
        return Seat(self._numbers, number)

    def free(self, seat: "Seat") -> None:
        """Its worker has ended, however it did."""
        seat.leave()
        if seat.numbers is self._numbers:
            self._taken.discard(seat.number)


class Seat:
    """One worker's part of it; others see 0 until it serves, and afterwards one more than its connections."""

    def __init__(self, numbers: memoryview, number: int) -> None:
        self.numbers = numbers
        self.number = number

    def tell(self, connections: int) -> None:
        """Say how many connections the worker has."""
        self.numbers[self.number] = connections + 1

    def leave(self) -> None:
        """The worker accepts no more."""
        self.numbers[self.number] = 0

    @property
    def is_fuller(self) -> bool:
        """Another worker, which accepts, has fewer connections."""
        own = self.numbers[self.number]
        return any(0 < other < own for other in self.numbers)
