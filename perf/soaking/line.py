"""A client's connection, which tells a connection that was cut by a kill from one that the server broke."""

import hashlib
import http.client
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from perf.harness import authorization
from perf.soaking.scene import Cut, Scene, Wrong

SECONDS = 120  # after which an answer is missed
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what was not sent is forgotten, and the other end gets a reset


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def etag(self) -> str:
        """Bare; empty for none."""
        return (self.headers["ETag"] or "").strip('"')

    @property
    def sha256(self) -> str:
        """Of the body."""
        return hashlib.sha256(self.body).hexdigest()


class Line:
    """One keep-alive connection, opened as often as needed."""

    def __init__(self, scene: Scene, user: str) -> None:
        self.authorization = authorization(user)
        self._scene = scene
        self.reach(scene.server.port)
        self._port = 0
        self._since = 0.0

    def reach(self, port: int) -> None:
        """Where the requests go from now on."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, target: str, *statuses: int, body: bytes = b"", **fields: str) -> Answer:
        """One request, of which nothing is known if it raises Cut.

        Args:
            fields: header fields, with `_` for `-`.
        Raises:
            Cut: the worker was killed meanwhile.
            Wrong: another status than these, or no answer for another reason.
        """
        begun = time.monotonic()
        try:
            self._open()
            self._send_head(method, target, len(body), fields)
            if body:
                self._connection.send(body)
            found = self._connection.getresponse()
            answer = Answer(found.status, found.headers, found.read())  # type: ignore[arg-type]
        except (OSError, http.client.HTTPException) as error:
            self.lost(method, target, error)
        if answer.status not in statuses:
            raise Wrong(f"{method} {target}: {answer.status} {answer.body[:300]!r}, expected {statuses}")
        self._scene.tally.done(method, time.monotonic() - begun)
        return answer

    def surely(self, method: str, target: str, *statuses: int, body: bytes = b"", **fields: str) -> Answer:
        """The same, again and again if it was cut: for what may be done twice."""
        while True:
            try:
                return self.ask(method, target, *statuses, body=body, **fields)
            except Cut:
                continue

    def break_off(self, method: str, target: str, body: bytes, sent: int, *, reset: bool, **fields: str) -> None:
        """Send only the beginning of a body, or all of it without waiting for the answer, and go."""
        self._scene.tally.broken(method)
        try:
            self._open()
            self._send_head(method, target, len(body), fields)
            self._connection.send(body[:sent])
        except OSError:
            pass  # as well
        self._leave(reset=reset)

    def turn_away(self, target: str, read: int, *, reset: bool) -> None:
        """GET, but go before all of it has come."""
        self._scene.tally.broken("GET")
        try:
            self._open()
            self._send_head("GET", target, 0, {})
            self._connection.getresponse().read(read)
        except (OSError, http.client.HTTPException) as error:
            try:
                self.lost("GET", target, error)
            except Cut:
                return
        self._leave(reset=reset)

    def stream(self, target: str, **fields: str) -> http.client.HTTPResponse:
        """An answer that does not end; close the line when it is not wanted any more."""
        try:
            self._open()
            self._send_head("GET", target, 0, fields)
            answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.lost("GET", target, error)
        if answer.status != 200:
            raise Wrong(f"GET {target}: {answer.status} {answer.read()[:300]!r}")
        return answer

    def _open(self) -> None:
        if self._connection.sock is None:
            self._connection.connect()
            assert self._connection.sock is not None
            self._port = self._connection.sock.getsockname()[1]
            self._since = time.monotonic()

    def _send_head(self, method: str, target: str, length: int, fields: Mapping[str, str]) -> None:
        self._connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {"Authorization": self.authorization, "Content-Length": str(length), **fields}.items():
            self._connection.putheader(name.replace("_", "-"), value)
        self._connection.endheaders()

    def _leave(self, *, reset: bool) -> None:
        if reset and self._connection.sock is not None:
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._connection.close()

    def lost(self, method: str, target: str, error: Exception) -> NoReturn:
        """The connection broke: raises Cut if a kill explains it, else Wrong."""
        self._connection.close()
        if not isinstance(error, TimeoutError) and self._scene.deaths.took(self._port, self._since):
            self._scene.tally.cut(method)
            raise Cut from error
        raise Wrong(f"{method} {target}: the connection broke, and nobody was killed: {error!r}") from error
