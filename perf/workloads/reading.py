"""Reading bytes: GET, HEAD, ranges and the answer that nothing is new."""

import itertools
import random
import selectors
import socket
import statistics
import time
from collections.abc import Callable, Sequence

from perf.trees import KIB, LARGE, content, file_name
from perf.workload import Bench, Row, Workload, WrongAnswerError, expect, expect_bytes
from perf.wrk import Load, Request, load

CONNECTIONS = 16
RANGE = 64 * KIB
SAMPLES = 5


def rate(folder: str, size: int) -> Callable[[Bench], tuple[float, ...]]:
    """GET of a hundred files by turns."""
    return lambda bench: (got(bench, folder, size, CONNECTIONS).rate,)


def crowd(bench: Bench) -> tuple[float, ...]:
    """The same over many connections, with the 99th percentile of the answers' times in milliseconds."""
    done = got(bench, "4k", 4 * KIB, 100)
    return done.rate, done.p99_ms


def got(bench: Bench, folder: str, size: int, connections: int) -> Load:
    """A load of GETs of the files of this size."""
    names = [f"{folder}/{file_name(number)}" for number in range(bench.sizes.files)]
    requests = [Request("GET", bench.peer.path(name)) for name in names]
    return checked_load(bench, requests, 200, [content(name, size) for name in names], connections)


def checked_load(
    bench: Bench, requests: Sequence[Request], status: int, bodies: Sequence[bytes], connections: int = CONNECTIONS
) -> Load:
    """A load whose answers have one status and known bodies: some are compared before and after it, and all
    together by the bytes that came."""
    size = 0
    for is_after in (False, True):
        with bench.peer.connect() as connection:
            for request, body in list(zip(requests, bodies, strict=True))[:SAMPLES]:
                answer = expect(connection.request(request.method, request.path, None, request.headers), status)
                expect_bytes(answer.body, body, f"{request.method} {request.path}")
                size = answer.wire_bytes
        if not is_after:
            done = load(bench, requests, connections)
    expect_size(done.bytes, done.requests, size, connections)
    return done


def expect_size(found: int, answers: int, size: int, connections: int) -> None:
    """Nothing, if so many answers of one size make about so many bytes; the last answers may be cut off."""
    if not 0.9 * answers * size <= found <= 1.25 * (answers + connections) * size:
        raise WrongAnswerError(f"{found // max(1, answers):,} bytes in an answer of {size:,}")


def not_modified(bench: Bench) -> tuple[float, ...]:
    """GET of files that the client has already, by their entity-tag, or by time where the server has none."""
    requests = []
    with bench.peer.connect() as connection:
        for number in range(bench.sizes.files):
            path = bench.peer.path(f"4k/{file_name(number)}")
            headers = expect(connection.request("HEAD", path), 200).headers
            if "ETag" in headers:
                requests.append(Request("GET", path, {"If-None-Match": headers["ETag"]}))
            else:
                requests.append(Request("GET", path, {"If-Modified-Since": headers.get("Last-Modified", "")}))
    return (checked_load(bench, requests, 304, [b""] * len(requests)).rate,)


def head(bench: Bench) -> tuple[float, ...]:
    """HEAD of the same files. wrk waits for a body that never comes (RFC 9110 §9.3.2), so this load is our own."""
    paths = [bench.peer.path(f"4k/{file_name(number)}") for number in range(bench.sizes.files)]
    with bench.peer.connect() as connection:
        answer = expect(connection.request("HEAD", paths[0]), 200)
        if answer.headers.get("Content-Length") != str(4 * KIB):
            raise WrongAnswerError(f"Content-Length {answer.headers.get('Content-Length')}")
    requests = [
        f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {bench.peer.account.authorization}\r\n\r\n".encode()
        for path in paths
    ]
    with _Heads(bench.peer.port, requests) as heads:
        return (heads.rate(CONNECTIONS, bench.seconds),)


class _Heads:
    """Connections that ask for heads, each for the next as soon as it has one."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self._address = ("127.0.0.1", port)
        self._requests = itertools.cycle(requests)
        self._selector = selectors.DefaultSelector()
        self._partial: dict[socket.socket, bytes] = {}
        self._count = 0

    def __enter__(self) -> "_Heads":
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._partial:
            client.close()
        self._selector.close()

    def rate(self, connections: int, seconds: float) -> float:
        """Heads of 200 a second."""
        for _ in range(connections):
            self._open()
        begun = time.perf_counter()
        while (now := time.perf_counter()) < begun + seconds:
            for key, _ in self._selector.select(0.1):
                self._read(key.fileobj)  # type: ignore[arg-type]
        return self._count / (now - begun)

    def _open(self) -> None:
        client = socket.create_connection(self._address)
        self._selector.register(client, selectors.EVENT_READ)
        self._partial[client] = b""
        client.sendall(next(self._requests))

    def _read(self, client: socket.socket) -> None:
        found = client.recv(65536)
        head = self._partial[client] + found
        is_whole = head.endswith(b"\r\n\r\n")
        if is_whole:
            if not head.startswith(b"HTTP/1.1 200 "):
                raise WrongAnswerError(f"HEAD: {head[:40].decode(errors='replace')}")
            self._count += 1
        if not found or (is_whole and b"\r\nConnection: close\r\n" in head):
            self._selector.unregister(client)
            del self._partial[client]
            client.close()
            self._open()
        elif is_whole:
            self._partial[client] = b""
            client.sendall(next(self._requests))
        else:
            self._partial[client] = head


def large(bench: Bench) -> tuple[float, ...]:
    """GET of one large file over one connection, in MB/s."""
    wanted = content(LARGE, bench.sizes.large)
    room = memoryview(bytearray(len(wanted)))
    path = bench.peer.path(LARGE)
    seconds: list[float] = []
    with bench.peer.connect() as connection:
        while not seconds or sum(seconds) < bench.seconds:
            begun = time.perf_counter()
            count = connection.read_into(path, room)
            seconds.append(time.perf_counter() - begun)
            if count != len(wanted):
                raise WrongAnswerError(f"{count:,} bytes of {len(wanted):,}")
    expect_bytes(bytes(room), wanted, LARGE)
    return (len(wanted) / statistics.median(seconds) / 1e6,)


def ranges(bench: Bench) -> tuple[float, ...]:
    """Ranges of 64 KiB all over the large file."""
    whole = content(LARGE, bench.sizes.large)
    path = bench.peer.path(LARGE)
    starts = random.Random(1).sample(range(len(whole) - RANGE), 256)
    requests = [Request("GET", path, {"Range": f"bytes={start}-{start + RANGE - 1}"}) for start in starts]
    return (checked_load(bench, requests, 206, [whole[start : start + RANGE] for start in starts]).rate,)


READING = (
    Workload("get-4k", (Row("get-4k", "GET 4 KiB"),), rate("4k", 4 * KIB)),
    Workload("get-100k", (Row("get-100k", "GET 100 KiB"),), rate("100k", 100 * KIB)),
    Workload(
        "get-crowd",
        (
            Row("get-crowd", "GET 4 KiB, 100 connections"),
            Row("get-crowd-p99", "GET 4 KiB, 100 connections: P99", "ms", more_is_better=False),
        ),
        crowd,
    ),
    Workload("not-modified", (Row("not-modified", "GET, 304 not modified"),), not_modified),
    Workload("head", (Row("head", "HEAD"),), head),
    Workload("get-large", (Row("get-large", "GET {large}, 1 connection", "MB/s"),), large),
    Workload("ranges", (Row("ranges", "ranges of 64 KiB"),), ranges),
)
