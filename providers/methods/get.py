"""GET and HEAD (RFC 9110 §9.3): bytes, parts of them, or a plain listing for a browser."""

import html
import os
import secrets
from collections.abc import Iterable, Iterator
from uuid import UUID

from baludav.tree.http.digests import format_digest, wanted
from baludav.tree.http.preconditions import State
from baludav.tree.http.ranges import Multipart, content_range, multipart, parse_range
from baludav.tree.paths import quote
from baludav.tree.reading import OpenFile, Resource
from providers.cloud import conflicts
from providers.live import content_type, http_date
from providers.offload import hand_over
from providers.request import Answer, Headers, Request, etag_headers

_PIECE = 256 * 1024


class FileBody:
    """Part of an open file as a WSGI body; a server that knows `fileno`, `offset` and `length` sends it itself."""

    def __init__(self, file: OpenFile, offset: int, length: int) -> None:
        self._file = file
        self.offset = offset
        self.length = length

    def fileno(self) -> int:
        return self._file.fd

    def __iter__(self) -> Iterator[bytes]:
        return _pieces(self._file.fd, self.offset, self.length)

    def close(self) -> None:
        self._file.close()


class _PartsBody:
    """Several parts of an open file, with what stands between them."""

    def __init__(self, file: OpenFile, ranges: list[tuple[int, int]], layout: Multipart) -> None:
        self._file = file
        self._ranges = ranges
        self._layout = layout

    def __iter__(self) -> Iterator[bytes]:
        for head, (start, stop) in zip(self._layout.heads, self._ranges, strict=True):
            yield head
            yield from _pieces(self._file.fd, start, stop - start)
        yield self._layout.tail

    def close(self) -> None:
        self._file.close()


def handle(request: Request) -> Answer:
    """Answer GET or HEAD."""
    resource = request.look()
    if resource.is_collection:
        return _listing(request, resource)
    file = request.user.open(request.path)
    try:
        answer = _bytes(request, file)
    except BaseException:
        file.close()
        raise
    if isinstance(answer.body, FileBody):
        answer = hand_over(request, file, answer, answer.body.length) or answer
    if not isinstance(answer.body, FileBody | _PartsBody):
        file.close()
    return answer


def headers_of(resource: Resource, instance: UUID | None = None) -> Headers:
    """What every answer about the bytes of a resource says, also 304.

    Args:
        instance: as for `etag_headers`.
    """
    return [
        *etag_headers(resource, instance),
        ("Last-Modified", http_date(resource.modified)),
        ("Cache-Control", "private, no-cache"),  # keep it, but ask before using it again
    ]


def headers_of_all(resource: Resource) -> Headers:
    """What the answer with all bytes says beside; fields that were asked for come before the last two."""
    return [
        ("Accept-Ranges", "bytes"),
        ("Content-Type", content_type(resource.name)),
        ("Content-Length", str(resource.size)),
    ]


def headers_of_part(resource: Resource, start: int, stop: int) -> Headers:
    """What the answer with one range says beside, after `Accept-Ranges`."""
    return [
        ("Content-Type", content_type(resource.name)),
        ("Content-Range", content_range(start, stop, resource.size)),
        ("Content-Length", str(stop - start)),
    ]


def _bytes(request: Request, file: OpenFile) -> Answer:
    resource = file.resource
    state = State(True, resource.etag, resource.modified)
    request.user.check_if(request.path, request.terms)
    headers = headers_of(resource, request.instance)
    if not request.terms.conditions.check_read(state):
        return Answer(304, headers)
    is_head = request.method == "HEAD"
    if request.is_cloud:
        headers += conflicts.fields(request, resource)
    accepts, *about_all = headers_of_all(resource)
    headers.append(accepts)
    if resource.sha256 and wanted(request.header("Want-Repr-Digest") or "") == "sha-256":
        headers.append(("Repr-Digest", format_digest(resource.sha256)))
    ranges = None
    if not is_head and request.terms.conditions.range_applies(state):  # Range is for GET alone (§14.2)
        ranges = parse_range(request.header("Range"), resource.size)
    if ranges is None:
        if wanted(request.header("Want-Content-Digest") or "") == "sha-256" and resource.sha256:
            headers.append(("Content-Digest", format_digest(resource.sha256)))
        headers += about_all
        return Answer(200, headers, [] if is_head else FileBody(file, 0, resource.size))
    if len(ranges) == 1:
        start, stop = ranges[0]
        headers += headers_of_part(resource, start, stop)
        return Answer(206, headers, FileBody(file, start, stop - start))
    kind = content_type(resource.name)
    boundary = secrets.token_hex(16)
    layout = multipart(ranges, resource.size, kind, boundary)
    headers += [
        ("Content-Type", f"multipart/byteranges; boundary={boundary}"),
        ("Content-Length", str(layout.length)),
    ]
    return Answer(206, headers, _PartsBody(file, ranges, layout))


def _pieces(fd: int, offset: int, length: int) -> Iterator[bytes]:
    while length and (piece := os.pread(fd, min(length, _PIECE), offset)):
        yield piece
        offset += len(piece)
        length -= len(piece)


def _listing(request: Request, resource: Resource) -> Answer:
    """What a person sees who opens a collection in a browser."""
    headers: Headers = [*request.about(resource), ("Cache-Control", "private, no-cache")]
    if not request.terms.conditions.check_read(State(True, resource.etag, None, True)):
        return Answer(304, headers)
    body: Iterable[bytes] = []
    if request.method == "GET":
        lines = [f"<!DOCTYPE html><meta charset=utf-8><title>{html.escape(resource.name or '/')}</title><ul>"]
        if resource.path:
            lines.append(f'<li><a href="{request.href(resource.path[:-1], is_collection=True)}">..</a>')
        for member in request.user.members(resource):
            href = request.mount + quote(member.path, member.is_collection)
            slash = "/" if member.is_collection else ""
            lines.append(f'<li><a href="{href}">{html.escape(member.name)}{slash}</a>')
        page = "\n".join([*lines, "</ul>\n"]).encode()
        body = [page]
        headers.append(("Content-Length", str(len(page))))
    headers.append(("Content-Type", "text/html; charset=utf-8"))
    return Answer(200, headers, body)
