"""Resumable uploads by tus 1.0 (https://tus.io/protocols/resumable-upload), at `/uploads/`.

A creation names in its metadata where the file is to go; its conditions hold for the write at the end, which is that of
a PUT. Extensions: creation, creation-with-upload, checksum, expiration, termination, concatenation.
"""

import base64
import binascii
import json
from typing import Any, NamedTuple

from baludav.errors import (
    BadRequest,
    Failure,
    Forbidden,
    MethodNotAllowed,
    PreconditionFailed,
    UnsupportedMediaType,
    broken_off,
)
from baludav.tree.appending import Appended
from baludav.tree.paths import Path, parse_decoded, quote
from baludav.tree.records.uploads import Begun
from providers.house import House
from providers.live import http_date
from providers.methods.put import body_length, pieces, require_plain_body
from providers.request import Answer, Headers, Request, parse_mtime

PREFIX = "/uploads"
VERSION = "1.0.0"
_RESUMABLE = ("Tus-Resumable", VERSION)
_EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination,concatenation"
_ALGORITHMS = ("sha1", "sha256", "md5")
_ALLOWED = "OPTIONS, POST, HEAD, PATCH, DELETE"
_BYTES = "application/offset+octet-stream"
_CONDITIONS = ("HTTP_IF", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_UNMODIFIED_SINCE")
_PARTIAL, _FINAL = "partial", "final;"


class _Note(NamedTuple):
    """What a client says when it creates an upload, besides length and target.

    Attributes:
        metadata: the field Upload-Metadata.
        concat: the field Upload-Concat.
        conditions: those of the write at the end, as in a WSGI environ.
        modified_ns: modification time the client wants kept.
    """

    metadata: str
    concat: str
    conditions: dict[str, str]
    modified_ns: int | None


def answer(environ: dict[str, Any], house: House, path: Path) -> Answer:
    """Answer a request below `/uploads`.

    Args:
        environ: `baludav.mount` is the URL path of the tree, in which conditions are meant.
        path: below `/uploads`: nothing, or the id of an upload.
    """
    try:
        # For clients in front of which something knows no PATCH and DELETE.
        method = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE") or environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            return _options(house)
        if environ.get("HTTP_TUS_RESUMABLE") != VERSION:
            raise PreconditionFailed(f"This server speaks tus {VERSION}", headers=(("Tus-Version", VERSION),))
        request = Request(environ, house, environ["baludav.mount"], (), names_collection=False)
        status, headers, body = _answer(request, method, path)
        return Answer(status, [_RESUMABLE, *headers], body)
    except Failure as failure:
        failure.headers = (_RESUMABLE, *failure.headers)
        raise


def _options(house: House) -> Answer:
    headers = [
        _RESUMABLE, ("Tus-Version", VERSION), ("Tus-Extension", _EXTENSIONS),
        ("Tus-Checksum-Algorithm", ",".join(_ALGORITHMS)), ("Allow", _ALLOWED),
    ]  # fmt: skip
    if house.tree.limits.upload is not None:
        headers.append(("Tus-Max-Size", str(house.tree.limits.upload)))
    return Answer(204, headers)


def _answer(request: Request, method: str, path: Path) -> Answer:
    match method, *path:
        case ("POST",):
            return _create(request)
        case "HEAD", upload_id:
            return _tell(request.user.appended(upload_id))
        case "PATCH", upload_id:
            return _patch(request, request.user.appended(upload_id).upload)
        case "DELETE", upload_id:
            request.user.drop_upload(request.user.appended(upload_id).upload.name)
            return Answer(204, [])
    raise MethodNotAllowed(headers=(("Allow", _ALLOWED),))


def _create(request: Request) -> Answer:
    metadata = _metadata(request.header("Upload-Metadata") or "")
    concat = request.header("Upload-Concat") or ""
    note = _Note(
        request.header("Upload-Metadata") or "", concat,
        {name: request.environ[name] for name in _CONDITIONS if name in request.environ},
        parse_mtime({"HTTP_X_OC_MTIME": metadata.get("mtime")}),
    )  # fmt: skip
    target = None if concat == _PARTIAL else _target(metadata)
    if concat.startswith(_FINAL) and target is not None:
        if request.header("Upload-Length") is not None:
            raise BadRequest("The length of a final upload is that of its parts")
        ids = [_id(url) for url in concat.removeprefix(_FINAL).split()]
        now = request.user.concatenate(ids, target, request.terms, note=json.dumps(note), modified_ns=note.modified_ns)
    elif concat not in ("", _PARTIAL):
        raise BadRequest("Upload-Concat is neither partial nor final")
    else:
        now = _begin(request, target, note)
    return Answer(201, [("Location", f"{PREFIX}{_path(now.upload)}"), *_about(request, now), ("Content-Length", "0")])


def _begin(request: Request, target: Path | None, note: _Note) -> Appended:
    length = _number(request, "Upload-Length")
    upload = request.user.create_upload(length, target, request.terms, note=json.dumps(note))
    if length and not _has_bytes(request):
        return Appended(upload, 0)
    try:
        return _append(request, upload, 0)
    except BaseException:
        request.user.drop_upload(upload.name)  # the client is not told its address
        raise


def _patch(request: Request, upload: Begun) -> Answer:
    if not _has_bytes(request):
        raise UnsupportedMediaType(f"The body must be {_BYTES}")
    if _note_of(upload).concat.startswith(_FINAL):
        raise Forbidden("A final upload is complete")
    return Answer(204, _about(request, _append(request, upload, _number(request, "Upload-Offset"))))


def _append(request: Request, upload: Begun, offset: int) -> Appended:
    note = _note_of(upload)
    require_plain_body(request.environ)
    length = body_length(request.environ)
    # A condition of this request counts instead of the one at the beginning.
    ending = Request({**note.conditions, **request.environ}, request.house, request.mount, (), names_collection=False)
    try:
        return request.user.append(
            upload, offset, pieces(request.environ["wsgi.input"], length), ending.terms, length=length,
            checksums=_checksum(request), modified_ns=note.modified_ns,
        )  # fmt: skip
    except EOFError as error:
        raise broken_off(error, "The upload broke off; ask how much has come") from None


def _tell(now: Appended) -> Answer:
    """How far an upload has come, and what was said at its beginning."""
    note = _note_of(now.upload)
    headers = [("Upload-Length", str(now.upload.length)), ("Cache-Control", "no-store"), *_progress(now)]
    headers += [("Upload-Metadata", note.metadata)] if note.metadata else []
    headers += [("Upload-Concat", note.concat)] if note.concat else []
    return Answer(200, [*headers, ("Content-Length", "0")])


def _about(request: Request, now: Appended) -> Headers:
    """How far an upload has come, and the resource if that is all."""
    headers = _progress(now)
    if now.written is not None:
        resource = now.written.resource
        headers += [*request.about(resource), ("Content-Location", request.href(resource.path, is_collection=False))]
    return headers


def _progress(now: Appended) -> Headers:
    return [("Upload-Offset", str(now.offset)), ("Upload-Expires", http_date(int(now.upload.ends_at)))]


def _has_bytes(request: Request) -> bool:
    return bool(request.environ.get("CONTENT_TYPE", "").strip().lower() == _BYTES)


def _number(request: Request, field: str) -> int:
    """A number of bytes in a header field."""
    value = request.header(field) or ""
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise BadRequest(f"{field} is missing or no number")
    return int(value)


def _metadata(field: str) -> dict[str, str]:
    """Keys and values of Upload-Metadata; values that are no text are left out."""
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, field.split(","))):
        key, _, value = pair.partition(" ")
        if key in found:
            raise BadRequest("Upload-Metadata has a key twice")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except UnicodeDecodeError:
            continue
        except (binascii.Error, ValueError) as error:
            raise BadRequest("Upload-Metadata is not in Base64") from error
    return found


