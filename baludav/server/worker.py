"""One worker process: cheroot's server with a listening socket, connections and a pool of our own."""

import contextlib
import logging
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any
from urllib.parse import unquote_to_bytes

import cheroot.wsgi

from baludav import metrics
from baludav.accounts.rates import COUNTED
from baludav.server import memory
from baludav.server.awaiting import Awaiting
from baludav.server.balance import Seat
from baludav.server.bodies import BodyReader
from baludav.server.connection import Connection
from baludav.server.hot import HotLane
from baludav.server.parking import Parking
from baludav.server.parser import Request
from baludav.server.pool import Pool
from baludav.server.responses import Response
from baludav.server.selecting import Selector
from baludav.server.waits import Waits

log = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

BACKLOG = 1024  # connections the kernel completes before a worker accepts them
_RUNNING_THREADS = 1  # under the GIL two would only pass it to and fro
_MOST_THREADS = 256
_UNWAITING_THREADS = 16  # of those: they never wait for a client
_TIDY_SECONDS = 5.0
_OTHER_FILES = 64  # of a worker: index, log, folders, listening


@dataclass(frozen=True)
class ServerOptions:
    """How to serve. Times are seconds.

    Attributes:
        ssl: encrypt with it; None for plain HTTP.
        keep_alive_seconds: how long a connection may be idle.
        head_seconds: in which the whole head of a request must come.
        body_seconds: of waiting for a client that is slower than `transfer_rate`, after which it is given up.
        transfer_rate: bytes a second of a body, or of an answer.
        graceful_seconds: for running requests to finish at a stop.
        max_connections: of one worker, if the system allows so many open files; more are answered 503.
        max_target: bytes of the address that a request is for.
        max_head: bytes of the whole head of a request.
    """

    host: str
    port: int
    workers: int
    ssl: SSLContext | None = None
    keep_alive_seconds: float = 75
    head_seconds: float = 20
    body_seconds: float = 60
    transfer_rate: int = 0
    graceful_seconds: float = 30
    max_connections: int = 4000
    max_target: int = 16 << 10
    max_head: int = 64 << 10


