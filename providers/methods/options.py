"""OPTIONS (RFC 9110 §9.3.7, RFC 4918 §10.1), which needs no sign-in and so tells nothing about resources."""

from baludav.errors import MethodNotAllowed
from providers.request import Answer, Headers, Request

PARTIAL_UPDATE = "application/x-sabredav-partialupdate"
ALLOWED = "OPTIONS, GET, HEAD, PUT, PATCH, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK, REPORT"
ALLOWED_AT_ROOT = "OPTIONS, GET, HEAD, PROPFIND"
# macOS mounts read-only without class 2, Windows does not mount without MS-Author-Via.
DAV_HEADERS: Headers = [
    ("DAV", "1, 2, 3, extended-mkcol, sync-collection, sabredav-partialupdate"),
    ("MS-Author-Via", "DAV"),
]


def handle(request: Request) -> Answer:
    """What can be done below the mount."""
    return handle_any()


def handle_any() -> Answer:
    """The same, as it needs nothing of the request."""
    ranges = [("Accept-Ranges", "bytes"), ("Accept-Patch", PARTIAL_UPDATE)]
    return Answer(200, [*DAV_HEADERS, ("Allow", ALLOWED), *ranges, ("Content-Length", "0")])


def refuse(request: Request) -> Answer:
    """POST has no meaning here."""
    raise MethodNotAllowed(headers=(("Allow", ALLOWED),))
