"""How soon does a listener hear of a change, and what do a thousand listeners cost who hear nothing?"""

import contextlib
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from perf.harness import Client, Server, Timings, asked_for, authorization, console, expect, save, serving, table

USER = "admin"
_SECONDS = 30
_TRIES = 100


class Listener:
    """One client of the event stream; its thread notes when each event comes."""

    def __init__(self, server: Server) -> None:
        self.socket = connect(server)
        self._times: queue.SimpleQueue[float] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.next()  # the present token

    def next(self) -> float:
        """When the next event came."""
        return self._times.get(timeout=_SECONDS)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while piece := self.socket.recv(1 << 16):
                now = time.perf_counter()
                for _ in range(piece.count(b"event: change\n")):
                    self._times.put(now)


def connect(server: Server) -> socket.socket:
    """A connection on which events will come."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=_SECONDS)
    head = f"GET /api/sync/events HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization(USER)}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def worker_of(server: Server, connection: socket.socket) -> int:
    """Process id of the worker that has the other end of a connection."""
    port = connection.getsockname()[1]
    return next(pid for pid in server.workers() if port in server.connections(pid))


def latency(server: Server, rounds: int) -> list[dict[str, Any]]:
    """From the start of a PUT to the event, for a listener of the same and of another worker."""
    client = Client(server, USER)
    expect(client.request("PUT", "first", b"bytes"), 201)
    own = worker_of(server, client.socket)
    rows = []
    wanted: dict[str, Callable[[int], bool]] = {
        "same worker": lambda pid: pid == own, "another worker": lambda pid: pid != own,
    }  # fmt: skip
    for label, is_wanted in wanted.items():
        listener = _listener(server, is_wanted)
        timings, answers = Timings(), Timings()
        for number in range(rounds):
            begun = time.perf_counter()
            expect(client.request("PUT", f"{label}-{number}".replace(" ", "-"), b"%d" % number), 201)
            answers.seconds.append(time.perf_counter() - begun)
            timings.seconds.append(listener.next() - begun)
        listener.close()
        heard, answered = timings.summary(), answers.summary()
        rows.append(
            {
                "listener on": label, "changes": rounds, "median_ms": heard["median_ms"], "p95_ms": heard["p95_ms"],
                "answer_median_ms": answered["median_ms"],
            }
        )  # fmt: skip
    client.close()
    return rows


def _listener(server: Server, is_wanted: Callable[[int], bool]) -> Listener:
    for _ in range(_TRIES):
        listener = Listener(server)
        if is_wanted(worker_of(server, listener.socket)):
            return listener
        listener.close()
    raise AssertionError(f"{_TRIES} connections went to the same worker")


def idle(server: Server, count: int) -> dict[str, Any]:
    """What many listeners cost who hear nothing, and how long a change takes to reach the last of them."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(connect(server)).recv(1 << 16)
        memory, threads = server.memory(), server.threads()
        connections = [stack.enter_context(connect(server)) for _ in range(count)]
        for connection in connections:
            _read_event(connection)
        row = {
            "listeners": count,
            "more_threads": server.threads() - threads,
            "more_MiB": (server.memory() - memory) / 2**20,
        }
        client = Client(server, USER)
        begun = time.perf_counter()
        expect(client.request("PUT", "told-to-all", b"bytes"), 201)
        for connection in connections:
            _read_event(connection)
        client.close()
        return {**row, "last_told_ms": (time.perf_counter() - begun) * 1000}


def _read_event(connection: socket.socket) -> None:
    received = b""
    while b"event: change\n" not in received:
        piece = connection.recv(1 << 16)
        assert piece, received
        received += piece


def main(arguments: list[str]) -> int:
    asked = asked_for(__doc__, arguments)
    with serving(asked.durability, workers=2) as server:
        results = {
            "latency": latency(server, 5 if asked.quick else 300),
            "idle": [idle(server, 20 if asked.quick else 1000)],
        }
    for title, rows in results.items():
        table(title, rows)
    save("events", asked.results, results, {"durability": asked.durability, "quick": asked.quick})
    slow = [row for row in results["latency"] if row["median_ms"] >= 50]
    if slow and not asked.quick:  # beside tests it says nothing
        console.print("events take 50 ms and longer")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
