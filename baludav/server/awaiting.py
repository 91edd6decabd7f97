"""The half of a connection that waits for its client, in the selector thread.

It takes what comes, answers what the hot lane can, sends what the client takes, and ends what takes too long. A silent
or slow client waits in epoll and costs no thread.
"""

import contextlib
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from baludav import metrics
from baludav.limits.reached import reached
from baludav.log import access
from baludav.log.access import Answered
from baludav.origin import request_id
from baludav.server.parser import Refused, RequestParser
from baludav.server.responses import Response, simple
from baludav.server.wire import Wire, advance

if TYPE_CHECKING:
    from baludav.server.worker import Worker

SMALL_BODY = 64 * 1024  # bytes; such a body is received before a thread is given to its request
HANDSHAKE_SECONDS = 15.0
_LINGER_SECONDS = 2.0
_NEW_SECONDS = 5.0  # after connecting, in which a stop waits for what the client wants
_RECEIVE = 64 * 1024


class _Stream:
    """What cheroot's connection manager asks of a connection's `rfile`."""

    closed = False

    def __init__(self, connection: "Awaiting") -> None:
        self._connection = connection

    def has_data(self) -> bool:
        return self._connection.has_data()


class Awaiting(Wire):
    """Keeps the state of one connection between requests, and all that needs no thread of the pool.

    Attributes:
        parser: holds the requests that have come.
        deadline: monotonic time at which the selector gives up waiting for the client.
        awaited: what the selector waits for at its socket.
        is_broken: nothing more can be understood or answered here.
    """

    def __init__(self, server: "Worker", sock: socket.socket, makefile: Any = None) -> None:
        super().__init__(server, sock)
        sock.setblocking(False)
        self.rfile = _Stream(self)
        self.parser = RequestParser(server.options.max_target, server.options.max_head)
        self.remote_port = 0
        self.ssl_env: dict[str, str] = {}
        self.last_used = time.time()
        self.deadline = time.monotonic() + server.options.keep_alive_seconds
        self.awaited = 0
        self.is_broken = False
        self.is_closed = False
        self.is_handed_over = False
        self._needs_handshake = server.options.ssl is not None
        self._is_lingering = False
        self._head_since: float | None = None
        self._since = time.monotonic()
        self._unsent: list[memoryview] = []
        self._environ: dict[str, Any] = {}  # of the request that is being answered
        self._unfinished: Response | None = None  # the rest of a file waits until the client takes it
        # An Authorization field, its key for the sign-in, and the client's address, which belongs to that.
        self.credentials: tuple[bytes, bytes, str] = (b"", b"", "")

    def receive(self) -> bool:
        """Take what has come; True when a thread of the pool is needed."""
        if self._is_lingering:
            self._discard()
            return False
        if self._needs_handshake:
            return self._is_greeted()
        is_in_body = bool(self.patience.since)
        if is_in_body:
            self.patience.stop()
        while not self._is_ready():
            try:
                data = self.socket.recv(_RECEIVE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._set_deadline()
                return False
            except (OSError, ssl.SSLError):
                self.close()
                return False
            if not data:
                self.close()
                return False
            metrics.count("received_bytes", len(data))
            if is_in_body:
                self.patience.moved(len(data))
            try:
                self.parser.feed(data)
            except Refused as refused:
                if self.parser.requests and self.parser.requests[0].is_complete:
                    self.is_broken = True  # answer what was understood first
                    return True
                self.refuse(refused)
                return False
            self._drop_answered()
        return True

    def _is_greeted(self) -> bool:
        """Whether more of the client's handshake has come: until then it costs no thread."""
        try:
            if not socket.socket.recv(self.socket, 1, socket.MSG_PEEK):
                self.close()
                return False
        except BlockingIOError:
            self._set_deadline()
            return False
        except OSError:
            self.close()
            return False
        return True

    def _drop_answered(self) -> None:
        """What comes of a body that nobody wanted; once it is complete, the next request counts."""
        requests = self.parser.requests
        if requests and requests[0].is_answered:
            requests[0].chunks.clear()
            if requests[0].is_complete:
                requests.popleft()

    def serve_at_once(self) -> bool:
        """Answer what the hot lane can; False if there is more, for a thread of the pool."""
        hot = self.server.hot
        if hot is None or self._needs_handshake or not self.server.ready:
            return False
        while self._is_ready() and not self._unsent:
            if not hot.answer(self, self.parser.requests[0]):
                return False
            self._head_since = None
            self.parser.requests.popleft()
            if self.is_closed:
                return True
        self._set_deadline()
        return not self.is_broken

    @property
    def is_sending(self) -> bool:
        """Part of an answer waits until the client takes it."""
        return bool(self._unsent) or self._unfinished is not None

    def take_unfinished(self) -> Response | None:
        """The answer that is to be gone on with, in a thread of the pool, now that the client takes more."""
        if self._unfinished is None:
            return None
        response, self._unfinished = self._unfinished, None
        self.patience.stop()
        return response

    def reply(self, *pieces: bytes | bytearray) -> None:
        """Send an answer without waiting; what the client does not take at once is sent when it does."""
        self._unsent = [memoryview(piece) for piece in pieces]
        if isinstance(self.socket, ssl.SSLSocket):
            self._unsent = [memoryview(b"".join(pieces))]  # a record each would be seen on the wire
        self.go_on_sending()

    def go_on_sending(self) -> None:
        """Send what the client takes now."""
        if self.patience.since:
            self.patience.stop()
        data = self._unsent
        try:
            while data:
                if isinstance(self.socket, ssl.SSLSocket):
                    sent = self.socket.send(data[0])
                else:
                    sent = self.socket.sendmsg(data)
                self.count_sent(sent)
                advance(data, sent)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._set_deadline()
        except (OSError, ssl.SSLError):
            self.close()

    def expire(self) -> None:
        """The client took too long, unless it has taken enough of its answer meanwhile."""
        if self.patience.since:
            self.patience.stop()
            if self.patience.left:
                self._set_deadline()
            elif self.is_sending:
                self.give_up_reader(self.patience.told)
                self.close()
            elif self.parser.requests[0].is_answered:
                self.close()
            else:
                self.refuse(Refused(408, self.patience.told, "transfer_rate"))
        elif self.parser.is_in_head:
            told = f"The head of a request must come in {self.server.options.head_seconds:g} s"
            self.refuse(Refused(408, told, "head_seconds"))
        else:
            self.close()

    def leave(self) -> None:
        """The worker stops: close, unless the client has begun to ask, is still being told, or has just connected."""
        if self._is_lingering or self.is_sending or self.parser.is_in_head:
            return
        if self.parser.requests:
            if self.parser.requests[0].is_answered:
                self._linger()
            return
        is_shaking_hands = self._needs_handshake and isinstance(self.socket, ssl.SSLSocket)
        is_new = not self.sent and time.monotonic() < self._since + _NEW_SECONDS
        if not (is_shaking_hands or is_new):
            self.close()

    def refuse(self, refused: Refused) -> None:
        """Answer without a request having been understood, and end the connection."""
        metrics.request("", refused.status, 0.0)
        if access.is_on():
            name = request_id(None, is_trusted=False)
            access.add(Answered(name, self.remote_addr, "", "", "-", "-", refused.status, 0, 0, time.monotonic()))
        if refused.limit is not None:
            reached(refused.limit, self.remote_addr, refused.told)
        with contextlib.suppress(OSError, ssl.SSLError):
            self.socket.send(simple(refused.status, refused.told))
        self._linger()

    def has_data(self) -> bool:
        """Whether there is something to do without waiting for the socket."""
        if self.is_sending:
            return False
        if self._is_ready():
            return True
        return isinstance(self.socket, ssl.SSLSocket) and not self._needs_handshake and self.socket.pending() > 0

    def _is_ready(self) -> bool:
        if not self.parser.requests:
            return False
        request = self.parser.requests[0]
        if request.is_answered:
            return False
        if request.is_complete or request.expects_continue:
            return True
        return (request.received if request.length is None else request.length) > SMALL_BODY

    def _set_deadline(self) -> None:
        now, options = time.monotonic(), self.server.options
        if self._needs_handshake:
            self._head_since = self._head_since or now
            self.deadline = self._head_since + HANDSHAKE_SECONDS
            return
        if self.parser.requests or self._unsent:
            self.patience.start(self.socket.fileno())
            self.deadline = now + self.patience.left
            return
        self.patience.begin()
        if self.parser.is_in_head:
            # The whole head must come in this time: a byte now and then does not extend it.
            self._head_since = self._head_since or now
            self.deadline = self._head_since + options.head_seconds
        else:
            self.deadline = now + options.keep_alive_seconds

    def _linger(self) -> None:
        """Let the client read the answer before the connection is reset under what it still sends."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._is_lingering = True
        self.parser = RequestParser()
        self.deadline = time.monotonic() + _LINGER_SECONDS

    def _discard(self) -> None:
        try:
            while self.socket.recv(_RECEIVE):
                if time.monotonic() > self.deadline:
                    break
            self.close()
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except (OSError, ssl.SSLError):
            self.close()

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.rfile.closed = True
            self.server.forget(self)
            with contextlib.suppress(OSError):
                self.socket.close()
            if self._unfinished is not None:
                response, self._unfinished = self._unfinished, None
                response.tell()
                response.close()
