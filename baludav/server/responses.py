"""Sends the answer of a WSGI application (PEP 3333) in as few system calls as possible."""

import re
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from baludav.answering import ORIGIN
from baludav.errors import REASONS
from baludav.log import access
from baludav.log.access import Answered
from baludav.origin import NOWHERE, Origin
from baludav.server import coding
from baludav.server.bodies import BodyReader
from baludav.server.parser import Request

if TYPE_CHECKING:
    from baludav.server.connection import Connection

Headers = list[tuple[str, str]]

_NOT_IN_FIELD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_date: tuple[int, bytes] = (0, b"")


class BrokenAnswer(Exception):
    """The application's answer cannot be sent as it is."""


class Response:
    """One answer on its way.

    Attributes:
        body: what the application gave.
        headers: likewise.
        sent: the same as they go over the wire, if the body is known as a whole.
        environ: what the application was asked with; empty before it was.
        begun: monotonic time in seconds.
        is_begun: the head was sent, so nothing else can be answered any more.
        keep_alive: the connection can take another request afterwards.
    """

    def __init__(self, connection: "Connection", request: Request, received: BodyReader, *, keep_alive: bool) -> None:
        self.connection = connection
        self._request = request
        self.received = received
        self.body: Iterable[bytes] = ()
        self.environ: dict[str, Any] = {}
        self.begun = time.monotonic()
        self._sent_before = 0
        self.status = 0
        self.headers: Headers = []
        self._head_size = 0
        self.sent: tuple[Headers, bytes] | None = None
        self._left: int | None = None
        self._file_sent = 0  # bytes of it
        self._is_chunked = False
        self.is_begun = False
        self.keep_alive = keep_alive

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """PEP 3333's start_response."""
        if self.status and exc_info is None:
            raise BrokenAnswer("start_response was called twice")
        if exc_info is not None and self.is_begun:
            raise exc_info[1].with_traceback(exc_info[2])
        self.status = int(status[:3])
        self.headers = headers
        return self._write

    def gather(self) -> None:
        """Make fields and body as they go over the wire, if the application gave the body as a whole."""
        if self.sent is None and isinstance(self.body, list | tuple):
            self.sent = self._coded(b"".join(self.body))

    def send(self) -> bool:
        """Send the whole answer, or what is left of it; False: the rest of a file, once its client takes more."""
        body = self.body
        if hasattr(body, "fileno") and hasattr(body, "length") and self.has_body:
            return self._send_file(body)
        self.gather()
        if self.sent is not None:
            body = [self.sent[1]]  # in one system call
        length = self._known_length()
        if self.has_body and length is None and self.sent is not None:
            length = len(self.sent[1])
        for piece in body:
            if piece:
                self._write(piece, length)
        self._finish(length)
        return True

    def send_at_once(self, piece: bytes) -> bool:
        """Send a piece of the body without waiting for the client; False if it does not take all of it."""
        return self.connection.send_at_once(*self._framed(piece))

    def close(self) -> None:
        """Tell the application that its answer was sent, or never will be (PEP 3333)."""
        if hasattr(self.body, "close"):
            self.body.close()

    def _coded(self, body: bytes) -> tuple[Headers, bytes]:
        """Fields and body in the coding that the client asks for."""
        length = self._known_length()
        if not coding.is_codable(self.status, self.headers, len(body) if length is None else length):
            return self.headers, body
        if not coding.asks_for_gzip(self._request):
            return coding.varied(self.headers), body
        if not self.has_body:  # the length is that of the body, which HEAD has not made (RFC 9110 §8.6)
            return coding.packed_headers(self.headers), body
        packed = coding.packed(body)
        return [*coding.packed_headers(self.headers), ("Content-Length", str(len(packed)))], packed

    def _write(self, piece: bytes, length: int | None = None) -> None:
        self.connection.send(*self._framed(piece, length))

    def _framed(self, piece: bytes, length: int | None = None) -> tuple[bytes, ...]:
        """A piece of the body as it goes over the wire, before the first one the head."""
        head = b"" if self.is_begun else self._head(self._known_length() if length is None else length)
        if not self.has_body:
            return (head,)
        if self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                self.keep_alive = False
                raise BrokenAnswer("the body is longer than its Content-Length")
        if self._is_chunked:
            return head + b"%x\r\n" % len(piece), piece, b"\r\n"
        return head, piece

    def _finish(self, length: int | None) -> None:
        if not self.is_begun:
            self.connection.send(self._head(0 if length is None and self.has_body else length))
        if self._is_chunked and self.has_body:
            self.connection.send(b"0\r\n\r\n")
        if self._left and self.has_body:
            self.keep_alive = False
            raise BrokenAnswer("the body is shorter than its Content-Length")

    def _send_file(self, body: Any) -> bool:
        if not self.is_begun:
            self.connection.send(self._head(body.length), more=body.length > 0)
        sent = self.connection.send_file(body.fileno(), body.offset + self._file_sent, body.length - self._file_sent)
        if sent is None:
            self.keep_alive = False
            raise BrokenAnswer("the file is shorter than its answer")
        self._file_sent += sent
        return bool(self._file_sent == body.length)

    @property
    def origin(self) -> Origin:
        """Where the request comes from."""
        origin: Origin = self.environ.get(ORIGIN, NOWHERE)
        return origin

    def tell(self) -> None:
        """Write its line of the access log: it is over, or was broken off."""
        if not access.is_on():
            return
        request, principal = self._request, self.environ.get("baludav.principal")
        access.add(Answered(
            self.origin.request_id, self.origin.address or self.connection.remote_addr,
            principal.name if principal else "", principal.device if principal else "",
            request.method.decode("ascii"), request.target.decode("latin-1"), self.status or 500, self._body_sent,
            request.received, self.begun,
        ))  # fmt: skip

    @property
    def _body_sent(self) -> int:
        """Bytes of the body that went out, with what frames them."""
        return max(0, self.connection.sent - self._sent_before - self._head_size) if self._head_size else 0

    @property
    def has_body(self) -> bool:
        """False where HTTP forbids one, whatever the application gives (RFC 9110 §6.4.1)."""
        return self._request.method != b"HEAD" and self.status not in (204, 304)

    def _known_length(self) -> int | None:
        for name, value in self._headers():
            if name.lower() == "content-length":
                return int(value)
        return None

    def _headers(self) -> Headers:
        return self.headers if self.sent is None else self.sent[0]

    def _head(self, length: int | None) -> bytes:
        if not self.status:
            raise BrokenAnswer("start_response was not called")
        self.is_begun = True
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Status')}"]
        names = set()
        for name, value in self._headers():
            if _NOT_IN_FIELD.search(value) or _NOT_IN_FIELD.search(name):
                self.is_begun = False
                raise BrokenAnswer(f"a control character in the field {name!r}")
            lower = name.lower()
            if lower in ("connection", "transfer-encoding") or (lower == "content-length" and self.status == 204):
                self.keep_alive = self.keep_alive and value.lower() != "close"
                continue
            names.add(lower)
            lines.append(f"{name}: {value}")
        if self.status not in (204, 304) and "content-length" not in names:
            self._add_framing(lines, length)
        self._left = length if self.has_body else None
        self.keep_alive = self.keep_alive and self.received.is_drainable
        if not self.keep_alive:
            lines.append("Connection: close")
        elif self._request.version == "1.0":
            lines.append("Connection: keep-alive")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n" + date_line() + b"\r\n"
        self._sent_before, self._head_size = self.connection.sent, len(head)
        return head

    def _add_framing(self, lines: list[str], length: int | None) -> None:
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif self._request.method == b"HEAD":
            pass
        elif self._request.version == "1.1":
            self._is_chunked = True
            lines.append("Transfer-Encoding: chunked")
        else:
            self.keep_alive = False


def head(status: int, headers: Headers) -> bytes:
    """Status line and fields of an answer with a known length, up to those that every answer has."""
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n"


def date_line() -> bytes:
    """The fields that every answer has; made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, b"Date: " + formatdate(now, usegmt=True).encode() + b"\r\nServer: baludav\r\n")
    return _date[1]


def simple(
    status: int, told: str = "", *, keep_alive: bool = False, is_head: bool = False, request_id: str = ""
) -> bytes:
    """A short answer of the server's own.

    Args:
        told: what it says, if not just the reason phrase.
    """
    reason = REASONS.get(status, "Error")
    text = f"{told or reason}\n".encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
    close = "" if keep_alive else "Connection: close\r\n"
    named = f"X-Request-Id: {request_id}\r\n" if request_id else ""
    return (head + named + close).encode() + date_line() + b"\r\n" + (b"" if is_head else text)
