"""The trash of a user, below `/remote.php/dav/trashbin/USER`.

`trash` holds what was deleted, each thing by its own name and the number that tells it from others of this name. It
is removed for good by DELETE, as is everything by DELETE of `trash` itself. MOVE into `restore` brings a thing back to
where it was, whatever the name of the destination.
"""

import os

from baludav.errors import Conflict, MethodNotAllowed, NotFound
from baludav.tree.paths import is_visible, quote
from baludav.tree.restoring import TrashEntry
from providers import xml
from providers.cloud import files, shelf
from providers.cloud.call import Call
from providers.cloud.shelf import COLLECTION, Bytes, Thing
from providers.live import content_type, http_date
from providers.request import Answer, Request, file_id

_ALLOWED = "OPTIONS, PROPFIND, GET, HEAD, MOVE, DELETE"
_LONGEST = 230  # bytes of a name, so that it can be one with the number too


def trashbin(call: Call) -> Answer:
    """Answer a request below `/remote.php/dav/trashbin`."""
    if call.method == "OPTIONS":
        return shelf.options(_ALLOWED)
    request, names = shelf.own(call)
    match call.method, *names:
        case "PROPFIND", *_:
            return _list(request, names)
        case (("GET" | "HEAD"), "trash", name):
            return _send(call, request, name)
        case "MOVE", "trash", name:
            return _restore(call, request, name)
        case "DELETE", "trash":
            request.user.empty_trash()
            return Answer(204, [])
        case "DELETE", "trash", name:
            request.user.remove_trashed(_named(request, name).deleted.resource_id)
            return Answer(204, [])
    raise MethodNotAllowed(headers=(("Allow", _ALLOWED),))


def _list(request: Request, names: list[str]) -> Answer:
    top = Thing(request.mount + quote(tuple(names), True), {"{DAV:}resourcetype": COLLECTION})
    match names:
        case []:
            members = [Thing(f"{top.href}{name}/", top.properties) for name in ("restore", "trash")]
        case ["trash"]:
            members = [_thing(request, entry) for entry in request.user.trash() if _is_shown(entry)]
        case ["trash", name]:
            # What a collection holds is not listed: it comes back with it, or not at all.
            top, members = _thing(request, _named(request, name)), []
        case ["restore"]:
            members = []
        case _:
            raise NotFound()
    return shelf.listed(request, top, members)


def _send(call: Call, request: Request, name: str) -> Answer:
    entry = _named(request, name)
    if entry.is_collection:
        raise NotFound()
    fd = request.user.open_trashed(entry.deleted.resource_id)
    headers = [("Content-Type", content_type(entry.path[-1])), ("Last-Modified", _modified(entry))]
    return shelf.sent(call, Bytes(fd, os.fstat(fd).st_size), headers)


def _restore(call: Call, request: Request, name: str) -> Answer:
    destination = request.destination()
    if len(destination) != 2 or destination[0] != "restore":
        raise Conflict("What is in the trash can only be moved into restore")
    back = request.user.restore_deleted(_named(request, name).deleted.resource_id).resource
    href = files.PREFIX + quote((call.path[0], *back.path), back.is_collection)
    return Answer(201, [*request.about(back), ("Location", href), ("Content-Length", "0")])


def _named(request: Request, name: str) -> TrashEntry:
    """What goes by a name in the trash."""
    number = name.rpartition(".d")[2]
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise NotFound()
    entry = request.user.trashed(int(number))
    if _name(entry) != name:
        raise NotFound()
    return entry


def _name(entry: TrashEntry) -> str:
    shortened = entry.path[-1].encode(errors="replace")[:_LONGEST].decode(errors="ignore")
    return f"{shortened}.d{entry.deleted.resource_id}"


def _is_shown(entry: TrashEntry) -> bool:
    return all(map(is_visible, entry.path))


def _modified(entry: TrashEntry) -> str:
    return http_date(max(0, entry.modified_ns // 1_000_000_000))


def _thing(request: Request, entry: TrashEntry) -> Thing:
    deleted, name = entry.deleted, xml.text(entry.path[-1])
    properties = {
        "{DAV:}displayname": name,
        "{DAV:}resourcetype": COLLECTION if entry.is_collection else "",
        "{DAV:}getlastmodified": _modified(entry),
        "{DAV:}getetag": f'"{deleted.resource_id}-{deleted.deleted_ns}"',
        xml.OC + "id": file_id(deleted.resource_id, request.house.instance),
        xml.OC + "fileid": str(deleted.resource_id),
        xml.OC + "size": str(deleted.size),
        xml.OC + "permissions": "GD",
        xml.NC + "trashbin-filename": name,
        xml.NC + "trashbin-original-location": xml.text("/".join(entry.path)),
        xml.NC + "trashbin-deletion-time": str(deleted.deleted_ns // 1_000_000_000),
    }
    if not entry.is_collection:
        properties["{DAV:}getcontentlength"] = str(deleted.size)
        properties["{DAV:}getcontenttype"] = content_type(entry.path[-1])
    return Thing(request.mount + quote(("trash", _name(entry)), entry.is_collection), properties)
