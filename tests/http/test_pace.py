"""Clients that ask for much and take it slowly."""

import contextlib
import random
import socket
from typing import BinaryIO

from tests.http.client import User, basic

COUNT = 20
ANSWERS = 8
SIZE = 200_000


def _ask(user: User, path: str) -> socket.socket:
    """Send many requests at once over a connection that takes little of the answers until somebody reads them."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.settimeout(30)
    found.connect(("127.0.0.1", user.server.port))
    target = user.url(path).removeprefix(user.server.url)
    request = (
        f"GET {target} HTTP/1.1\r\nHost: here\r\nAuthorization: {basic(*user.server.auth(user.name))}\r\n\r\n"
    ).encode()
    found.sendall(request * ANSWERS)
    return found


def _body(answers: BinaryIO) -> bytes:
    """The body of the next answer."""
    length = 0
    while (line := answers.readline().strip()) != b"":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return answers.read(length)


def test_slow_readers_get_every_byte_and_stop_nobody(alice: User) -> None:
    """Pipelined requests whose answers nobody reads at first: others are served, then all is there, in order."""
    body = random.Random(1).randbytes(SIZE)
    alice.put("/large", body)
    alice.put("/small", b"small")
    for _ in range(3):
        assert alice.get("/large").content == body  # the server knows it by now
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(_ask(alice, "/large")) for _ in range(COUNT)]
        for _ in range(20):
            assert alice.get("/small").content == b"small"
        for connection in slow:
            with connection.makefile("rb") as answers:
                for _ in range(ANSWERS):
                    assert _body(answers) == body
