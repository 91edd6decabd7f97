"""Where what is done here comes from: the request that a thread answers, or the command that somebody gave."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple


class Origin(NamedTuple):
    """Who asks, as far as it is known without a sign-in.

    Attributes:
        address: of the client; empty for a command.
        client: what it calls itself (`User-Agent`), as it was sent; of a command its words, and who gave it.
    """

    address: str = ""
    client: str = ""


_NOWHERE = Origin()
_current: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


def current() -> Origin:
    """Where what this thread does comes from; empty if nobody has asked for it."""
    return _current.get()


@contextlib.contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """What is done inside comes from there."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)
