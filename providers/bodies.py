"""What the XML bodies of requests say.

They come from anyone who can sign in, so they are read in two steps: a parser that refuses document types and
entities counts elements and depth without keeping anything, then the tree is built.

Names of properties are in Clark notation: `{DAV:}getetag`; `name` alone is in no namespace.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import DefusedXMLParser
from lxml import etree

from baludav.errors import BadRequest, Failure, Forbidden, TooLarge, UnsupportedMediaType
from providers.values import serialize_property

MAX_DEPTH = 64
MAX_ELEMENTS = 20_000  # and attributes
MAX_NAMESPACES = 128  # declared at the same time
# An answer repeats each name with its namespace, for each resource; in the body a namespace of any length stands once.
MAX_NAME = 1_000  # characters of a name with its namespace
MAX_NAMES = 16_000  # characters of all that a PROPFIND or REPORT asks for

_PIECE = 65536  # bytes


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """The whole body of a WSGI request.

    Args:
        limit: bytes.
    Raises:
        TooLarge: more than `limit` was announced or sent (413).
        BadRequest: fewer bytes came than were announced, or the length is no number (400).
        UnsupportedMediaType: the body has a content coding (RFC 9110 §8.4, 415).
    """
    if environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("Send the body without Content-Encoding")
    told = f"This body may have {limit} bytes at most"
    announced = environ.get("CONTENT_LENGTH") or None
    is_chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    if is_chunked or (announced is None and environ.get("wsgi.input_terminated")):
        body = _read(environ["wsgi.input"], limit + 1)
        if len(body) > limit:
            raise TooLarge(told)
        return body
    if announced is None:
        return b""
    if not re.fullmatch("[0-9]+", announced):
        raise BadRequest("Content-Length is not a number")
    if len(announced) > 19 or int(announced) > limit:
        raise TooLarge(told)
    length = int(announced)
    body = _read(environ["wsgi.input"], length)
    if len(body) < length:
        raise BadRequest("The body is shorter than announced")
    return body


def parse_body(data: bytes) -> etree._Element | None:
    """The root element of a request body, without comments and processing instructions; None for an empty body.

    Any encoding that the body declares or marks is taken.

    Raises:
        BadRequest: malformed, too many or too deep elements, or with a document type (RFC 4918 §20.6, 400).
    """
    data = data.lstrip(b" \t\r\n")
    if not data:
        return None
    try:
        gate = DefusedXMLParser(target=_Gate(), forbid_dtd=True)
        gate.feed(data)
        gate.close()
        root = etree.fromstring(data, _parser())
    except (ParseError, etree.LxmlError, ValueError, LookupError) as error:
        raise BadRequest("The body is not well-formed XML, or uses a document type") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise BadRequest("The body uses a document type")
    return root


class Wanted(NamedTuple):
    """What a PROPFIND asks for.

    Attributes:
        kind: the element that stood in the body.
        names: of `prop`, or those that `allprop` is to include; each once.
    """

    kind: Literal["allprop", "propname", "prop"]
    names: tuple[str, ...] = ()


def parse_propfind(root: etree._Element | None) -> Wanted:
    """The body of PROPFIND (RFC 4918 §9.1, §14.20); no body asks for `allprop`.

    Unknown elements and text are ignored (§17).

    Raises:
        BadRequest: not exactly one of `allprop`, `propname` and `prop` (400).
    """
    if root is None:
        return Wanted("allprop")
    _expect(root, "propfind")
    choices = [child for child in root if child.tag in ("{DAV:}allprop", "{DAV:}propname", "{DAV:}prop")]
    if len(choices) != 1:
        raise BadRequest("propfind must hold one of allprop, propname and prop")
    match choices[0].tag:
        case "{DAV:}propname":
            return Wanted("propname")
        case "{DAV:}prop":
            return Wanted("prop", _names([choices[0]]))
        case _:
            return Wanted("allprop", _names(root.findall("{DAV:}include")))


class SyncCollection(NamedTuple):
    """What a sync-collection REPORT asks for (RFC 6578 §6.1).

    Attributes:
        token: empty for everything.
        limit: most responses; None without a limit.
    """

    token: str
    is_deep: bool
    limit: int | None
    wanted: Wanted


def parse_sync_collection(root: etree._Element | None, depth: str | None) -> SyncCollection:
    """The body of REPORT; of all reports, only `sync-collection` is known.

    Args:
        depth: header of the request, in which an early draft put the level.
    Raises:
        Forbidden: another report (RFC 3253 §3.6, `supported-report`).
        BadRequest: an element is missing or makes no sense.
    """
    if root is None:
        raise BadRequest("A REPORT needs a body that says which")
    if root.tag != "{DAV:}sync-collection":
        raise Forbidden("The only report is sync-collection", condition="supported-report")
    level = (root.findtext("{DAV:}sync-level") or depth or "").strip()
    if level not in ("1", "infinite", "infinity"):
        raise BadRequest("sync-level must be 1 or infinite")
    limit = root.findtext("{DAV:}limit/{DAV:}nresults")
    if limit is not None and not re.fullmatch("[1-9][0-9]{0,8}", limit.strip()):
        raise BadRequest("nresults must be a positive number")
    props = root.findall("{DAV:}prop")
    return SyncCollection(
        (root.findtext("{DAV:}sync-token") or "").strip(),
        level != "1",
        None if limit is None else int(limit),
        Wanted("prop", _names(props)),
    )


Instruction = tuple[Literal["set"], etree._Element] | tuple[Literal["remove"], str]


def parse_proppatch(root: etree._Element | None) -> list[Instruction]:
    """What a PROPPATCH does, in the order of the document (RFC 4918 §9.2, §14.19).

    Returns:
        `("set", element)`, for `serialize_property`, and `("remove", name)`.
    Raises:
        BadRequest: no `propertyupdate`, or nothing in it (400).
    """
    return _instructions(_expect(root, "propertyupdate"), ("set", "remove"))


def parse_mkcol(root: etree._Element | None) -> list[Instruction]:
    """The properties that an extended MKCOL sets (RFC 5689 §3, §5.1), as from `parse_proppatch`; none without a body.

    Raises:
        UnsupportedMediaType: the root is another element (RFC 4918 §9.3.1, 415).
        BadRequest: nothing is set (400).
    """
    if root is None:
        return []
    if root.tag != "{DAV:}mkcol":
        raise UnsupportedMediaType
    return _instructions(root, ("set",))


@dataclass(frozen=True, slots=True)
class LockInfo:
    """A new lock.

    Attributes:
        exclusive: False for a shared lock.
        owner_xml: the `DAV:owner` element as by `serialize_property`, empty without one.
    """

    exclusive: bool
    owner_xml: str


def parse_lockinfo(root: etree._Element | None) -> LockInfo:
    """The body of a LOCK that creates a lock (RFC 4918 §9.10.1, §14.11); unknown elements are ignored.

    Raises:
        BadRequest: not one scope, or not a write lock (400).
    """
    info = _expect(root, "lockinfo")
    scopes = {
        child.tag for child in info.iterfind("{DAV:}lockscope/*") if child.tag in ("{DAV:}exclusive", "{DAV:}shared")
    }
    if len(scopes) != 1:
        raise BadRequest("lockinfo must hold one lockscope, exclusive or shared")
    if info.find("{DAV:}locktype/{DAV:}write") is None:
        raise BadRequest("lockinfo must hold the locktype write; there is no other")
    owner = info.find("{DAV:}owner")
    return LockInfo("{DAV:}exclusive" in scopes, "" if owner is None else serialize_property(owner))


def parse_property(fragment: str) -> etree._Element:
    """The element that `serialize_property` wrote."""
    root = parse_body(fragment.encode())
    if root is None:
        raise BadRequest("A property cannot be empty")
    return root


class _Gate:
    """Sees each element before any tree exists, and lets only so many and so deep ones pass.

    Namespaces are bounded because every look at one is a walk through all that are in scope.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._count = 0
        self._namespaces = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if len(tag) > MAX_NAME or any(len(name) > MAX_NAME for name in attributes):
            raise BadRequest("A name in the body, with its namespace, is too long")
        self._depth += 1
        self._count += 1 + len(attributes)
        if self._depth > MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise BadRequest("The body holds too many elements, or too deep ones")

    def end(self, _tag: str) -> None:
        self._depth -= 1

    def start_ns(self, _prefix: str, _uri: str) -> None:
        self._namespaces += 1
        if self._namespaces > MAX_NAMESPACES:
            raise BadRequest("The body declares too many namespaces")

    def end_ns(self, _prefix: str) -> None:
        self._namespaces -= 1

    def close(self) -> None:
        pass


