"""DAV XML in answers, joined from strings.

Fragments are complete wherever they stand, but may use the prefixes `D:` for `DAV:` and, in a multistatus, `oc:` and
`nc:` for the namespaces of the ownCloud and Nextcloud clients.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from baludav.errors import status_line

CONTENT_TYPE = "application/xml; charset=utf-8"
"""Exactly so: sync clients take no other case, quoting or type."""

OC = "{http://owncloud.org/ns}"
NC = "{http://nextcloud.org/ns}"

_PIECE = 65536  # characters, of what is sent at a time
_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
_PREFIXES = {"{DAV:": "D", OC[:-1]: "oc", NC[:-1]: "nc"}  # by what stands before "}" in a name
_MULTISTATUS = f'{_DECLARATION}<D:multistatus xmlns:D="DAV:" xmlns:oc="{OC[1:-1]}" xmlns:nc="{NC[1:-1]}">'
_NOTHING_ASKED = "<D:propstat><D:prop/><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
_NEVER = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_IN_TEXT = re.compile(f"[&<>\r{_NEVER}]")
_IN_ATTRIBUTE = re.compile(f'[&<>"\t\n\r{_NEVER}]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def text(value: str) -> str:
    """Character data: escaped, and without the characters that XML 1.0 §2.2 cannot carry."""
    return _IN_TEXT.sub(_escaped, value)


def fragment(name: str, content: str = "") -> str:
    """An element in the namespace of its name, around content that is XML already; empty for `propname` and 404.

    Args:
        name: in Clark notation, from a parser or a constant.
    """
    uri, _, local = name.rpartition("}")
    if uri in _PREFIXES:
        start = tag = f"{_PREFIXES[uri]}:{local}"
    elif uri:
        tag = f"x:{local}"
        start = f'{tag} xmlns:x="{attribute(uri[1:])}"'
    else:
        start = tag = local
    return f"<{start}>{content}</{tag}>" if content else f"<{start}/>"


class Propstat(NamedTuple):
    """Properties of one status (RFC 4918 §14.22); a pair of the first two will do as well.

    Attributes:
        fragments: one for each property, as by `fragment` or `serialize_property`.
        error: name of a precondition in the `DAV:` namespace.
    """

    status: int
    fragments: Sequence[str]
    error: str | None = None


def response(href: str, propstats: Iterable[Propstat | tuple[int, Sequence[str]]]) -> str:
    """A `response` with properties (RFC 4918 §14.24)."""
    parts = []
    for one in propstats:
        error = one[2] if len(one) > 2 else None
        parts.append(
            f"<D:propstat><D:prop>{''.join(one[1])}</D:prop><D:status>HTTP/1.1 {status_line(one[0])}</D:status>"
            f"{_error(error)}</D:propstat>"
        )
    return f"<D:response><D:href>{text(href)}</D:href>{''.join(parts) or _NOTHING_ASKED}</D:response>"


def status_response(href: str, status: int, error: str | None = None, description: str | None = None) -> str:
    """A `response` that says what became of one resource (RFC 4918 §14.24).

    Args:
        error: name of a precondition in the `DAV:` namespace.
        description: for people.
    """
    said = f"<D:responsedescription>{text(description)}</D:responsedescription>" if description else ""
    return (
        f"<D:response><D:href>{text(href)}</D:href><D:status>HTTP/1.1 {status_line(status)}</D:status>"
        f"{_error(error)}{said}</D:response>"
    )


class Multistatus:
    """The body of a 207 (RFC 4918 §13), whole by `close` or in pieces by iterating, once either way.

    Args:
        responses: ready ones, read only when the body is taken, before those that were added.
        trailer: fragments after the last response, such as `DAV:sync-token`.
    """

    def __init__(self, responses: Iterable[str] = (), trailer: str = "") -> None:
        self.trailer = trailer
        self._ready = responses
        self._added: list[str] = []

    def add(self, ready: str) -> None:
        """Append a ready `response`."""
        self._added.append(ready)

    def response(self, href: str, propstats: Iterable[Propstat | tuple[int, Sequence[str]]]) -> None:
        """Append what the function `response` makes."""
        self._added.append(response(href, propstats))

    def status_response(self, href: str, status: int, error: str | None = None, description: str | None = None) -> None:
        """Append what the function `status_response` makes."""
        self._added.append(status_response(href, status, error, description))

    def close(self) -> bytes:
        """The whole body."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        pieces = [_MULTISTATUS]
        length = 0
        for one in chain(self._ready, self._added):
            pieces.append(one)
            length += len(one)
            if length >= _PIECE:
                yield _encoded(pieces)
                pieces, length = [], 0
        pieces.append(f"{self.trailer}</D:multistatus>")
        yield _encoded(pieces)


def error_body(condition: str | None, hrefs: Iterable[str] = (), message: str = "") -> bytes:
    """The body of a failed request (RFC 4918 §14.5, §16), with a message where sync clients look for it.

    Args:
        condition: name of a precondition or postcondition in the `DAV:` namespace.
        hrefs: the resources that the condition is about.
    """
    about = "".join(f"<D:href>{text(href)}</D:href>" for href in hrefs)
    return _encoded(
        [
            f'{_DECLARATION}<D:error xmlns:D="DAV:" xmlns:s="http://sabredav.org/ns">',
            fragment(f"{{DAV:}}{condition}", about) if condition else "",
            f"<s:message>{text(message)}</s:message>" if message else "",
            "</D:error>",
        ]
    )


# Inside


def _escaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0], "\ufffd")


def attribute(value: str) -> str:
    """The value of an attribute, escaped."""
    return _IN_ATTRIBUTE.sub(_escaped, value)


def _error(condition: str | None) -> str:
    return f"<D:error><D:{condition}/></D:error>" if condition else ""


def _encoded(pieces: Iterable[str]) -> bytes:
    return "".join(pieces).encode()
