"""A request on one of the paths that sync clients use beside the tree."""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from baludav.accounts.accounts import Principal
from baludav.accounts.address import client_scheme
from baludav.accounts.authorization import BASIC
from baludav.errors import BadRequest, MethodNotAllowed, NotFound, NotSignedIn
from baludav.tree.paths import Path, stored
from providers import bodies
from providers.house import House
from providers.request import Answer, Headers

MAX_FORM = 64 * 1024  # bytes
_HOST = re.compile(r"[\w.~%-]+(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?", re.ASCII)


@dataclass(frozen=True)
class Call:
    """A request, and what is left of its path behind the part that named its room.

    Attributes:
        base: the path of the room, percent-encoded, without a slash at its end.
        names_collection: the path was written with a trailing slash.
    """

    environ: dict[str, Any]
    house: House
    base: str
    path: Path
    names_collection: bool

    @property
    def method(self) -> str:
        method: str = self.environ["REQUEST_METHOD"]
        return method

    @property
    def principal(self) -> Principal:
        """Who asks."""
        principal: Principal | None = self.environ.get("baludav.principal")
        if principal is None:
            raise NotSignedIn(headers=(("WWW-Authenticate", BASIC),))
        return principal

    @property
    def origin(self) -> str:
        """Scheme, host and port of this server as the client knows them (RFC 6454), through trusted proxies too."""
        host: str = self.environ.get("HTTP_HOST") or self.environ.get("SERVER_NAME") or ""
        if not _HOST.fullmatch(host):
            raise BadRequest("The Host field is malformed")
        return f"{client_scheme(self.environ, self.house.config.settings.trusted_proxies)}://{host}"

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.environ.get("QUERY_STRING", "")))

    def form(self) -> dict[str, str]:
        """The fields of an HTML form in the body."""
        body = bodies.read_body(self.environ, MAX_FORM)
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))

    def require_method(self, *methods: str) -> None:
        if self.method not in methods:
            raise MethodNotAllowed(headers=(("Allow", ", ".join(methods)),))

    def require_own(self, name: str) -> None:
        """A path that names a user is there for that user only."""
        if stored(name) != self.principal.name:
            raise NotFound()


def json_answer(call: Call, value: Any, status: int = 200) -> Answer:
    """A value as JSON."""
    return text_answer(call, json.dumps(value).encode(), "application/json; charset=utf-8", status)


def text_answer(call: Call, body: bytes, kind: str, status: int = 200, headers: Headers | None = None) -> Answer:
    """A body that no cache keeps."""
    fields = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    return Answer(status, [*fields, *(headers or [])], [] if call.method == "HEAD" else [body])
