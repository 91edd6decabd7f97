"""MKCOL (RFC 4918 §9.3, RFC 5689) and DELETE (RFC 4918 §9.6)."""

from baludav.errors import BadRequest, Forbidden, Locked, UnsupportedMediaType
from providers import bodies, values, xml
from providers.live import PROPERTIES, SETTABLE
from providers.request import Answer, Request


def make(request: Request) -> Answer:
    """Answer MKCOL."""
    has_body = request.environ.get("CONTENT_LENGTH", "0") not in ("", "0")
    if has_body and "xml" not in request.environ.get("CONTENT_TYPE", ""):
        raise UnsupportedMediaType("A body of MKCOL must be XML (RFC 5689)")
    dead: dict[str, bytes | None] = {}
    for verb, what in bodies.parse_mkcol(request.body()):
        if verb != "set" or isinstance(what, str):
            continue
        name = str(what.tag)
        if name == "{DAV:}resourcetype":
            if [child.tag for child in what] != ["{DAV:}collection"]:
                raise Forbidden("Only plain collections can be made here", condition="valid-resourcetype")
        elif name in PROPERTIES and name not in SETTABLE:
            raise Forbidden(condition="cannot-modify-protected-property")
        else:
            dead[name] = values.serialize_property(what).encode()
    made = request.user.make_collection(request.path, request.terms, dead).resource
    location = request.href(request.path, is_collection=True)
    about = request.about(made) if request.is_cloud else []
    return Answer(201, [*about, ("Location", location), ("Content-Length", "0")])


def delete(request: Request) -> Answer:
    """Answer DELETE: all of it or nothing."""
    if (request.header("Depth") or "infinity").strip().lower() not in ("infinity", "0"):
        raise BadRequest("Depth must be infinity here")
    request.require_collection_name()
    try:
        request.user.delete(request.path, request.terms)
    except Locked as failure:
        return member_locked(request, request.path, failure)
    return Answer(204, [])


def member_locked(request: Request, path: tuple[str, ...], failure: Locked) -> Answer:
    """423 for the resource itself; 207 that names the member if it is a member's lock (RFC 4918 §9.6.1)."""
    root = failure.lock_root
    if len(root) <= len(path) or root[: len(path)] != path:
        raise failure
    answer = xml.Multistatus()
    answer.status_response(request.href(root, is_collection=False), 423, "lock-token-submitted")
    answer.status_response(request.href(path, is_collection=False), 424)
    body = answer.close()
    return Answer(207, [("Content-Type", xml.CONTENT_TYPE), ("Content-Length", str(len(body)))], [body])
