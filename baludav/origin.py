"""Where what is done here comes from: the request that a thread answers, or the command that somebody gave."""

import contextlib
import itertools
import os
import re
import secrets
from collections.abc import Iterator
from contextvars import ContextVar

# What a proxy or client may have called a request: nothing that could be taken for something else in a log.
_WELL_FORMED = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+/=-]{0,63}")
_PREFIX_BYTES = 4


class Origin:
    """Who asks, as far as it is known without a sign-in.

    Args:
        address: of the client; empty for a command.
        client: what it calls itself (`User-Agent`), as it was sent; of a command its words, and who gave it.
        is_request: what comes from here is one request.
        given: what the client, or a proxy before it, calls the request (`X-Request-Id`).
        is_trusted: whoever gave it is a trusted proxy.
    """

    __slots__ = ("_given", "_is_request", "_is_trusted", "_request_id", "address", "client")

    def __init__(
        self,
        address: str = "",
        client: str = "",
        *,
        is_request: bool = False,
        given: str | None = None,
        is_trusted: bool = False,
    ) -> None:
        self.address = address
        self.client = client
        self._is_request = is_request
        self._given = given
        self._is_trusted = is_trusted
        self._request_id: str | None = None

    @property
    def request_id(self) -> str:
        """Names the request in the log and to its client; empty for what is none. Made when it is first asked for."""
        if self._request_id is None:
            self._request_id = request_id(self._given, is_trusted=self._is_trusted) if self._is_request else ""
        return self._request_id


def request_id(given: str | None, *, is_trusted: bool) -> str:
    """A name for a request.

    Args:
        given: as above. A trusted proxy's is taken; a client's stands behind one of ours, since it need not be unique.
    """
    own = f"{_prefix}-{next(_numbers):x}"
    if given is None or not _WELL_FORMED.fullmatch(given):
        return own
    return given if is_trusted else f"{own}:{given}"


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


def _renew() -> None:
    """In a new process: its names are not those of another."""
    global _prefix
    _prefix = secrets.token_hex(_PREFIX_BYTES)


NOWHERE = Origin()
_current: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)
_prefix = ""
_numbers = itertools.count(1)
_renew()
os.register_at_fork(after_in_child=_renew)
