"""Has large files sent by the proxy in front: `X-Accel-Redirect` tells nginx, `X-Sendfile` Apache and lighttpd.

The answer then has no bytes and says where the file lies. The proxy opens it, cuts out the range that was asked for,
and takes from the answer only some of its fields. So handed over is what it can answer in one way only, which is ours;
all else is sent from here.
"""

import os
import re
import time

from baludav.accounts.address import is_forwarded
from baludav.config import X_SENDFILE
from baludav.tree.paths import quote
from baludav.tree.reading import OpenFile, Resource
from providers.request import Answer, Headers, Request

_LEAST = 1 << 20  # bytes to send, below which it is not worth opening the file a second time
_SETTLED_SECONDS = 2
_LONGEST = 2_000  # characters; nginx wants the whole head of an answer to fit in 4 KiB
_KEPT = frozenset(
    {"ETag", "Last-Modified", "Cache-Control", "Accept-Ranges", "Content-Type", "Content-Range", "Content-Length"}
)
_OF_BYTES = ("Content-Length", "Content-Range")
_COMPARED = ("If-Match", "If-Unmodified-Since")  # nginx does so itself, with an entity-tag of its own
_RANGE = re.compile(r"bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")
# Apache takes a path as it is and lighttpd decodes it; neither gets the blanks at its end.
_SAME_FOR_ALL = re.compile(r"/[^%\x00-\x1f\x7f]*[^% \x00-\x1f\x7f]")


def hand_over(request: Request, file: OpenFile, answer: Answer, length: int) -> Answer | None:
    """The answer that tells the proxy to send the bytes; None if they are to be sent from here.

    Args:
        answer: what the client is to get: all bytes (200) or one range of them (206).
        length: of its body, in bytes.
    """
    settings = request.house.config.settings
    if not settings.offload or length < _LEAST or not is_forwarded(request.environ, settings.trusted_proxies):
        return None
    if not _is_plain(request, file, answer):
        return None
    told = _told(request, file.resource, settings.offload)
    if not told or len(told[0][1]) > _LONGEST:
        return None
    of_proxy = _OF_BYTES if settings.offload == X_SENDFILE else (*_OF_BYTES, "Accept-Ranges")
    headers = [field for field in answer.headers if field[0] not in of_proxy]
    return Answer(200, [*headers, *told, ("Content-Length", "0")])


def _is_plain(request: Request, file: OpenFile, answer: Answer) -> bool:
    """Whether the proxy will answer just so."""
    if any(name not in _KEPT for name, _ in answer.headers) or any(map(request.header, _COMPARED)):
        return False
    # What was just replaced may be so again, and look the same to who sees only its size and its second.
    if file.resource.etag is None or abs(time.time() - os.fstat(file.fd).st_ctime) <= _SETTLED_SECONDS:
        return False
    asked = request.header("Range")
    return asked is None if answer.status == 200 else _RANGE.fullmatch(asked or "") is not None


def _told(request: Request, resource: Resource, offload: str) -> Headers:
    """The fields for the proxy; none if the file cannot be named to it."""
    root, names = resource.place.root, resource.place.names
    file = None if root is None else request.house.tree.roots.file(root, names)
    if root is None or file is None:
        return []
    if offload == X_SENDFILE:
        path = os.fsencode(file).decode("latin-1")
        return [("X-Sendfile", path)] if _SAME_FOR_ALL.fullmatch(path) else []
    # What nginx would make of time and size as the entity-tag: if the file is another one by the time it is opened,
    # nginx sees that, and leaves ours out.
    tag = f'"{resource.modified:x}-{resource.size:x}"'
    return [("X-Accel-Redirect", offload + quote((root.kind, root.name, *names))), ("X-Accel-ETag", tag)]
