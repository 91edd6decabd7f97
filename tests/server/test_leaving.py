"""A worker that leaves, at a stop or a reload, answers whoever has begun to ask or has just come."""

import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.server.conftest import Running, receive_all
from tests.serving import wait_for

ASK = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"
REFUSED = b"PUT /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n"
Socket = socket.socket


class Place(NamedTuple):
    """A server that is about to leave, and how clients wrap their sockets."""

    server: Running
    wrap: Callable[[Socket], Socket]

    def connect(self, *, said: bytes = b"") -> Socket:
        connection = self.wrap(self.server.connect())
        connection.sendall(said)
        return connection


@pytest.fixture(params=["plain", "tls"])
def place(request: pytest.FixtureRequest, start: Callable[..., Running], tmp_path: Path) -> Iterator[Place]:
    if request.param == "plain":
        yield Place(start(), lambda connection: connection)
        return
    server = start(tls=str(tmp_path))
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    yield Place(server, lambda connection: context.wrap_socket(connection, server_hostname="localhost"))


def _answer(connection: Socket, said: bytes = b"") -> bytes:
    """What comes until the connection is closed, which the answer must have announced."""
    with connection:
        connection.sendall(said)
        answer = receive_all(connection)
    assert b"\r\nConnection: close\r\n" in answer, answer
    return answer


def _wait_until_it_leaves(place: Place, number: int, idle: Socket) -> None:
    """Send a signal; an idle connection, whose client was answered, is closed first."""
    place.server.process.send_signal(number)
    assert idle.recv(1) == b""
    idle.close()


def _idle(place: Place) -> Socket:
    idle = place.connect(said=ASK)
    answer = b""
    while not answer.endswith(b"}"):
        answer += idle.recv(1 << 16)
    assert b"Connection: close" not in answer
    return idle


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_has_begun_or_just_come_is_answered(place: Place, number: int) -> None:
    """Half a head, half a body, a refused body, and nothing yet; with TLS not even a handshake, or half of one."""
    before = place.server.workers()
    idle = _idle(place)
    head, body = place.connect(said=ASK[:9]), place.connect(said=PUT + b"abc")
    refused = place.connect(said=REFUSED)
    assert refused.recv(12) == b"HTTP/1.1 403"
    new, silent = place.connect(), place.server.connect()

    _wait_until_it_leaves(place, number, idle)
    assert b'"path": "/a"' in _answer(new, ASK)
    assert b'"path": "/a"' in _answer(place.wrap(silent), ASK)
    assert b'"path": "/a"' in _answer(head, ASK[9:])
    assert b'"length": 6' in _answer(body, b"def")
    with refused:
        assert receive_all(refused).endswith(b"\r\n\r\nno")
    wait_for(lambda: not set(place.server.workers()) & set(before), 30, "the worker has left")


def test_who_waits_to_be_accepted_is_answered(place: Place) -> None:
    """The kernel has completed their connections, and taken what they ask, before the worker leaves."""
    (worker,) = place.server.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_for(lambda: _status(worker, "State").startswith("T"), 30, "the worker stands still")
        connections = [place.server.connect() for _ in range(50)]
        place.server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: _is_pending(worker, signal.SIGTERM), 30, "the worker is told")
    finally:
        os.kill(worker, signal.SIGCONT)
    for connection in map(place.wrap, connections):
        assert b'"path": "/a"' in _answer(connection, ASK)
    assert place.server.process.wait(30) == 0


def test_silence_does_not_hold_up_a_stop(start: Callable[..., Running]) -> None:
    """Who has come and says nothing is waited for a moment; nobody new is accepted meanwhile."""
    server = start(graceful_seconds=60)
    with server.connect() as silent, server.connect() as idle:
        idle.sendall(ASK)
        assert idle.recv(12) == b"HTTP/1.1 200"
        server.process.send_signal(signal.SIGTERM)
        receive_all(idle)
        wait_for(lambda: _is_refused(server), 30, "who comes now is refused")
        assert server.process.poll() is None
        assert receive_all(silent) == b""
        assert server.process.wait(30) == 0


def _is_refused(server: Running) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def _is_pending(pid: int, number: int) -> bool:
    return bool(int(_status(pid, "ShdPnd"), 16) >> (number - 1) & 1)


def _status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))
