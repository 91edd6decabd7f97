"""Conflict copies that sync clients send (`OC-Conflict`): what they say of them is kept, and said again.

Both edited a file, and the client keeps its own beside the other's. It names the file that the copy is of, and which
bytes both had before; another client that gets the copy learns so what it is.
"""

import re

from lxml import etree

from baludav.errors import Failure
from baludav.tree.paths import Path, parse, quote
from baludav.tree.reading import Resource
from providers import bodies, values
from providers.request import Headers, Request

_FIELDS = ("OC-ConflictBaseFileId", "OC-ConflictBaseMtime", "OC-ConflictBaseEtag", "OC-ConflictInitialBasePath")
_PROPERTY = "{urn:baludav:cloud}conflict"
_ETAG = re.compile(r'"?([0-9a-f]{64})"?')
_LONGEST = 4096  # characters


def keep(request: Request, copy: Resource) -> None:
    """Keep what a client says of the conflict copy that it has just sent."""
    said = {name: value for name in _FIELDS if (value := request.header(name)) and len(value) <= _LONGEST}
    if request.header("OC-Conflict") != "1" or not said:
        return
    element = etree.Element(_PROPERTY, nsmap={"b": "urn:baludav:cloud"})
    for name, value in said.items():
        etree.SubElement(element, f"{{urn:baludav:cloud}}{name}").text = value
    try:
        request.user.patch(copy.path, request.submitted, {_PROPERTY: values.serialize_property(element).encode()})
    except Failure:
        return  # the copy itself is there
    base = _base(said.get("OC-ConflictInitialBasePath", ""))
    if base is not None:
        known = _ETAG.fullmatch(said.get("OC-ConflictBaseEtag", ""))
        request.user.note_copy(base, known[1] if known else None, copy)


def fields(request: Request, resource: Resource) -> Headers:
    """The same fields again, in the answer with the bytes."""
    kept = request.user.properties(resource).get(_PROPERTY)
    if kept is None:
        return []
    said = bodies.parse_property(kept.decode())
    found = {etree.QName(one).localname: one.text or "" for one in said}
    return [("OC-Conflict", "1"), *((name, found[name]) for name in _FIELDS if name in found)]


def _base(text: str) -> Path | None:
    """The path of the file that a copy is of; the client sends it as it is, not percent-encoded."""
    try:
        names = text.encode("latin-1").decode("utf-8").split("/")
        return parse(quote(tuple(filter(None, names))))[0] or None
    except (UnicodeError, Failure):
        return None
