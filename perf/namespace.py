"""A namespace with many files on a server of its own, and a sync client of it that costs next to nothing itself."""

import functools
import json
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perf.harness import Server, authorization

USER = "user0"
SEED = 20_240
EACH = 100  # files of a folder
SMALLEST, LARGEST = 1_000, 32_000  # bytes of a file
URN = "urn:baludav:sync:"  # what makes a sync-token of a change token

_SECONDS = 120
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ETAG = b'<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'
_REPORT = (
    '<sync-collection xmlns="DAV:"><sync-token>{}</sync-token><sync-level>infinite</sync-level>'
    "<prop><getetag/></prop></sync-collection>"
)


class Wire:
    """One keep-alive connection of the user, from the first request on.

    `http.client` would take longer for a request than the server does.
    """

    def __init__(self, server: Server) -> None:
        self._port = server.port
        self._fields = f"Host: localhost\r\nAuthorization: {authorization(USER)}\r\n"

    def ask(self, method: str, target: str, body: bytes = b"", *, status: int = 200, **fields: str) -> bytes:
        """The body of an answer with this status and a length."""
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        head = f"{method} {target} HTTP/1.1\r\n{self._fields}{more}Content-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        received = self._more(b"")
        while (end := received.find(b"\r\n\r\n")) < 0:
            received = self._more(received)
        assert received.startswith(b"HTTP/1.1 %d " % status), received[:500]
        length = _LENGTH.search(received, 0, end)
        assert length or status == 204, received[:end]
        left = end + 4 + (int(length[1]) if length else 0) - len(received)
        pieces = [received[end + 4 :]]
        while left > 0:
            pieces.append(self._more(b""))
            left -= len(pieces[-1])
        return b"".join(pieces)

    @functools.cached_property
    def _socket(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _more(self, received: bytes) -> bytes:
        piece = self._socket.recv(1 << 20)
        assert piece, "the server closed the connection"
        return received + piece


class Namespace:
    """A home with so many files, in folders of a hundred, and what a sync client asks about it."""

    def __init__(self, server: Server, files: int) -> None:
        self.server = server
        self.files = files
        self.folders = [f"tree/{number // 10:03}/{number % 10}" for number in range(-(-files // EACH))]
        self.home = server.data / "files" / USER
        self.wire = Wire(server)

    def paths(self) -> Iterator[str]:
        """Paths of the files."""
        return (f"{self.folders[number // EACH]}/{number:06}" for number in range(self.files))

    def plant(self, folder: Path) -> int:
        """Write the files below a folder; returns their bytes."""
        chance = random.Random(SEED)
        for below in self.folders:
            (folder / below).mkdir(parents=True)
        total = 0
        for path in self.paths():
            # As many small ones as large ones, on a logarithmic scale.
            size = int(SMALLEST * (LARGEST / SMALLEST) ** chance.random())
            (folder / path).write_bytes(chance.randbytes(size))
            total += size
        return total

    def put(self, path: str, body: bytes) -> None:
        """Replace the bytes of a file."""
        self.wire.ask("PUT", f"/dav/{path}", body, status=204)

    def root_etag(self) -> bytes:
        """PROPFIND of the root, Depth 0."""
        return self.wire.ask("PROPFIND", "/dav/", _ETAG, status=207, Depth="0")

    def report(self, since: str, collection: str = "") -> bytes:
        """REPORT sync-collection."""
        return self.wire.ask("REPORT", f"/dav/{collection}", _REPORT.format(URN + since).encode(), status=207)

    def changes(self, since: str) -> list[dict[str, Any]]:
        """GET /changes: one page."""
        found: list[dict[str, Any]] = json.loads(self.wire.ask("GET", f"/api/sync/changes?since={since}"))["changes"]
        return found

    def state(self, path: str = "") -> tuple[int, str]:
        """GET /state, all pages: how many files there are, and the change token."""
        files, cursor = 0, ""
        while True:
            page = json.loads(self.wire.ask("GET", f"/api/sync/state?path=/{path}{cursor}"))
            files += len(page["files"])
            if page["next_cursor"] is None:
                return files, page["change_token"]
            cursor = f"&cursor={page['next_cursor']}"
