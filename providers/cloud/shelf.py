"""What the trash and the versions have in common: resources that are no files of the tree, to be listed and read.

They have live properties only, as ready elements by name.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from baludav.errors import NotFound
from baludav.tree.paths import quote
from providers import bodies, xml
from providers.cloud.call import Call
from providers.methods.options import DAV_HEADERS
from providers.request import Answer, Headers, Request

_PIECE = 256 * 1024
COLLECTION = "<D:collection/>"


class Thing(NamedTuple):
    """One resource: its path, percent-encoded, and the content of its live properties by name."""

    href: str
    properties: Mapping[str, str]


class Bytes:
    """All bytes of a file as a WSGI body; the server sends them itself.

    Args:
        fd: closed with this.
    """

    offset = 0

    def __init__(self, fd: int, length: int) -> None:
        self._fd = fd
        self.length = length

    def fileno(self) -> int:
        return self._fd

    def __iter__(self) -> Iterator[bytes]:
        offset = 0
        while piece := os.pread(self._fd, min(_PIECE, self.length - offset), offset):
            yield piece
            offset += len(piece)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def own(call: Call) -> tuple[Request, list[str]]:
    """A request to one's own shelf, and the names below it; the URL begins with the user's.

    Raises:
        NotFound: it is another's, or nobody's.
    """
    if not call.path:
        raise NotFound()
    user, *names = call.path
    call.require_own(user)
    mount = call.base + quote((user,))
    request = Request(call.environ, call.house, mount, (), names_collection=call.names_collection, is_cloud=True)
    return request, names


def listed(request: Request, top: Thing, members: Iterable[Thing]) -> Answer:
    """Answer PROPFIND on something, with its members unless `Depth` is 0."""
    depth = request.depth("1", ("0", "1", "infinity"))
    wanted = bodies.parse_propfind(request.body())
    answer = xml.Multistatus()
    for thing in (top,) if depth == "0" else (top, *members):
        answer.response(thing.href, _propstats(thing.properties, wanted))
    body = answer.close()
    return Answer(207, [("Content-Type", xml.CONTENT_TYPE), ("Content-Length", str(len(body)))], [body])


def sent(call: Call, body: Bytes, headers: Headers) -> Answer:
    """Answer GET or HEAD with all bytes of something."""
    headers = [("Content-Length", str(body.length)), ("Cache-Control", "private, no-cache"), *headers]
    if call.method == "HEAD":
        body.close()
        return Answer(200, headers)
    return Answer(200, headers, body)


def options(allowed: str) -> Answer:
    """Answer OPTIONS."""
    return Answer(200, [*DAV_HEADERS, ("Allow", allowed), ("Content-Length", "0")])


def _propstats(properties: Mapping[str, str], wanted: bodies.Wanted) -> list[tuple[int, list[str]]]:
    if wanted.kind == "propname":
        return [(200, [xml.fragment(name) for name in properties])]
    asked = tuple(properties) if wanted.kind == "allprop" else wanted.names
    found = [xml.fragment(name, properties[name]) for name in asked if name in properties]
    missing = [xml.fragment(name) for name in asked if name not in properties]
    return [(status, some) for status, some in ((200, found), (404, missing)) if some] or [(200, [])]
