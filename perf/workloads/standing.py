"""How a server stands: its memory, and what slow clients do to the others."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator

from perf.peer import Peer
from perf.trees import KIB, LARGE, MIB, file_name
from perf.workload import Bench, Row, Workload
from perf.workloads.listing import one_resource
from perf.workloads.reading import CONNECTIONS, got
from perf.workloads.writing import NAMES, written
from perf.wrk import Request, load

MEMORY_GROWTH = "memory-growth"
TICK = 0.1  # seconds between two bytes on each connection
_WARM_UP = 0.2  # of the span of a long load, in which caches fill
_ROOM = 4 * KIB  # of a slow reader's receive buffer


def memory(bench: Bench) -> tuple[float, ...]:
    """Memory of all processes after everything before."""
    resident, share = bench.peer.memory()
    return resident / MIB, share / MIB


def memory_growth(bench: Bench) -> tuple[float, ...]:
    """Memory of all processes at the end of a long load, relative to that after its first fifth."""
    begun = time.monotonic()
    before = 0
    while (taken := time.monotonic() - begun) < bench.span or not before:
        if not before and taken >= _WARM_UP * bench.span:
            _, before = bench.peer.memory()
        got(bench, "4k", 4 * KIB, CONNECTIONS)
        one_resource(bench)
        written(bench, [f"put-4k/{file_name(number)}" for number in range(NAMES)], 4 * KIB)
    _, after = bench.peer.memory()
    return (after / before,)


def slow_clients(bench: Bench) -> tuple[float, ...]:
    """GET while many slow clients are connected, as a share of GET without them."""
    alone = got(bench, "4k", 4 * KIB, CONNECTIONS).rate
    requests = [Request("GET", bench.peer.path(f"4k/{file_name(number)}")) for number in range(bench.sizes.files)]
    with trickling(bench.peer, bench.sizes.trickling):
        among = load(bench, requests, CONNECTIONS, may_starve=True).rate
    return (among / alone,)


@contextlib.contextmanager
def trickling(peer: Peer, count: int) -> Iterator[None]:
    """So many slow clients, in turns: heads byte by byte, bodies byte by byte, and readers of a few bytes at a time.

    A client that the server has had enough of comes again.
    """
    stopped = threading.Event()
    clients = [_Slow(peer, kind) for kind in itertools.islice(itertools.cycle(("head", "body", "reader")), count)]
    thread = threading.Thread(target=_trickle, args=(clients, stopped), name="slow clients")
    thread.start()
    try:
        time.sleep(2 * TICK)  # all are under way
        yield
    finally:
        stopped.set()
        thread.join()
        for client in clients:
            client.close()


def _trickle(clients: list["_Slow"], stopped: threading.Event) -> None:
    while not stopped.wait(TICK):
        for client in clients:
            client.step()


class _Slow:
    """One slow client."""

    def __init__(self, peer: Peer, kind: str) -> None:
        self._kind = kind
        self._address = ("127.0.0.1", peer.port)
        signed = f"Host: 127.0.0.1\r\nAuthorization: {peer.account.authorization}\r\n"
        self._opening = {
            "head": f"GET {peer.path('4k/file-00000')} HTTP/1.1\r\n{signed}X-Slow: ",
            "body": f"PUT {peer.path('mixed/slow')} HTTP/1.1\r\n{signed}Content-Length: {MIB}\r\n\r\n",
            "reader": f"GET {peer.path(LARGE)} HTTP/1.1\r\n{signed}\r\n",
        }[kind].encode()
        self._socket: socket.socket | None = None
        self.step()

    def step(self) -> None:
        """One byte more, or a few bytes less to read."""
        try:
            if self._socket is None:
                self._open()
            elif self._kind == "reader":
                if not self._socket.recv(KIB):
                    self.close()
            else:
                self._socket.send(b"x")
        except BlockingIOError:
            pass  # nothing to read yet
        except OSError:
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> None:
        """Connect without waiting: a server whose queue is full must not hold up the other slow clients."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        self._socket.settimeout(TICK / 10)
        self._socket.connect(self._address)
        self._socket.sendall(self._opening)
        self._socket.setblocking(False)


STANDING = (
    Workload(
        "memory",
        (
            Row("memory-rss", "memory (RSS)", "MiB", more_is_better=False, is_pictured=False),
            Row("memory-pss", "memory (PSS)", "MiB", more_is_better=False),
        ),
        memory,
        writes=True,
        once=True,
    ),
    Workload(
        MEMORY_GROWTH,
        (
            Row(
                MEMORY_GROWTH,
                "memory (PSS) after {span} s of load",
                "x that after a fifth of it",
                more_is_better=False,
                is_pictured=False,
            ),
        ),
        memory_growth,
        writes=True,
        once=True,
    ),
    Workload(
        "slow-clients",
        (Row("slow-clients", "GET 4 KiB beside {trickling} slow clients", "of without"),),
        slow_clients,
        once=True,
    ),
)
