"""Uploads in chunks, below `/remote.php/dav/uploads/USER`.

A client makes a collection for an upload, puts the chunks into it, and moves its member `.file` to where the whole is
to be. What has come can be listed, so that an upload that broke off goes on from there. Version 2 of the protocol names
the destination in every request and calls the chunks 1 to 10000; version 1 leaves their names to the client.
"""

from baludav.errors import BadRequest, MethodNotAllowed, NotFound
from baludav.tree.paths import quote
from providers import xml
from providers.cloud.call import Call
from providers.cloud.files import PREFIX
from providers.methods.options import DAV_HEADERS
from providers.methods.put import announced_digests, answer_of, body_length, receive, require_plain_body
from providers.request import Answer, Request, parse_mtime

_WHOLE = ".file"
_ALLOWED = "OPTIONS, MKCOL, PUT, PROPFIND, MOVE, DELETE"
_COLLECTION = "<D:resourcetype><D:collection/></D:resourcetype>"


def uploads(call: Call) -> Answer:
    """Answer a request below `/remote.php/dav/uploads`."""
    if call.method == "OPTIONS":
        return Answer(200, [*DAV_HEADERS, ("Allow", _ALLOWED), ("Content-Length", "0")])
    if not call.path or len(call.path) > 3:
        raise NotFound()
    user, *names = call.path
    call.require_own(user)
    # Conditions and the destination are meant in the user's files.
    request = Request(call.environ, call.house, PREFIX + quote((user,)), (), names_collection=True, is_cloud=True)
    match call.method, *names:
        case "MKCOL", name:
            return _begin(request, name)
        case "PUT", name, part:
            return _take(request, name, part)
        case "PROPFIND", *_:
            return _list(call, request, names)
        case "MOVE", name, part if part == _WHOLE:
            return _finish(request, name)
        case "DELETE", name:
            request.user.drop_upload(name)
            return Answer(204, [])
    raise MethodNotAllowed(headers=(("Allow", _ALLOWED),))


def _begin(request: Request, name: str) -> Answer:
    target = request.destination() if request.header("Destination") else None
    request.user.begin_upload(name, length=_number(request, "OC-Total-Length"), target=target)
    return Answer(201, [("Content-Length", "0")])


def _take(request: Request, name: str, part: str) -> Answer:
    require_plain_body(request.environ)
    length = body_length(request.environ)
    offset = _number(request, "OC-Chunk-Offset")
    if offset is None and "-" in part:  # rclone: first and last byte
        first = part.partition("-")[0]
        offset = int(first) if first.isdigit() and len(first) <= 18 else None
    with request.user.open_part(name, part, offset=offset, length=length) as upload:
        receive(request, upload, length)
        upload.commit()
    return Answer(201, [("Content-Length", "0")])


def _list(call: Call, request: Request, names: list[str]) -> Answer:
    """What has come: the uploads of a user, or the chunks of one of them."""
    depth = request.depth("1", ("0", "1", "infinity"))
    answer = xml.Multistatus()
    href = call.base + quote(call.path[:1])
    match names:
        case []:
            members = [(quote((name,), True), _COLLECTION) for name in request.user.upload_names()]
        case [name]:
            href += quote((name,))
            members = [
                (
                    quote((part.name,)),
                    f"<D:resourcetype/><D:getcontentlength>{part.size}</D:getcontentlength>",
                )
                for part in request.user.upload_parts(name)
            ]
        case _:
            raise NotFound()
    answer.response(f"{href}/", [(200, [_COLLECTION])])
    for member, properties in members if depth != "0" else ():
        answer.response(href + member, [(200, [properties])])
    body = answer.close()
    return Answer(207, [("Content-Type", xml.CONTENT_TYPE), ("Content-Length", str(len(body)))], [body])


def _finish(request: Request, name: str) -> Answer:
    target = request.destination()
    if not target:
        raise BadRequest("The destination must be a file")
    written = request.user.finish_upload(
        name,
        target,
        request.terms,
        overwrite=request.overwrites,
        length=_number(request, "OC-Total-Length"),
        modified_ns=parse_mtime(request.environ),
        announced=announced_digests(request),
    )
    return answer_of(request, target, written)


def _number(request: Request, field: str) -> int | None:
    """A number of bytes in a header field."""
    value = (request.header(field) or "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None