class Worker(cheroot.wsgi.Server):
    """Serves connections of one listening socket, which other workers share.

    Args:
        listener: bound by the master; every worker has it by inheritance.
        seat: where it tells the others how many connections it has.
    """

    ConnectionClass = Connection
    keep_alive_conn_limit = None
    expiration_interval = 0.5

    _connections: Selector

    def __init__(self, options: ServerOptions, listener: socket.socket, app: Application, seat: Seat) -> None:
        # cheroot listens again, on the socket that all workers share.
        super().__init__(
            (options.host, options.port), app, numthreads=1, server_name="baludav", request_queue_size=BACKLOG
        )
        self.options = options
        self.pool = Pool(_RUNNING_THREADS, _MOST_THREADS)
        self.waits = Waits(_MOST_THREADS - _UNWAITING_THREADS)
        self.parking = Parking(self._resume, options.body_seconds)
        self._listener = listener
        self.seat = seat
        self._most = _room_for(options.max_connections)
        self._open: set[Awaiting] = set()
        self._memory = memory.Pace()
        self._tidy_at = time.monotonic() + _TIDY_SECONDS
        self._tidy_app: Callable[[], None] = getattr(app, "tidy", _nothing)
        self.hot = HotLane.of(app)
        self.is_stopping = False
        self.announce: Callable[[], object] = lambda: None  # called when connections are accepted
        address = listener.getsockname()
        self._environ = {
            "ACTUAL_SERVER_PROTOCOL": "HTTP/1.1",
            "SCRIPT_NAME": "",
            "SERVER_NAME": str(address[0]),
            "SERVER_PORT": str(address[1]),
            "SERVER_SOFTWARE": "baludav",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if options.ssl else "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }

    # What cheroot calls

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:
        """Take the master's socket instead of making one."""
        self.socket = self._listener
        return self._listener

    def prepare(self) -> None:
        """Make ready to serve; needs no thread of cheroot's own pool."""
        super().prepare()
        self.requests.stop(0)
        self.socket.setblocking(False)  # several workers race to accept; the losers must not wait
        self._connections._selector.unregister(self.socket.fileno())
        self._connections.close()
        self._connections = Selector(self)

    def process_conn(self, connection: Connection) -> None:
        """Read what has come; answer at once what cannot block, and hand any other complete request to the pool."""
        if connection not in self._open:
            if len(self._open) >= self._most:
                with contextlib.suppress(OSError):
                    connection.socket.send(_BUSY)
                connection.socket.close()
                return
            self._open.add(connection)
            self.seat.tell(len(self._open))
        unfinished = connection.take_unfinished()
        if unfinished is not None:
            self._connections.release(connection)
            connection.is_handed_over = True
            self._resume(unfinished)
            return
        if connection.is_sending:
            connection.go_on_sending()
        if not connection.is_sending and connection.receive() and not connection.serve_at_once():
            self._connections.release(connection)
            connection.is_handed_over = True
            self.pool.submit(connection.serve)
        elif not connection.is_closed:
            self._connections.put(connection)

    def put_conn(self, connection: Connection) -> None:
        """Wait for the client again, also while stopping: it may not have sent all, or be owed the end of an answer."""
        self._connections.put(connection)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        log.log(level, "%s", msg, exc_info=traceback)

    # What connections call

    def forget(self, connection: Awaiting) -> None:
        """A connection is about to be closed."""
        self._connections.release(connection)
        self._open.discard(connection)
        self.seat.tell(len(self._open))

    def tidy(self) -> None:
        """What is to be done now and then, in the selector thread."""
        self.show_load()
        if self._memory.is_due():
            self.pool.submit(self._memory.give_back)
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + _TIDY_SECONDS
            self.pool.submit(self._tidy_app)

    def show_load(self) -> None:
        """Tell the metrics how much there is to do."""
        metrics.show("open_connections", len(self._open))
        metrics.show("busy_threads", self.pool.busy)

    def environ(self, connection: Connection, request: Request, body: BodyReader) -> dict[str, Any]:
        """The WSGI environment of a request (PEP 3333)."""
        target = request.target
        path, _, query = _origin_form(target).partition(b"?")
        environ: dict[str, Any] = {
            **self._environ,
            "REQUEST_METHOD": request.method.decode("ascii"),
            "REQUEST_URI": target.decode("latin-1"),
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query.decode("latin-1"),
            "SERVER_PROTOCOL": f"HTTP/{request.version}",
            "REMOTE_ADDR": connection.remote_addr,
            "REMOTE_PORT": str(connection.remote_port),
            "wsgi.input": body,
        }
        if request.is_counted:
            environ[COUNTED] = True
        for name, value in request.fields.items():
            if name == b"content-type" or name == b"content-length":
                key = "CONTENT_TYPE" if name == b"content-type" else "CONTENT_LENGTH"
            else:
                key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            environ[key] = value.decode("latin-1")
        return environ

    def _resume(self, response: Response) -> None:
        """Complete an answer that was parked."""
        self.pool.submit(lambda: response.connection.serve(response))

    # Stopping

    def finish(self) -> None:
        """Stop gracefully: idle connections are closed, and what clients have begun to ask is answered."""
        end = time.monotonic() + self.options.graceful_seconds
        self.parking.stop()
        self.seat.leave()
        self._connections.drain(end)

    @property
    def has_connections(self) -> bool:
        """Some client is still connected."""
        return bool(self._open)

    def run(self) -> None:
        """Serve until `stop_soon`, then finish."""
        self.prepare()
        self.seat.tell(0)
        self.announce()
        self._connections.run(self.expiration_interval)
        self.finish()

    def stop_soon(self) -> None:
        """Ask the selector loop to end; may be called by a signal handler."""
        self.ready = False
        self.is_stopping = True


class FileWrapper:
    """`wsgi.file_wrapper` (PEP 3333): an open file, from its present position to its end."""

    def __init__(self, file: Any, block_size: int = 1 << 18) -> None:
        self._file = file
        self._block_size = block_size

    def __iter__(self) -> "FileWrapper":
        return self

    def __next__(self) -> bytes:
        data: bytes = self._file.read(self._block_size)
        if not data:
            raise StopIteration
        return data

    def close(self) -> None:
        if hasattr(self._file, "close"):
            self._file.close()


def _nothing() -> None:
    """What an application does that keeps nothing open."""


def _room_for(connections: int) -> int:
    """How many connections this process can have at most; each has a socket, and may have a file open beside it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else min(connections, (soft - _OTHER_FILES) // 2)


_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def _origin_form(target: bytes) -> bytes:
    """The path and query of a target, which may be a whole URI (RFC 9112 §3.2.2)."""
    if target[:1] == b"/" or target == b"*":
        return target
    _, separator, rest = target.partition(b"://")
    if not separator:
        return target
    slash = rest.find(b"/")
    return rest[slash:] if slash >= 0 else b"/"
