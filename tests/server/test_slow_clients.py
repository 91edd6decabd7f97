"""Clients that are slow or silent cost others nothing."""

import contextlib
import os
import select
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from tests.server.conftest import Running, receive_all
from tests.serving import wait_for

MANY = 100


def test_slow_clients_hold_nobody_up(start: Callable[..., Running]) -> None:
    """With 100 clients each silent, slow in the head, slow in the body, and not reading, others are answered."""
    server = start()
    with contextlib.ExitStack() as stack:
        slow: list[socket.socket] = []
        for opening in (
            b"",
            b"GET / HT",
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc",
            b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            for _ in range(MANY):
                connection = stack.enter_context(server.connect())
                connection.sendall(opening)
                slow.append(connection)
        for _ in range(50):
            assert server.ask("GET /normal HTTP/1.1")[0] == 200


@pytest.mark.parametrize(
    "opening",
    [
        b"PUT /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc",
        b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_more_slow_clients_than_threads(start: Callable[..., Running], opening: bytes) -> None:
    """A body that is refused unread, or comes in small chunks, costs no thread, so there is one for others."""
    server = start()
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(server.connect()).sendall(opening)
        for _ in range(10):
            assert server.ask("GET /normal HTTP/1.1")[0] == 200


def test_a_refused_body_is_dropped_as_it_comes(plain: Running) -> None:
    """The answer comes before the body does; then the next request on the connection is answered."""
    head = b"PUT /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n"
    with plain.connect() as connection:
        connection.sendall(head + b"a" * 10)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 403 ")
        connection.sendall(b"a" * 100_000)
        connection.sendall(b"a" * 199_990 + b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = receive_all(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"path": "/next"' in answer


def test_a_burst_of_connections_waits_for_nothing(start: Callable[..., Running]) -> None:
    """The kernel completes hundreds of connections that no worker has accepted yet: none is dropped or retried."""
    server = start()
    (worker,) = server.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(server.connect(timeout=0.9)) for _ in range(500)]
            os.kill(worker, signal.SIGCONT)
            for connection in connections:
                connection.settimeout(60)
                connection.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert all(receive_all(connection).startswith(b"HTTP/1.1 200 ") for connection in connections)
    finally:
        os.kill(worker, signal.SIGCONT)


def test_more_connections_than_files(start: Callable[..., Running]) -> None:
    """Where the system allows few open files, clients beyond that are told to come again; the worker lives on."""
    server = start(files=200)
    workers = server.workers()
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(server.connect()) for _ in range(300)]
        for connection in opened:
            connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        heads = [connection.recv(12) for connection in opened]
        assert set(heads) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
    wait_for(lambda: _connections(server) == 0, 10, "they are gone")
    assert server.ask("GET / HTTP/1.1")[0] == 200
    assert server.workers() == workers


def test_patience_ends(start: Callable[..., Running]) -> None:
    """A head that does not come is answered 408, an idle connection is closed, a stalled upload is given up."""
    server = start(head_seconds=0.5, keep_alive_seconds=0.5, body_seconds=0.5)
    assert server.say(b"GET / HTTP/1.1\r\nHo").startswith(b"HTTP/1.1 408 ")
    assert server.say(b"") == b""
    assert server.say(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").startswith(b"HTTP/1.1 408 ")
    assert server.say(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc").startswith(b"HTTP/1.1 400 ")


def test_a_reader_that_stops_is_given_up(start: Callable[..., Running]) -> None:
    """A download nobody takes ends; the connection is closed under it."""
    server = start(body_seconds=0.5)
    with server.connect() as connection:
        connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        assert server.ask("GET /other HTTP/1.1")[0] == 200
        wait_for(lambda: _connections(server) == 0, 10, "its end")
        assert len(receive_all(connection)) < server.file.stat().st_size


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_slow_downloads_cost_no_thread(start: Callable[..., Running], tmp_path: Path, *, is_encrypted: bool) -> None:
    """However many there are; each goes on when its client takes more, and ends with the last byte or its client."""
    server = start(**({"tls": str(tmp_path)} if is_encrypted else {}))
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem")) if is_encrypted else None
    (worker,) = server.workers()
    file = server.file.read_bytes()
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(_connected(server, context))
        one.sendall(DOWNLOAD)
        slow = []
        for _ in range(40 if is_encrypted else 300):  # for a handshake takes its time
            slow.append(stack.enter_context(_connected(server, context, takes=4096)))
            slow[-1].sendall(DOWNLOAD)
        assert all(connection.recv(1) for connection in slow)
        wait_for(lambda: _threads(worker) < 40, 60, "few of them are in a thread")
        for _ in range(10):
            with _connected(server, context) as normal:
                normal.sendall(b"GET /normal HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert receive_all(normal).startswith(b"HTTP/1.1 200 ")
        one.sendall(b"GET /normal HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")  # after the whole file
        answer = receive_all(one).partition(b"\r\n\r\n")[2]
        assert answer[: len(file)] == file
        assert answer[len(file) :].startswith(b"HTTP/1.1 200 ")
    wait_for(lambda: _connections(server) == 0, 60, "they are gone")
    wait_for(lambda: _open_files(worker, server.file) == 0, 60, "their files are closed")


def test_a_file_is_closed_when_its_reader_is_given_up(start: Callable[..., Running]) -> None:
    """Not only the connection."""
    server = start(body_seconds=0.5)
    (worker,) = server.workers()
    with server.connect() as connection:
        connection.sendall(DOWNLOAD)
        wait_for(lambda: _open_files(worker, server.file) == 1, 30, "the download")
        wait_for(lambda: _open_files(worker, server.file) == 0, 30, "its end")
        assert _connections(server) == 0


DOWNLOAD = b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n"


def _connected(server: Running, context: ssl.SSLContext | None, takes: int = 0) -> socket.socket:
    """A client's connection, whose machine takes no more bytes than so many beyond what the client has read."""
    found = socket.socket()
    if takes:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
    found.settimeout(60)
    found.connect(("127.0.0.1", server.port))
    return found if context is None else context.wrap_socket(found, server_hostname="localhost")


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _open_files(pid: int, file: Path) -> int:
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            count += fd.readlink() == file
    return count


HEAD = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
_pause = Event()


def test_who_trickles_is_given_up_and_who_gets_on_is_not(start: Callable[..., Running]) -> None:
    """A byte now and then buys no time, in a body of any size; a slow client that is fast enough has all it needs."""
    server = start(body_seconds=2, transfer_rate=500)
    with contextlib.ExitStack() as stack:
        small, large, steady = (stack.enter_context(server.connect()) for _ in range(3))
        small.sendall(HEAD % 60_000)
        large.sendall(HEAD % 1_000_000)
        steady.sendall(HEAD % 100_000)
        ended: dict[str, bytes] = {}
        left = 100_000
        for number in range(600):
            for name, connection in (("small", small), ("large", large)):
                if name not in ended and (said := _trickle(connection)) is not None:
                    ended[name] = said
            if left:  # 1,000 bytes a turn: ten times the rate, if a turn takes a fifth of a second
                steady.sendall(b"x" * 1000)
                left -= 1000
            if len(ended) == 2 and number > 60:
                break
            _pause.wait(0.05)
        assert ended["small"].startswith(b"HTTP/1.1 408 ")
        assert b"In 2 s of waiting fewer than 1000 bytes came or were taken" in ended["small"]
        assert ended["large"].startswith(b"HTTP/1.1 400 ")  # what the application of the tests makes of it
        assert b"Connection: close" in ended["large"]
        steady.sendall(b"x" * left)
        assert steady.recv(12) == b"HTTP/1.1 200"


def _trickle(connection: socket.socket) -> bytes | None:
    """Send one byte; everything that the server says, if it has had enough."""
    with contextlib.suppress(OSError):
        connection.sendall(b"x")
    readable, _, _ = select.select([connection], [], [], 0)
    return receive_all(connection) if readable else None


def test_who_takes_an_answer_slowly(start: Callable[..., Running]) -> None:
    """Given up if next to nothing is taken, but not while it gets on, though the kernel sees no room for long."""
    server = start(body_seconds=2, transfer_rate=500)
    with contextlib.ExitStack() as stack:
        idle, steady = (stack.enter_context(_reader(server)) for _ in range(2))
        wait_for(lambda: _connections(server) == 2, 20, "both downloads")
        taken = 0
        for number in range(3000):
            taken += len(steady.recv(4096))
            if number % 40 == 0 and taken > 600_000 and _connections(server) == 1:
                break
            _pause.wait(0.01)
        assert _connections(server) == 1
        assert len(receive_all(idle)) < server.file.stat().st_size
        for _ in range(100):
            assert len(steady.recv(1 << 20)) > 0


def _reader(server: Running) -> socket.socket:
    """A client that asks for a large file, and has little room for it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection


def _connections(server: Running) -> int:
    """How many connections the worker has."""
    (worker,) = server.workers()
    local = f":{server.port:04X} "
    table = Path(f"/proc/{worker}/net/tcp").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in table if local in line.split()[1] + " " and line.split()[3] != "0A"}
    held = {link.readlink().name for link in Path(f"/proc/{worker}/fd").iterdir() if link.is_symlink()}
    return len(inodes & {name.removeprefix("socket:[").rstrip("]") for name in held})
