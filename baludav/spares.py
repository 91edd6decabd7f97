"""Things that are costly to open, kept open for the next who needs one; those that nobody has needed are closed."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Spares(Generic[T]):
    """Open things of one kind that nobody uses now; any thread may take and put.

    Args:
        close: closes one of them.
    """

    def __init__(self, close: Callable[[T], object]) -> None:
        self._close = close
        self._things: list[T] = []  # what was put last is taken first, so the first ones are those nobody needs
        self._fewest = 0  # since the last look

    def __len__(self) -> int:
        return len(self._things)

    def take(self) -> T | None:
        """One of them; None if there is none, and another is to be opened."""
        try:
            thing = self._things.pop()
        except IndexError:
            self._fewest = 0
            return None
        if len(self._things) < self._fewest:
            self._fewest = len(self._things)
        return thing

    def put(self, thing: T) -> None:
        """It is not needed any more, by whoever took it or opened it."""
        self._things.append(thing)

    def close_unneeded(self) -> None:
        """Close as many as have lain here all the time since this was called before, but one."""
        for _ in range(self._fewest - 1):
            try:
                thing = self._things.pop(0)
            except IndexError:
                break
            self._close(thing)
        self._fewest = len(self._things)

    def close(self) -> None:
        """Close all of them."""
        while self._things:
            self._close(self._things.pop())
