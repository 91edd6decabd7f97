"""Reads requests from bytes with httptools, and refuses what it does not understand at once.

Whatever is doubtful (two lengths, a length and chunks, a bare line feed, no host) is refused and the connection
closed: two programs that read the same bytes differently are how requests are smuggled (RFC 9112 §11.2).
"""

import re
from collections import deque
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from baludav.server.answers import Draft

MAX_FIELDS = 200

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Fields that a request may have only once: the second could be meant for somebody else's eyes.
_SINGLE = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"authorization", b"content-type", b"destination"}
)


class Refused(Exception):
    """A request that cannot be answered as asked.

    Attributes:
        status: HTTP status; the connection is closed after it.
        told: why, for a person; empty where the status says all.
        limit: of the configuration that was reached.
    """

    def __init__(self, status: int, told: str = "", limit: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.told = told
        self.limit = limit


class Request:
    """One request: its head, and what has come of its body.

    Attributes:
        fields: header fields by lower-case name, repeated ones joined.
        length: announced bytes of the body; None for chunks, 0 for no body.
        chunks: pieces of the body that were received and not read yet.
        is_complete: the whole body was received.
        is_counted: it was counted for its user and its address.
        draft: what the answer can be kept with.
        is_answered: nobody wants what is still to come of the body.
    """

    __slots__ = ("chunks", "draft", "expects_continue", "fields", "is_answered", "is_complete", "is_counted",
                 "keep_alive", "length", "method", "received", "target", "version")  # fmt: skip

    def __init__(
        self, method: bytes, target: bytes, version: str, fields: dict[bytes, bytes], keep_alive: bool
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields
        self.keep_alive = keep_alive
        self.chunks: deque[bytes] = deque()
        self.received = 0
        self.draft: tuple[int, int | None, Draft] | None = None
        self.is_complete = False
        self.is_answered = False
        self.is_counted = False
        self.expects_continue = fields.get(b"expect", b"").lower() == b"100-continue" and version == "1.1"
        coding = fields.get(b"transfer-encoding")
        if coding is None:
            self.length: int | None = int(fields.get(b"content-length", b"0"))
        else:
            self.length = None

    @property
    def has_body(self) -> bool:
        return self.length != 0


class RequestParser:
    """Turns the bytes of one connection into requests.

    Attributes:
        requests: those whose head is complete, oldest first.

    Args:
        max_target: bytes of the address that is asked for.
        max_head: bytes of the whole head.
    """

    def __init__(self, max_target: int = 16 << 10, max_head: int = 64 << 10) -> None:
        self.requests: deque[Request] = deque()
        self._max_target = max_target
        self._max_head = max_head
        self._parser = httptools.HttpRequestParser(self)
        self._past_parser = 0  # bytes of a body that go past it
        self._has_begun = False
        self._is_in_body = False
        self._head_size = 0
        self._target = b""
        self._fields: dict[bytes, bytes] = {}
        self._fields_size = 0
        self._count = 0

    @property
    def is_in_head(self) -> bool:
        """Part of a head has come, but not all of it."""
        return self._has_begun and not self._is_in_body

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            Refused: they are no acceptable request.
        """
        if self._past_parser:
            data = self._take_body(data)
        if not self._is_in_body:
            self._has_begun = self._has_begun or bool(data)
            self._head_size += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # An offer to speak another protocol, which nobody has to take (RFC 9110 §7.8); what follows is
                # the body after all.
                self._parser = httptools.HttpRequestParser(self)
                data = self._refuse_upgrade(data[upgrade.args[0] :])
            except httptools.HttpParserCallbackError as error:
                if isinstance(error.__context__, Refused):
                    raise error.__context__ from None
                raise
            except httptools.HttpParserInvalidMethodError:
                raise Refused(501) from None
            except httptools.HttpParserError:
                raise Refused(400) from None
        if self.is_in_head and self._head_size > self._max_head:
            raise self._too_large()

    def _refuse_upgrade(self, data: bytes) -> bytes:
        request = self.requests[-1]
        if request.length is None:
            raise Refused(501)
        request.is_complete = request.length == 0
        self._past_parser = request.length
        return self._take_body(data)

    def _take_body(self, data: bytes) -> bytes:
        """Take what belongs to a body that the parser does not see; returns the rest."""
        if not self._past_parser:
            return data
        request = self.requests[-1]
        piece = data[: self._past_parser]
        self._past_parser -= len(piece)
        if piece:
            request.chunks.append(piece)
            request.received += len(piece)
        request.is_complete = not self._past_parser
        return data[len(piece) :]

    def skip_body(self) -> None:
        """The rest of the present body was read past the parser; what comes next is a new request."""
        self._parser = httptools.HttpRequestParser(self)
        self._past_parser = 0
        self._reset()

    def _reset(self) -> None:
        self._has_begun = False
        self._is_in_body = False
        self._head_size = 0
        self._target = b""
        self._fields = {}
        self._fields_size = 0
        self._count = 0

    # What httptools calls

    def on_message_begin(self) -> None:
        self._reset()
        self._has_begun = True

    def on_url(self, url: bytes) -> None:
        self._target += url  # a line that spans two reads comes in pieces
        if len(self._target) > self._max_target:
            raise Refused(414, f"An address may have {self._max_target} bytes at most", "request_line")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        self._fields_size += len(name) + len(value) + 4
        if self._count > MAX_FIELDS or self._fields_size > self._max_head:
            raise self._too_large()
        if _CONTROL.search(value):
            raise Refused(400)
        if self._is_in_body:
            return  # a trailer: none is asked for, and a proxy has not looked whether it may be said (RFC 9110 §6.5.1)
        if b"_" in name:
            return  # X_Forwarded_For would become X-Forwarded-For on its way into the environment
        name = name.lower()
        old = self._fields.get(name)
        if old is None:
            self._fields[name] = value
        elif name in _SINGLE:
            raise Refused(400)
        else:
            self._fields[name] = old + (b"; " if name == b"cookie" else b", ") + value

    def _too_large(self) -> Refused:
        told = f"The head of a request may have {self._max_head} bytes and {MAX_FIELDS} fields at most"
        return Refused(431, told, "headers")

    def on_headers_complete(self) -> None:
        version = self._parser.get_http_version()
        fields = self._fields
        if version not in ("1.0", "1.1"):
            raise Refused(505)
        if version == "1.1" and not fields.get(b"host"):
            raise Refused(400)
        coding = fields.get(b"transfer-encoding")
        if coding is not None and (version == "1.0" or b"content-length" in fields):
            raise Refused(400)
        if coding is not None and coding.lower() != b"chunked":
            raise Refused(501)
        if fields.get(b"expect", b"100-continue").lower() != b"100-continue":
            raise Refused(417)
        if not fields.get(b"content-length", b"0").isdigit() or len(fields.get(b"content-length", b"")) > 18:
            raise Refused(400)
        self._is_in_body = True
        self.requests.append(
            Request(self._parser.get_method(), self._target, version, fields, self._parser.should_keep_alive())
        )

    def on_body(self, data: bytes) -> None:
        request = self.requests[-1]
        request.chunks.append(data)
        request.received += len(data)

    def on_message_complete(self) -> None:
        self.requests[-1].is_complete = True
        self._reset()
