"""PROPPATCH (RFC 4918 §9.2): all of it or nothing."""

from collections.abc import Callable
from datetime import datetime

from baludav.tree.http.preconditions import parse_date
from providers import bodies, values, xml
from providers.live import PROPERTIES, SETTABLE
from providers.request import Answer, Request

_WIN32 = "{urn:schemas-microsoft-com:}"


def _seconds_or_date(text: str) -> int | None:
    """Unix seconds, as rclone sends them, or the date of older Cyberducks."""
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return parse_date(text)


def _iso(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError):
        return None


# Properties by which clients set the times of a resource, and how they write them.
_MODIFIED: dict[str, Callable[[str], int | None]] = {
    "{DAV:}getlastmodified": parse_date,
    "{DAV:}lastmodified": _seconds_or_date,
    "{SAR:}lastmodified": parse_date,  # of Cyberduck and Mountain Duck
    f"{_WIN32}Win32LastModifiedTime": parse_date,
}
_CREATED: dict[str, Callable[[str], int | None]] = {
    "{DAV:}creationdate": _iso,
    f"{_WIN32}Win32CreationTime": parse_date,
}
_NOT_KEPT = {"{DAV:}getlastmodified", "{DAV:}lastmodified", "{DAV:}creationdate"}
_SETTABLE = {*SETTABLE, *_MODIFIED, *_CREATED}


def handle(request: Request) -> Answer:
    """Answer PROPPATCH."""
    instructions = bodies.parse_proppatch(request.body())
    resource = request.look()
    dead: dict[str, bytes | None] = {}
    times: dict[str, int] = {}
    failed: dict[str, int] = {}
    names: dict[str, None] = {}
    for verb, what in instructions:
        name = what if isinstance(what, str) else str(what.tag)
        names[name] = None
        if name in PROPERTIES and name not in (_SETTABLE if verb == "set" else SETTABLE):
            failed[name] = 403
            continue
        if isinstance(what, str):
            dead[name] = None
            continue
        for kind, known in (("modified", _MODIFIED), ("created", _CREATED)):
            if name in known:
                seconds = known[name](what.text or "")
                if seconds is None or not 0 <= seconds < 7_258_118_400:
                    failed[name] = 409
                else:
                    times[kind] = seconds * 1_000_000_000
        if name not in _NOT_KEPT:
            dead[name] = values.serialize_property(what).encode()
    if not failed:
        request.user.patch(
            resource.path, request.terms, dead, modified_ns=times.get("modified"), created_ns=times.get("created")
        )
    return _answer(request, resource.is_collection, list(names), failed)


def _answer(request: Request, is_collection: bool, names: list[str], failed: dict[str, int]) -> Answer:
    propstats: list[xml.Propstat] = []
    if not failed:
        propstats.append(xml.Propstat(200, [xml.fragment(name) for name in names]))
    else:
        for status in sorted(set(failed.values())):
            of_it = [xml.fragment(name) for name, found in failed.items() if found == status]
            condition = "cannot-modify-protected-property" if status == 403 else None
            propstats.append(xml.Propstat(status, of_it, condition))
        others = [xml.fragment(name) for name in names if name not in failed]
        if others:
            propstats.append(xml.Propstat(424, others))
    answer = xml.Multistatus()
    answer.response(request.href(request.path, is_collection=is_collection), propstats)
    body = answer.close()
    return Answer(207, [("Content-Type", xml.CONTENT_TYPE), ("Content-Length", str(len(body)))], [body])
