"""Sends what no honest client would: every byte of a request as it is given, on a connection of its own."""

import re
import socket
from typing import Any, NamedTuple

import msgspec

from tests.http.client import SECONDS, basic
from tests.server.conftest import receive_all
from tests.serving import Server


class Reply(NamedTuple):
    """What came back: the first status, the head as it came, and all that follows."""

    status: int
    head: bytes
    body: bytes

    @property
    def fields(self) -> list[str]:
        """The header fields, as they came."""
        return self.head.decode("latin-1").split("\r\n")[1:]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Attacker:
    """Speaks to a server over raw sockets.

    Args:
        name: who signs in with each request; None for nobody.
    """

    def __init__(self, server: Server, name: str | None = None) -> None:
        self.server = server
        self.host = f"127.0.0.1:{server.port}"
        self.credentials = [] if name is None else [f"Authorization: {basic(*server.auth(name))}"]

    def say(self, data: bytes, *, end: bool = False) -> bytes:
        """Everything that comes back until the server closes the connection.

        Args:
            end: say that nothing more follows.
        """
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=SECONDS) as connection:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return receive_all(connection)

    def __call__(self, method: str, target: str, *fields: str, body: bytes = b"") -> Reply:
        """One request. A field that is given takes the place of the usual one; characters stand for bytes."""
        given = {field.partition(":")[0].lower() for field in fields}
        usual = [f"Host: {self.host}", *self.credentials, f"Content-Length: {len(body)}", "Connection: close"]
        if "transfer-encoding" in given:
            given.add("content-length")
        kept = [field for field in usual if field.partition(":")[0].lower() not in given]
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *kept, *fields, "", ""])
        answer = self.say(head.encode("latin-1") + body)
        top, separator, rest = answer.partition(b"\r\n\r\n")
        line = re.match(rb"HTTP/1\.1 ([1-5][0-9]{2}) [A-Z][A-Za-z -]+\r\n", top)
        assert separator, f"{method} {target}: no answer but {answer[:200]!r}"
        assert line, f"{method} {target}: {top[:200]!r}"
        return Reply(int(line[1]), top, rest)
