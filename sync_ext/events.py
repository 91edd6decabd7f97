"""Hearing of changes: Server-Sent Events, and an answer that waits for a change."""

from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec

from baludav.accounts.accounts import Principal
from baludav.errors import Failure, TooManyListeners
from baludav.tree.tokens import Token
from sync_ext.endpoints import Call, endpoint
from sync_ext.listeners import Listeners, Waiting

MEDIA_TYPE = "text/event-stream"
_NOTHING = b":\n\n"  # a comment: it keeps the connection, and shows the client that there still is one


class EventStream(Waiting):
    """The events of one client.

    Args:
        last_id: the id of the last event that it got; empty for none.
    """

    def __init__(self, source: Listeners, principal: Principal, last_id: str) -> None:
        super().__init__(source, principal, 0)  # due at once: the client is to see that it is heard
        token = self.audience.token
        self._told = token if str(token) == last_id else None

    def pull(self, now: float) -> bytes | None:
        is_due = now >= self.due
        if is_due:
            self.source.check(self.audience)
        if self.is_over or self.audience.is_over:
            return None
        token = self.audience.token
        if token == self._told and not is_due:
            return b""
        self.due = now + self.source.heartbeat
        if token == self._told:
            return _NOTHING
        self._told = token
        return _event(token)


class LongPoll(Waiting):
    """One answer, when something has changed or the time is over.

    Args:
        token: what the client knows.
        seconds: how long to wait.
        answer: makes the answer, for which the account was looked at.
        nothing: the answer when it cannot be made: the client asks again and learns why.
    """

    def __init__(
        self, source: Listeners, principal: Principal, token: Token, seconds: float,
        answer: Callable[[], bytes], *, nothing: bytes,
    ) -> None:  # fmt: skip
        super().__init__(source, principal, seconds)
        self._token = token
        self._answer = answer
        self._nothing = nothing
        self._is_done = False

    def pull(self, now: float) -> bytes | None:
        if now >= self.due and not self._is_done:
            self._is_done = True
            self.source.check(self.audience)
        self._is_done = self._is_done or self.is_over or self.audience.is_over or self.audience.token != self._token
        return None if self._is_done else b""

    def rest(self) -> Iterable[bytes]:
        if self.is_over or self.audience.is_over:
            return (self._nothing,)
        try:
            return (self._answer(),)
        except Failure:
            return (self._nothing,)


@lru_cache(64)
def _event(token: Token) -> bytes:
    data = msgspec.json.encode({"change_token": str(token)}).decode()
    return f"id: {token}\nevent: change\ndata: {data}\n\n".encode()


@endpoint("GET", "/events", media_type=MEDIA_TYPE, failures=(TooManyListeners,))
def events(call: Call) -> Iterable[bytes]:
    """Server-Sent Events: one with the new change token as soon as something changes, whoever changes it.

    The first comes at once and has the present token, unless the field `Last-Event-ID` says that the client knows it
    already. Ask for the changes then. Changes that follow each other closely may be told by one event. A comment
    comes when nothing has changed for 15 seconds. The stream ends when the account or one of its devices is changed;
    sign in again.
    """
    call.headers += [("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")]
    if not call.has_body:
        return ()
    return EventStream(call.ground.listeners, call.principal, call.environ.get("HTTP_LAST_EVENT_ID", ""))
