"""PUT (RFC 9110 §9.3.4, RFC 4918 §9.7): replaces or creates the bytes of one resource, all or nothing."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from baludav.errors import BadRequest, MethodNotAllowed, NotImplementedHere, UnsupportedMediaType, broken_off
from baludav.tree.http.digests import parse_digest
from baludav.tree.paths import Path
from baludav.tree.truth.hashes import LENGTHS
from baludav.tree.writing import Incoming, Written
from providers.cloud import conflicts
from providers.live import http_date
from providers.methods.options import ALLOWED, PARTIAL_UPDATE
from providers.request import Answer, Request, parse_mtime

_PIECE = 256 * 1024
_SMALL = 256 * 1024  # bytes; so much is taken at once
_BROKEN_OFF = "The upload broke off; nothing was changed"
_OC_CHECKSUM = re.compile(r"(SHA256|SHA1|MD5|ADLER32):([0-9A-Fa-f]+)\Z", re.IGNORECASE)


def handle(request: Request) -> Answer:
    """Answer PUT."""
    return answer_of(request, request.path, write(request))


def write(request: Request) -> Written:
    """Do what a PUT asks for."""
    environ = request.environ
    _refuse_parts(request)
    if request.names_collection:
        allow = ("Allow", ALLOWED)
        raise MethodNotAllowed("A path with a trailing slash names a collection; use MKCOL", headers=(allow,))
    length = body_length(environ)
    announced = announced_digests(request)
    modified_ns = parse_mtime(environ)
    if length is None or length > _SMALL or request.header("Expect") is not None:
        return _stream(request, length, modified_ns, announced)
    data = _whole(environ["wsgi.input"], length)
    _require_expected(request, length)
    return request.user.replace(request.path, request.terms, data, modified_ns=modified_ns, announced=announced)


def receive(request: Request, upload: Incoming, length: int | None) -> None:
    """Take the body of a request as the bytes of an upload.

    Raises:
        BadRequest: it breaks off, or has another length than was announced.
    """
    try:
        for piece in pieces(request.environ["wsgi.input"], length):
            upload.write(piece)
    except EOFError as error:
        raise broken_off(error, _BROKEN_OFF) from None
    _require_expected(request, upload.size)


def answer_of(request: Request, path: Path, written: Written) -> Answer:
    """The answer to a request that wrote the bytes of a resource."""
    if request.header("OC-Conflict") is not None:
        conflicts.keep(request, written.resource)
    headers = [*request.about(written.resource), ("Last-Modified", http_date(written.resource.modified))]
    if parse_mtime(request.environ) is not None:
        headers.append(("X-OC-Mtime", "accepted"))
    if written.is_created:
        headers += [("Location", request.href(path, is_collection=False)), ("Content-Length", "0")]
    return Answer(201 if written.is_created else 204, headers)


def _stream(request: Request, length: int | None, modified_ns: int | None, announced: Mapping[str, str]) -> Written:
    """Bytes that are not kept in memory, or that the client sends only if it may."""
    with request.user.open_write(request.path, request.terms, length=length, announced=announced) as upload:
        receive(request, upload, length)
        return upload.commit(modified_ns=modified_ns)


def _whole(stream: Any, length: int) -> bytes:
    try:
        data: bytes = stream.read(length)
    except EOFError as error:
        raise broken_off(error, _BROKEN_OFF) from None
    if len(data) != length:
        raise BadRequest(_BROKEN_OFF)
    return data


def _require_expected(request: Request, size: int) -> None:
    expected = request.header("X-Expected-Entity-Length")  # macOS, beside chunks
    if expected is not None and expected.isdigit() and int(expected[:19]) != size:
        raise BadRequest(f"{expected} bytes were announced, {size} came")


def _refuse_parts(request: Request) -> None:
    environ = request.environ
    if request.header("Content-Range") is not None:
        raise BadRequest("A part of a file cannot be PUT (RFC 9110 §14.5); send the whole file")
    require_plain_body(environ)
    if environ.get("CONTENT_TYPE", "").lower().startswith(PARTIAL_UPDATE):
        raise UnsupportedMediaType("A partial update is sent by PATCH; by PUT it would be taken for the whole file")
    if request.header("OC-Chunked") is not None:
        raise NotImplementedHere("Chunks by name are not supported; send the whole file by PUT")


def require_plain_body(environ: dict[str, Any]) -> None:
    """Refuse a body that is compressed: its bytes are not those of the file."""
    if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Encoded bodies are not supported; send the bytes as they are")


def body_length(environ: dict[str, Any]) -> int | None:
    """Announced length; None for chunks."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    if not text.isdigit() or len(text) > 18:
        raise BadRequest("Content-Length is no number")
    return int(text)


def announced_digests(request: Request) -> dict[str, str]:
    """What the client says the bytes hash to (RFC 9530, and `OC-Checksum`): hexadecimal, by the name of the hash.

    Raises:
        BadRequest: two fields disagree, or one makes no sense.
    """
    found: dict[str, str] = {}

    def announce(name: str, value: str) -> None:
        if found.setdefault(name, value) != value:
            raise BadRequest("The digests that were announced disagree")

    for field in ("Repr-Digest", "Content-Digest"):
        for algorithm, digest in parse_digest(request.header(field) or "").items():
            announce(algorithm.replace("-", ""), digest.hex())
    match = _OC_CHECKSUM.match(request.header("OC-Checksum") or "")
    if match and LENGTHS.get(match[1].lower()) == len(match[2]):
        announce(match[1].lower(), match[2].lower())
    return found


def pieces(stream: Any, length: int | None) -> Iterator[memoryview]:
    """The body in large pieces, into one buffer where the server's stream can do that."""
    buffer = memoryview(bytearray(min(_PIECE, length) if length is not None else _PIECE))
    left = length
    while left is None or left > 0:
        view = buffer if left is None else buffer[: min(left, len(buffer))]
        if hasattr(stream, "readinto"):
            count = stream.readinto(view)
        else:
            piece = stream.read(len(view))
            count = len(piece)
            view[:count] = piece
        if not count:
            return
        if left is not None:
            left -= count
        yield view[:count]
