"""Many small files in one request: POST of `/remote.php/dav/bulk`, as the Nextcloud client sends what is new.

The body is `multipart/related`. Each part is a file, with its length and where it is to go; it is written as by a PUT
of its own and fails alone. The answer tells of each, by its path, what the answer to a PUT says.

A write mostly waits for the disk. Several are under way at a time, as if they had come on several connections, so that
they share their commits; only so many, and of small files, since the bytes of those that wait are in memory.
"""

import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from email.message import Message
from io import BytesIO
from typing import Any

from baludav.errors import BadRequest, Failure, UnsupportedMediaType, broken_off
from baludav.limits.reached import note
from baludav.tree.paths import parse_decoded, quote
from providers.cloud import files
from providers.cloud.call import Call, json_answer
from providers.cloud.properties import permissions
from providers.methods import put
from providers.request import Answer, Request

_PIECE = 64 * 1024  # bytes
_SMALL = 256 * 1024  # bytes of a file that may wait in memory
_WRITERS = 6  # as many as the client would have connections
_MOST_WAITING = 2 * _WRITERS
_MAX_HEAD = 16 * 1024  # bytes of the header fields of a part
_LENGTH = re.compile("[0-9]{1,18}")
_BROKEN_OFF = "The upload broke off; what is not answered for was not stored"
# Of the fields of a part, those that a PUT has as well.
_FIELDS = frozenset(
    {
        "If-Match", "If-None-Match", "OC-Checksum", "X-OC-Mtime", "OC-Conflict", "OC-ConflictBaseFileId",
        "OC-ConflictBaseMtime", "OC-ConflictBaseEtag", "OC-ConflictInitialBasePath",
    }
)  # fmt: skip
Fields = dict[str, str]
Said = dict[str, str | bool]


class _Body:
    """A body that is read in lines and in pieces."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def read(self, most: int) -> bytes:
        """Some of the next bytes.

        Raises:
            BadRequest: there are none.
        """
        if not self._buffer:
            return self._more(min(most, _PIECE))
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        return piece

    def line(self) -> bytes:
        """The next line, without its end.

        Raises:
            BadRequest: it is too long, or does not end.
        """
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise BadRequest("A line between the parts is too long")
            self._buffer += self._more(_PIECE)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _more(self, most: int) -> bytes:
        try:
            piece: bytes = self._stream.read(most)
        except EOFError as error:
            raise broken_off(error, _BROKEN_OFF) from None
        if not piece:
            raise BadRequest(_BROKEN_OFF)
        return piece


class _Part:
    """One file of the body, as `wsgi.input` has the body of a PUT.

    Attributes:
        fields: of its head, by their names in lower case; characters stand for bytes.
        length: in bytes.
    """

    def __init__(self, body: _Body, fields: Fields) -> None:
        self._body = body
        self.fields = fields
        length = fields.get("content-length", "")
        if not _LENGTH.fullmatch(length):
            raise BadRequest("Each part must say its Content-Length")
        self.length = self._left = int(length)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        left = self._left if size < 0 else min(size, self._left)
        pieces = []
        while left:
            piece = self._body.read(left)
            left -= len(piece)
            self._left -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def skip(self) -> None:
        """Read what nobody wanted."""
        while self._left:
            self.read(_PIECE)


def bulk(call: Call) -> Answer:
    """Answer a request on `/remote.php/dav/bulk`."""
    call.require_method("POST")
    answers: dict[str, Future[Said]] = {}
    waiting: deque[Future[Said]] = deque()
    with ThreadPoolExecutor(_WRITERS) as pool:
        for part in _parts(call):
            path = part.fields.get("x-file-path", "").encode("latin-1").decode("utf-8", "surrogateescape")
            if path in answers:
                answers[path].result()  # one after the other
            if part.length <= _SMALL:
                answers[path] = pool.submit(_stored, call, path, part, BytesIO(part.read()))
                waiting.append(answers[path])
            else:
                answers[path] = pool.submit(_stored, call, path, part, part)
                answers[path].result()
                part.skip()
            while len(waiting) > _MOST_WAITING:
                waiting.popleft().result()
    return json_answer(call, {path: answer.result() for path, answer in answers.items()})


def _parts(call: Call) -> Iterator[_Part]:
    """The parts of the body, each to be read before the next one is taken (RFC 2046 §5.1)."""
    kind = Message()
    kind["Content-Type"] = call.environ.get("CONTENT_TYPE", "")
    boundary = kind.get_boundary()
    # Any page may have a browser send multipart/form-data here, with the password that it remembers.
    if kind.get_content_type() != "multipart/related" or not boundary:
        raise UnsupportedMediaType("Send the files as multipart/related")
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    body = _Body(call.environ["wsgi.input"])
    while (line := body.line()) != delimiter:  # what comes before the first part means nothing
        if line == delimiter + b"--":
            return
    while line == delimiter:
        yield _Part(body, _head(body))
        if body.line():
            raise BadRequest("A part is longer than it says")
        line = body.line()
    if line != delimiter + b"--":
        raise BadRequest("The parts are malformed")


def _head(body: _Body) -> Fields:
    fields: Fields = {}
    size = 0
    while line := body.line():
        size += len(line)
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or size > _MAX_HEAD:
            raise BadRequest("The head of a part is malformed or too long")
        fields[name.strip().lower()] = value.strip()
    return fields


def _stored(call: Call, path: str, part: _Part, stream: BytesIO | _Part) -> Said:
    """Write a file; what is said of it, as by its own request and as by the names that clients look for here."""
    try:
        request = _request(call, path, part, stream)
        written = put.write(request)
    except Failure as failure:
        note(call.environ, failure)
        return {"error": True, "message": str(failure)}
    said = dict(put.answer_of(request, request.path, written).headers)
    return {
        "error": False,
        "etag": said["ETag"],
        "fileid": said["OC-FileId"],
        "permissions": permissions(written.resource),
        "OC-ETag": said["OC-ETag"],
        "OC-FileID": said["OC-FileId"],
        "X-OC-MTime": said.get("X-OC-Mtime", ""),
    }


def _request(call: Call, path: str, part: _Part, stream: BytesIO | _Part) -> Request:
    """The PUT that a part stands for."""
    environ = {
        "REQUEST_METHOD": "PUT",
        "CONTENT_LENGTH": str(part.length),
        "wsgi.input": stream,
        "baludav.principal": call.principal,
    }
    for field in _FIELDS:
        if field.lower() in part.fields:
            environ[f"HTTP_{field.upper().replace('-', '_')}"] = part.fields[field.lower()]
    if "x-file-mtime" in part.fields:
        environ.setdefault("HTTP_X_OC_MTIME", part.fields["x-file-mtime"])
    if "x-file-md5" in part.fields:
        environ.setdefault("HTTP_OC_CHECKSUM", f"MD5:{part.fields['x-file-md5'].removeprefix('MD5:')}")
    return Request(
        environ,
        call.house,
        files.PREFIX + quote((call.principal.name,)),
        parse_decoded(path if path.startswith("/") else f"/{path}"),
        names_collection=path.endswith("/"),
        is_cloud=True,
    )
