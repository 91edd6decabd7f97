"""One client's connection: cheroot's `ConnectionClass`, on a parser and sockets of our own.

The selector thread reads what has come; only when a request is ready does a thread of the pool take the
connection, answer, and give it back.
"""

import logging
import select
import ssl
import time

from baludav.log.text import masked
from baludav.origin import coming_from
from baludav.server.awaiting import HANDSHAKE_SECONDS, Awaiting
from baludav.server.bodies import BodyReader
from baludav.server.parking import waits
from baludav.server.parser import Refused, Request
from baludav.server.responses import BrokenAnswer, Response, simple

log = logging.getLogger(__name__)

_GONE = (ConnectionError, ssl.SSLError, TimeoutError)


class Connection(Awaiting):
    """A connection whose requests are answered in threads of the pool."""

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
                    if not self.poll(select.POLLOUT, HANDSHAKE_SECONDS):
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
