"""The versions of a user's files, below `/remote.php/dav/versions/USER`.

`versions/ID` holds those of the file with this id, each by the second in which its bytes were made, as clients show,
and its own number. MOVE into `restore` makes it the file's bytes again, whatever the name of the destination.
"""

import re

from baludav.errors import Conflict, MethodNotAllowed, NotFound
from baludav.tree.paths import Path, quote
from baludav.tree.records.history import Version
from providers import xml
from providers.cloud import files, shelf
from providers.cloud.call import Call
from providers.cloud.shelf import COLLECTION, Bytes, Thing
from providers.live import content_type, http_date
from providers.request import Answer, Request, file_id

_ALLOWED = "OPTIONS, PROPFIND, GET, HEAD, MOVE"
_NUMBER = re.compile("[0-9]{1,18}")


def versions(call: Call) -> Answer:
    """Answer a request below `/remote.php/dav/versions`."""
    if call.method == "OPTIONS":
        return shelf.options(_ALLOWED)
    request, names = shelf.own(call)
    match call.method, *names:
        case "PROPFIND", *_:
            return _list(request, names)
        case (("GET" | "HEAD"), "versions", number, name):
            return _send(call, request, _file(request, number), name)
        case "MOVE", "versions", number, name:
            return _restore(call, request, _file(request, number), name)
    raise MethodNotAllowed(headers=(("Allow", _ALLOWED),))


def _list(request: Request, names: list[str]) -> Answer:
    top = Thing(request.mount + quote(tuple(names), True), {"{DAV:}resourcetype": COLLECTION})
    match names:
        case []:
            members = [Thing(f"{top.href}{name}/", top.properties) for name in ("restore", "versions")]
        case ["versions"] | ["restore"]:
            members = []
        case ["versions", number]:
            path = _file(request, number)
            members = [_thing(request, path, top.href, one) for one in request.user.versions(path)]
        case ["versions", number, name]:
            path = _file(request, number)
            href = request.mount + quote(("versions", number), True)
            top, members = _thing(request, path, href, _named(request, path, name)), []
        case _:
            raise NotFound()
    return shelf.listed(request, top, members)


def _send(call: Call, request: Request, path: Path, name: str) -> Answer:
    version = _named(request, path, name)
    headers = [("Content-Type", content_type(path[-1])), ("Last-Modified", _modified(version))]
    if version.sha256 is not None:
        headers.append(("ETag", f'"{version.sha256}"'))
    return shelf.sent(call, Bytes(request.user.open_version(path, version.id), version.size), headers)


def _restore(call: Call, request: Request, path: Path, name: str) -> Answer:
    destination = request.destination()
    if len(destination) != 2 or destination[0] != "restore":
        raise Conflict("A version can only be moved into restore")
    written = request.user.restore_version(path, _named(request, path, name).id)
    href = files.PREFIX + quote((call.path[0], *path))
    return Answer(204, [*request.about(written.resource), ("Location", href)])


def _file(request: Request, number: str) -> Path:
    """The path of the file that a client names by its number, or by the number and the installation."""
    digits = number.partition("oc")[0]
    if not _NUMBER.fullmatch(digits) or number not in (digits, file_id(int(digits), request.house.instance)):
        raise NotFound()
    return request.user.find(int(digits))


def _named(request: Request, path: Path, name: str) -> Version:
    for version in request.user.versions(path):
        if _name(version) == name:
            return version
    raise NotFound("There is no such version")


def _name(version: Version) -> str:
    return f"{max(0, version.mtime_ns // 1_000_000_000)}.{version.id}"


def _modified(version: Version) -> str:
    return http_date(max(0, version.mtime_ns // 1_000_000_000))


def _thing(request: Request, path: Path, href: str, version: Version) -> Thing:
    properties = {
        "{DAV:}displayname": xml.text(path[-1]),
        "{DAV:}resourcetype": "",
        "{DAV:}getlastmodified": _modified(version),
        "{DAV:}getcontentlength": str(version.size),
        "{DAV:}getcontenttype": content_type(path[-1]),
        "{DAV:}getetag": f'"{version.sha256 or version.id}"',
        xml.OC + "size": str(version.size),
    }
    return Thing(href + quote((_name(version),)), properties)
