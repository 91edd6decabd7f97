"""PROPFIND (RFC 4918 §9.1)."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from baludav.errors import Forbidden, NotFound
from baludav.tree.reading import Resource
from providers import bodies, xml
from providers.live import IN_ALLPROP, PROPERTIES, SETTABLE, Live
from providers.request import Answer, Request

_GATHERED = 4 << 20  # bytes of an answer in memory; a larger one is made while it is sent
_NONE: Mapping[str, bytes] = {}
_QUOTA = {"{DAV:}quota-used-bytes", "{DAV:}quota-available-bytes"}
# macOS 15.4 and later hang for 90 seconds when these old names are asked and the quota is answered.
_OLD_QUOTA = {"{DAV:}quota", "{DAV:}quotaused"}


def handle(request: Request) -> Answer:
    """Answer PROPFIND."""
    depth = request.depth("infinity", ("0", "1", "infinity"))
    wanted = bodies.parse_propfind(request.body())
    top = request.look()
    request.user.check_if(request.path, request.terms)
    levels = list(_levels(request, top, depth))  # what may be refused is, before an answer begins
    make = Properties(request, wanted)
    pieces = iter(xml.Multistatus(ready for level in levels for ready in make.responses(level)))
    gathered: list[bytes] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size > _GATHERED:
            return Answer(207, [("Content-Type", xml.CONTENT_TYPE)], chain(gathered, pieces))
    return Answer(207, [("Content-Type", xml.CONTENT_TYPE), ("Content-Length", str(size))], gathered)


def _levels(request: Request, top: Resource, depth: str) -> Iterator[list[Resource]]:
    """The resources to describe, the one asked for first, a collection's members together."""
    yield [top]
    if depth == "0" or not top.is_collection:
        return
    limit = request.house.config.settings.limits.listing
    left, count = [top], 1
    while left:
        try:
            members = request.user.members(left.pop())
        except NotFound:
            continue  # it went while we looked
        yield members
        if depth == "1":
            return
        count += len(members)
        if count > limit:
            told = f"More than {limit} resources; ask with Depth 1"
            raise Forbidden(told, condition="propfind-finite-depth").at("listing")
        left += [member for member in reversed(members) if member.is_collection]


class Properties:
    """Makes the response elements of one PROPFIND or REPORT."""

    def __init__(self, request: Request, wanted: bodies.Wanted) -> None:
        self._request = request
        self._kind = wanted.kind
        self._names = _without_quota(wanted.names)
        self._live = Live(request, self._names)
        self._is_brief = (request.header("Brief") or "").strip().lower() == "t" or "return=minimal" in (
            request.header("Prefer") or ""
        ).replace(" ", "")
        asked = self._names if self._kind == "prop" else ()
        # The usual properties are live: then the dead ones need not be read at all.
        self._needs_dead = self._kind != "prop" or any(name not in PROPERTIES or name in SETTABLE for name in asked)

    def responses(self, resources: list[Resource]) -> Iterable[str]:
        dead = self._request.user.properties_of(resources) if self._needs_dead else {}
        self._live.begin(resources)
        for resource in resources:
            href = self._request.href(resource.path, is_collection=resource.is_collection)
            of_this = dead.get(resource.id, _NONE) if resource.id is not None else _NONE
            yield xml.response(href, self._propstats(resource, of_this))

    def _propstats(self, resource: Resource, dead: Mapping[str, bytes]) -> list[tuple[int, list[str]]]:
        if self._kind == "propname":
            return [(200, [xml.fragment(name) for name in self._all_names(resource, dead)])]
        found: list[str] = []
        missing: list[str] = []
        names: Iterable[str] = self._names
        if self._kind == "allprop":
            names = dict.fromkeys((*IN_ALLPROP, *dead, *self._names))
        for name in names:
            value = dead.get(name)
            made = value.decode() if value is not None else self._live.value(name, resource)
            if made is not None:
                found.append(made)
            elif self._kind == "prop" or name in self._names:
                missing.append(xml.fragment(name))
        if self._is_brief or not missing:
            return [(200, found)]
        return [(200, found), (404, missing)] if found else [(404, missing)]

    def _all_names(self, resource: Resource, dead: Mapping[str, bytes]) -> list[str]:
        live = [name for name in PROPERTIES if self._live.value(name, resource) is not None]
        return list(dict.fromkeys((*live, *dead)))


def _without_quota(names: tuple[str, ...]) -> tuple[str, ...]:
    if not _OLD_QUOTA.intersection(names):
        return names
    return tuple(name for name in names if name not in _QUOTA)
