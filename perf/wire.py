"""One client of a server under comparison: a keep-alive connection that signs in, and the answers it gets."""

import base64
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

SECONDS = 60
IDEMPOTENT = frozenset({"GET", "HEAD", "PROPFIND", "PUT"})

# The certificate is the comparison's own; who it is issued to is no matter on the loopback.
UNVERIFIED = ssl._create_unverified_context()  # noqa: S323


@dataclass(frozen=True)
class Account:
    """Who signs in."""

    name: str
    password: str

    @property
    def authorization(self) -> str:
        """Value of the Authorization header field (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.name}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes

    @property
    def wire_bytes(self) -> int:
        """Bytes of head and body, without the framing of a chunked body."""
        head = sum(len(name) + len(value) + 4 for name, value in self.headers.items())
        return (
            len(f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, '')}\r\n\r\n") + head + len(self.body)
        )


class Connection:
    """A connection that is kept alive; opened again if the server closed it after an answer."""

    def __init__(self, port: int, account: Account, tls: bool) -> None:
        self._connection = (
            http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=UNVERIFIED)
            if tls
            else http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        )
        self._headers = {"Authorization": account.authorization}

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and read the whole answer. Raises OSError or HTTPException if none comes.

        If the server closes the connection instead, the request is sent once more, as clients do (RFC 9110 §9.2.2).
        """
        try:
            answer = self._sent(method, path, body, headers)
        except http.client.RemoteDisconnected:
            if method not in IDEMPOTENT:
                raise
            answer = self._sent(method, path, body, headers)
        return Answer(answer.status, answer.headers, answer.read())  # type: ignore[arg-type]

    def _sent(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> http.client.HTTPResponse:
        self._connection.request(method, path, body, {**self._headers, **(headers or {})})
        return self._connection.getresponse()

    def read_into(self, path: str, room: memoryview) -> int:
        """GET into memory that is there already; gives the number of bytes of a 200, -1 for any other answer."""
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        if answer.status != 200:
            answer.read()
            return -1
        filled = 0
        while filled < len(room) and (count := answer.readinto(room[filled:])):
            filled += count
        answer.read()
        return filled
