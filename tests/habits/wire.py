"""A client at the wire: its own header fields, one connection that stays open, and what it takes for an error."""

import gzip
import http.client
import re
from collections.abc import Iterable
from urllib.parse import quote
from xml.etree import ElementTree

from tests.http.client import Found, User, basic

SECONDS = 60


class Reply:
    """An answer."""

    def __init__(self, answer: http.client.HTTPResponse, user: User) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read()
        if self.headers["Content-Encoding"] == "gzip":  # only who asked for it gets it
            self.body = gzip.decompress(self.body)
        self._user = user

    @property
    def token(self) -> str:
        """The lock token, as RFC 4918 §9.10.1 wants it in field and body alike."""
        token = self.headers["Lock-Token"]
        assert re.fullmatch(r"<[^<>\s]+>", token), token
        root = ElementTree.fromstring(self.body)  # noqa: S314 - our own server's
        assert root.findtext(".//{DAV:}locktoken/{DAV:}href") == token.strip("<>")
        return str(token).strip("<>")

    @property
    def found(self) -> dict[str, Found]:
        """Responses of a 207 by path, without slashes at their ends."""
        assert self.headers["Content-Type"] == "application/xml; charset=utf-8"
        root = ElementTree.fromstring(self.body)  # noqa: S314 - our own server's
        assert root.tag == "{DAV:}multistatus"
        return self._user.multistatus_of(root)

    def succeeded(self) -> None:
        """Every property of a PROPPATCH was set: some clients show an error for anything but 200."""
        for found in self.found.values():
            assert {status for status, _ in found.props.values()} == {200}, self.body


class Client:
    """One client of one user.

    Args:
        user: where it works: paths are relative to the collection of this user's.
        fields: header fields that it sends with every request.
    """

    def __init__(self, user: User, **fields: str) -> None:
        self.user = user
        self.fields = {name.replace("_", "-"): value for name, value in fields.items()}
        self.fields["Authorization"] = basic(*user.server.auth(user.name))
        self._connection = http.client.HTTPConnection("127.0.0.1", user.server.port, timeout=SECONDS)

    def __call__(
        self, method: str, path: str, status: int, body: bytes | Iterable[bytes] | None = None, **fields: str
    ) -> Reply:
        """Send a request and require this status.

        Args:
            path: below the user's collection, not percent-encoded; one that begins with `//` is below the host.
            body: pieces are sent as chunks; None for a request without a body and without a length.
        """
        target = quote(path[1:]) if path.startswith("//") else self.target(path)
        connection = self._connection
        connection.putrequest(method, target, skip_accept_encoding=True)
        sent = {**self.fields, **{name.replace("_", "-"): value for name, value in fields.items()}}
        is_chunked = body is not None and not isinstance(body, bytes)
        if isinstance(body, bytes):
            sent["Content-Length"] = str(len(body))
        elif is_chunked:
            sent["Transfer-Encoding"] = "Chunked"
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body, encode_chunked=is_chunked)
        reply = Reply(connection.getresponse(), self.user)
        assert reply.status == status, f"{method} {path}: {reply.status}, not {status}: {reply.body.decode()}"
        return reply

    def target(self, path: str) -> str:
        """What the request line names."""
        return self.user.url(path).removeprefix(self.user.server.url)

    def url(self, path: str) -> str:
        """The same with scheme and host, as most clients write it in Destination."""
        return self.user.url(path)

    def close(self) -> None:
        self._connection.close()


def left(user: User) -> dict[str, bytes]:
    """What the user finds at the end, on the disk of the server; nothing of it may be locked any more."""
    top = user.server.home(user.name) / user.top.strip("/")
    found = {}
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        found[name] = path.read_bytes() if path.is_file() else b"(collection)"
        assert not user.prop(f"/{name}", "{DAV:}lockdiscovery"), f"{name} is still locked"
    return found