def _parser() -> etree.XMLParser:
    # The gate has let no document type pass; should the two parsers ever disagree, this one opens nothing either.
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )


def _read(stream: Any, length: int) -> bytes:
    pieces = []
    while length > 0:
        try:
            piece = stream.read(min(length, _PIECE))
        except (EOFError, OSError, ValueError) as error:
            if isinstance(error, Failure):
                raise  # its reader has named it
            raise BadRequest("The body broke off") from error
        if not piece:
            break
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _expect(root: etree._Element | None, name: str) -> etree._Element:
    if root is None or root.tag != f"{{DAV:}}{name}":
        raise BadRequest(f"The body must be a DAV:{name} element")
    return root


def _names(elements: Iterable[etree._Element]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(str(child.tag) for element in elements for child in element))
    if sum(map(len, names)) > MAX_NAMES:
        raise BadRequest("The body asks for too many properties")
    return names


def _instructions(root: etree._Element, verbs: tuple[str, ...]) -> list[Instruction]:
    instructions: list[Instruction] = []
    for update in root:
        verb = str(update.tag).removeprefix("{DAV:}")
        if verb not in verbs:
            continue
        for element in update.iterfind("{DAV:}prop/*"):
            instructions.append(("set", element) if verb == "set" else ("remove", str(element.tag)))
    if not instructions:
        raise BadRequest("The body names no property")
    return instructions
