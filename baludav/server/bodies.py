"""The body of a request, as the application reads it (`wsgi.input`)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baludav.errors import RequestTimeout
from baludav.server.parser import Refused, Request

if TYPE_CHECKING:
    from baludav.server.connection import Connection

_PIECE = 256 * 1024
_DRAINED = 1024 * 1024  # bytes of a refused body that are read so that the connection can be kept


class ShortBody(EOFError):
    """The client ended the connection, or stopped sending, or broke the framing, before its body was complete."""


class SlowBody(RequestTimeout, ShortBody):
    """The client sends its body too slowly."""


class BodyReader:
    """Reads one body, never past its end.

    A client that waits for `100 Continue` gets it at the first read, so an application that refuses without
    reading spares it the upload (RFC 9110 §10.1.1).

    Attributes:
        is_continued: the client was told to send its body, or did not wait for it.
        has_read_past: some of it was read straight from the socket, so that the parser does not know where it ends.
    """

    def __init__(self, connection: "Connection", request: Request) -> None:
        self._connection = connection
        self._request = request
        self.has_read_past = False
        self._is_given_up = False
        self.is_continued = not request.expects_continue

    @property
    def is_exhausted(self) -> bool:
        """Nothing is left to read."""
        return self._request.is_complete and not self._request.chunks

    @property
    def is_drainable(self) -> bool:
        """What is left is here or little, so that dropping it costs less than a new connection."""
        request = self._request
        if request.is_complete:
            return True
        if self._is_given_up or not self.is_continued or self.has_read_past or request.length is None:
            return False
        return request.length - request.received <= _DRAINED

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill (part of) a buffer; 0 at the end of the body.

        Raises:
            ShortBody: the body ends too early.
        """
        view = memoryview(buffer)
        request = self._request
        while not request.chunks:
            if request.is_complete or not view:
                return 0
            self._continue()
            if request.length is not None:
                return self._read_socket(view[: request.length - request.received])
            self._feed()
        piece = request.chunks.popleft()
        if len(piece) > len(view):
            request.chunks.appendleft(piece[len(view) :])
            piece = piece[: len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end; everything without a size."""
        request = self._request
        if request.is_complete and (size is None or size < 0 or size >= sum(map(len, request.chunks))):
            body = b"".join(request.chunks)
            request.chunks.clear()
            return body
        pieces = []
        left = -1 if size is None or size < 0 else size
        while left:
            buffer = bytearray(_PIECE if left < 0 else min(left, _PIECE))
            count = self.readinto(buffer)
            if not count:
                break
            pieces.append(bytes(memoryview(buffer)[:count]))
            if left > 0:
                left -= count
        return b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        """Up to and including the next line feed."""
        line = bytearray()
        while size is None or size < 0 or len(line) < size:
            byte = self.read(1)
            line += byte
            if not byte or byte == b"\n":
                break
        return bytes(line)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def is_dropped(self) -> bool:
        """Drop what is here; True if that was all, so that what follows is the next request."""
        self._request.chunks.clear()
        return self._request.is_complete

    def _continue(self) -> None:
        if not self.is_continued:
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.is_continued = True

    def _read_socket(self, view: memoryview) -> int:
        """Straight into the application's buffer: the parser need not see the bytes of a known length."""
        count = self._receive(view)
        request = self._request
        self.has_read_past = True
        request.received += count
        if request.received == request.length:
            request.is_complete = True
            self._connection.parser.skip_body()
        return count

    def _receive(self, view: memoryview) -> int:
        try:
            count = self._connection.receive_into(view)
        except TimeoutError as error:
            self._is_given_up = True
            raise SlowBody(str(error)).at("transfer_rate") from error
        if not count:
            raise ShortBody("the body ends too early")
        return count

    def _feed(self) -> None:
        buffer = bytearray(64 * 1024)
        count = self._receive(memoryview(buffer))
        try:
            self._connection.parser.feed(bytes(memoryview(buffer)[:count]))
        except Refused as refused:
            self._connection.is_broken = True
            raise ShortBody("the chunks are malformed") from refused