def _target(metadata: dict[str, str]) -> Path:
    """Where a file is to go: `path`, or `filename` at the top or in the collection that `path` names."""
    path, name = metadata.get("path", ""), metadata.get("filename", "")
    if not path or path.endswith("/"):
        if not name or "/" in name:
            raise BadRequest("Upload-Metadata must name the path, or the filename")
        path += name
    return parse_decoded(path if path.startswith("/") else f"/{path}")


def _checksum(request: Request) -> dict[str, str]:
    """Upload-Checksum: lower-case hexadecimal, by the name of the hash."""
    field = request.header("Upload-Checksum")
    if field is None:
        return {}
    algorithm, _, value = field.strip().partition(" ")
    if algorithm not in _ALGORITHMS:
        raise BadRequest(f"The checksum must be one of {', '.join(_ALGORITHMS)}")
    try:
        return {algorithm: base64.b64decode(value, validate=True).hex()}
    except (binascii.Error, ValueError) as error:
        raise BadRequest("Upload-Checksum is not in Base64") from error


def _note_of(upload: Begun) -> _Note:
    return _Note._make(json.loads(upload.note or "null"))


def _path(upload: Begun) -> str:
    return quote((upload.name.removeprefix("/"),))


def _id(url: str) -> str:
    """The id in the address of an upload, which may be a whole URL."""
    before, _, upload_id = url.rpartition("/")
    if not before.endswith(PREFIX):
        raise BadRequest("Upload-Concat names what is no upload")
    return upload_id
