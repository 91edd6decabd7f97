"""One user, on however many connections, never takes all threads of a worker."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from tests.http.client import User, basic
from tests.serving import Server

MANY = 300  # more than a worker has threads
_BODY = b"PUT /dav/%d HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\nabc"
_XML = b"PROPFIND /dav/ HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 100000\r\n\r\n<"
_FILE = b"GET /dav/large HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("crowds") / "data", workers=1) as server:
        server.add_user("alice")
        server.add_user("bob")
        yield server


@pytest.mark.parametrize("what", ["small uploads", "large uploads", "XML", "downloads"])
def test_others_are_served(server: Server, what: str) -> None:
    """While she sends bodies of which nothing comes, or takes nothing of a file, what others ask is done."""
    User(server, "alice").put("/large", os.urandom(1 << 20) * 16)
    bob = User(server, "bob")
    signed = basic(*server.auth("alice")).encode()
    with contextlib.ExitStack() as stack:
        for number in range(MANY):
            opening = {
                "small uploads": _BODY % (number, signed, 100_000),
                "large uploads": _BODY % (number, signed, 1_000_000),
                "XML": _XML % signed,
                "downloads": _FILE % signed,
            }[what]
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(opening)
        for number in range(20):
            assert bob.put(f"/{what}-{number}", b"x").status_code == 201
