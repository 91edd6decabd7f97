"""One client's connection: cheroot's `ConnectionClass`, on a parser and sockets of our own.

The selector thread reads what has come; only when a request is ready does a thread of the pool take the
connection, answer, and give it back. A silent or slow client waits in epoll and costs no thread.
"""

import contextlib
import logging
import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from baludav import metrics
from baludav.limits.reached import reached
from baludav.log import access
from baludav.log.access import Answered
from baludav.log.text import masked
from baludav.origin import coming_from, request_id
from baludav.server.bodies import BodyReader
from baludav.server.parking import waits
from baludav.server.parser import Refused, Request, RequestParser
from baludav.server.responses import BrokenAnswer, Response, simple
from baludav.server.wire import Wire, advance

if TYPE_CHECKING:
    from baludav.server.worker import Worker

log = logging.getLogger(__name__)

SMALL_BODY = 64 * 1024  # bytes; such a body is received before a thread is given to its request
_HANDSHAKE_SECONDS = 15.0
_LINGER_SECONDS = 2.0
_NEW_SECONDS = 5.0  # after connecting, in which a stop waits for what the client wants
_RECEIVE = 64 * 1024
_GONE = (ConnectionError, ssl.SSLError, TimeoutError)


class _Stream:
    """What cheroot's connection manager asks of a connection's `rfile`."""

    closed = False

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def has_data(self) -> bool:
        return self._connection.has_data()


class Connection(Wire):
    """Keeps the state of one connection between requests.

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

    # In the selector thread

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
            self.deadline = self._head_since + _HANDSHAKE_SECONDS
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

    # In a thread of the pool

    @property
    def owner(self) -> str:
        principal = self._environ.get("baludav.principal")
        return self.remote_addr if principal is None else f"user {principal.name}"

    def serve(self, parked: Response | None = None) -> None:
        """Answer every request that is ready, then give the connection back.

        Args:
            parked: the answer to the first one, if it has waited for something.
        """
        try:
            if self._needs_handshake and not self._shake_hands():
                if not self.is_closed:
                    self._set_deadline()
                    self.server.put_conn(self)
                return
            self._send_rest()
            while not self.is_closed and not self._is_lingering and self._is_ready():
                self._head_since = None
                if not self._answer(self.parser.requests[0], parked):
                    return
                parked = None
            if self.is_broken and not self.is_closed:
                self.refuse(Refused(400))
        except _GONE:
            self.close()
        except Exception:
            log.exception("a connection failed")
            self.close()
        if not self.is_closed:
            if not self._is_lingering:
                self._set_deadline()
            self.server.put_conn(self)

    def communicate(self) -> bool:
        """cheroot's name for it, unused: connections come to a thread through `Worker.process_conn`."""
        self.serve()
        return False

    def _answer(self, request: Request, parked: Response | None) -> bool:
        """Answer a request; False if the answer waits, for its client or something else, and the connection with it."""
        keep_alive = request.keep_alive and self.server.ready
        response = parked or Response(self, request, BodyReader(self, request), keep_alive=keep_alive)
        try:
            if parked is None:
                if not self._is_to_be_sent(request, response):
                    self.parser.requests.popleft()
                    self._send_rest()
                    return True
                if waits(response.body):
                    if response.has_body:
                        self.server.parking.park(response)
                        return False
                    response.body.stop()
            with coming_from(response.origin):
                is_over = True
                try:
                    is_over = response.send()
                finally:
                    if is_over:
                        response.close()
            if not is_over:
                self._unfinished = response
                self._set_deadline()
                self.server.put_conn(self)
                return False
        except _GONE:
            response.tell()
            raise
        except Exception as error:
            with coming_from(response.origin):
                self._answer_failed(request, response, error)
        response.tell()
        self._after(request, response)
        return True

    def _is_to_be_sent(self, request: Request, response: Response) -> bool:
        """Have the application make the answer; False if the hot lane has answered after all."""

        def make() -> None:
            response.environ = self._environ = self.server.environ(self, request, response.received)
            response.body = self.server.wsgi_app(response.environ, response.start)

        if request.draft is not None and self.server.hot is not None:
            return self.server.hot.make(self, request, response, make)
        make()
        return True

    def _send_rest(self) -> None:
        """Send what the client did not take at once."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            self.send(*unsent)

    def _answer_failed(self, request: Request, response: Response, error: Exception) -> None:
        method, target = request.method.decode(), masked(request.target.decode("latin-1"))
        if isinstance(error, BrokenAnswer):
            log.error("%s %s: %s", method, target, error)
        else:
            log.error("%s %s failed", method, target, exc_info=error)
        if not response.is_begun:
            is_head = request.method == b"HEAD"
            self.send(simple(500, is_head=is_head, request_id=response.origin.request_id))
            response.status, response.is_begun = 500, True
        response.keep_alive = False

    def _after(self, request: Request, response: Response) -> None:
        """What the application left of the body must not be taken for the next request."""
        body = response.received
        if response.keep_alive and not self.is_broken and body.is_dropped():
            self.parser.requests.popleft()
        elif response.keep_alive and not self.is_broken and body.is_drainable:
            request.is_answered = True  # the rest is dropped as it comes, in the selector thread
            request.chunks.clear()
        elif body.is_exhausted and not self.is_broken:
            self.close()
        else:
            self._linger()

    def _shake_hands(self) -> bool:
        """Go on with the handshake; False if more has to come first, or if it failed, and the connection is closed."""
        context = self.server.options.ssl
        assert context is not None
        try:
            if not isinstance(self.socket, ssl.SSLSocket):
                self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
            while True:
                try:
                    self.socket.do_handshake()
                    break
                except ssl.SSLWantWriteError:
                    if not self.poll(select.POLLOUT, _HANDSHAKE_SECONDS):
                        raise TimeoutError from None
        except ssl.SSLWantReadError:
            return False
        except (OSError, ssl.SSLError):
            self.close()  # plain HTTP on this port, a scanner, a client that does not trust the certificate
            return False
        self._needs_handshake = False
        self._head_since = None
        self._since = time.monotonic()
        self.receive()
        return True

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
