"""A user of a server, at the wire: requests by path, answers as they come."""

import hashlib
import http.client
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import requests

from tests.serving import Server

SECONDS = 60


class User:
    """Sends requests as one user.

    Args:
        top: a path every other is relative to, without a slash at its end.
        mount: the URL path of the tree, percent-encoded, without a slash at its end.
    """

    def __init__(self, server: Server, name: str, top: str = "", mount: str = "/dav") -> None:
        self.server = server
        self.name = name
        self.top = top
        self.mount = mount
        self.session = requests.Session()
        self.session.auth = server.auth(name)

    def url(self, path: str) -> str:
        """The URL of a path that is not percent-encoded."""
        return self.server.url + self.mount + quote(self.top + path)

    def __call__(self, method: str, path: str, data: object = None, **headers: str) -> requests.Response:
        """A request; `If_Match` stands for the field If-Match, and a `Destination` may be a path."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if fields.get("Destination", "").startswith("/"):
            fields["Destination"] = self.url(fields["Destination"])
        return self.session.request(
            method, self.url(path), data=data, headers=fields, timeout=SECONDS, allow_redirects=False
        )

    def put(self, path: str, body: bytes = b"bytes", **headers: str) -> requests.Response:
        return self("PUT", path, body, **headers)

    def get(self, path: str, **headers: str) -> requests.Response:
        return self("GET", path, **headers)

    def propfind(self, path: str, body: str = "", depth: str = "0") -> "dict[str, Found]":
        """What a PROPFIND says, by path below `top`."""
        answer = self("PROPFIND", path, body.encode(), Depth=depth)
        assert answer.status_code == 207, answer.text
        return self.multistatus(answer)

    def prop(self, path: str, name: str) -> str | None:
        """The text of one property, None if it is not there."""
        namespace, _, local = name[1:].rpartition("}")
        body = f'<propfind xmlns="DAV:"><prop><x:{local} xmlns:x="{namespace}"/></prop></propfind>'
        ((_, found),) = self.propfind(path, body).items()
        element = found.get(name)
        return None if element is None else "".join(element.itertext())

    def multistatus(self, answer: requests.Response) -> "dict[str, Found]":
        """Responses of a 207 by path below `top`."""
        return self.multistatus_of(ElementTree.fromstring(answer.content))  # noqa: S314 - our own server's

    def multistatus_of(self, root: ElementTree.Element) -> "dict[str, Found]":
        """The same of a body that was read."""
        top = unquote(self.mount) + self.top
        found = {}
        for response in root.iterfind("{DAV:}response"):
            href = unquote(response.findtext("{DAV:}href", ""))
            found[href.removeprefix(top).rstrip("/") or "/"] = Found(response)
        return found

    def lock(self, path: str, *, scope: str = "exclusive", depth: str = "infinity", timeout: str = "Second-60") -> str:
        """Take a lock; its token."""
        answer = self.try_lock(path, scope=scope, depth=depth, timeout=timeout)
        assert answer.status_code in (200, 201), answer.text
        return answer.headers["Lock-Token"].strip("<>")

    def try_lock(
        self, path: str, *, scope: str = "exclusive", depth: str = "infinity", timeout: str = "Second-60"
    ) -> requests.Response:
        body = (
            f'<lockinfo xmlns="DAV:"><lockscope><{scope}/></lockscope><locktype><write/></locktype>'
            f"<owner>{self.name}</owner></lockinfo>"
        )
        return self("LOCK", path, body, Depth=depth, Timeout=timeout)

    def raw(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """A request whose target goes over the wire as it is: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=SECONDS)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            fields = {"Authorization": basic(*self.server.auth(self.name)), "Content-Length": str(len(body)), **headers}
            for name, value in fields.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Found:
    """One `DAV:response` of a multistatus."""

    def __init__(self, response: ElementTree.Element) -> None:
        self.status = _status(response.findtext("{DAV:}status"))
        self.props: dict[str, tuple[int, ElementTree.Element]] = {}
        for propstat in response.iterfind("{DAV:}propstat"):
            status = _status(propstat.findtext("{DAV:}status"))
            for element in propstat.iterfind("{DAV:}prop/*"):
                self.props[element.tag] = (status, element)

    def get(self, name: str) -> ElementTree.Element | None:
        """A property that was found."""
        status, element = self.props.get(name, (404, None))
        return element if status == 200 else None

    def text(self, name: str) -> str | None:
        element = self.get(name)
        return None if element is None else "".join(element.itertext())


def _status(line: str | None) -> int:
    return int(line.split()[1]) if line else 0


def basic(name: str, password: str) -> str:
    """The value of an Authorization field (RFC 7617)."""
    return requests.auth._basic_auth_str(name, password)


def etag(body: bytes) -> str:
    """The ETag that a file with these bytes must have."""
    return f'"{hashlib.sha256(body).hexdigest()}"'
