"""Digests in header fields: what a client declares and what it is told (RFC 9530).

`Content-Digest` and `Repr-Digest` are dictionaries of structured fields (RFC 9651 §3.2). A declared digest is a
promise about the body, so one that cannot be read is refused; a wish that cannot be read is not granted.
"""

import base64
import binascii
import re
from collections.abc import Iterator

from baludav.errors import BadRequest

OFFERED = "sha-256"
"""The algorithm we answer with: the entity-tag is this digest, so it costs nothing."""

_LENGTHS = {"sha-256": 32, "sha-512": 64}  # bytes; the active algorithms of RFC 9530 §7.2

# RFC 9651 §3. All quantifiers over characters are possessive: each character is looked at once.
_KEY = r"[a-z*][a-z0-9_\-.*]*+"
_BARE = (
    r"(?:-?[0-9]{1,15}+(?:\.[0-9]{1,3}+)?+"
    r"|\"(?:[ !#-\[\]-~]|\\[\"\\])*+\""
    r"|[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*+"
    r"|:[A-Za-z0-9+/=]*+:"
    r"|\?[01])"
)
_PARAMETERS = rf"(?:; *+{_KEY}(?:={_BARE})?+)*+"
_ITEM = rf"{_BARE}{_PARAMETERS}"
_INNER_LIST = rf"\( *+(?:{_ITEM}(?: ++{_ITEM})*+)?+ *+\){_PARAMETERS}"
_MEMBER = re.compile(rf"({_KEY})(?:=(?:({_BARE}){_PARAMETERS}|{_INNER_LIST})|{_PARAMETERS})")
_COMMA = re.compile(r"[ \t]*+,[ \t]*+")


def parse_digest(header: str) -> dict[str, bytes]:
    """The digests of a `Content-Digest` or `Repr-Digest` field (RFC 9530 §2, §3).

    Returns:
        by algorithm, `sha-256` and `sha-512`; others are ignored, so the result may be empty.
    Raises:
        BadRequest: no dictionary, or a digest of the wrong type or length (400).
    """
    digests = {}
    for name, value in _members(header):
        if name not in _LENGTHS:
            continue
        if value is None or not value.startswith(":"):
            raise BadRequest(f"The {name} digest is not a byte sequence")
        try:
            digest = base64.b64decode(_padded(value[1:-1]), validate=True)
        except binascii.Error:
            raise BadRequest(f"The {name} digest is not base64") from None
        if len(digest) != _LENGTHS[name]:
            raise BadRequest(f"The {name} digest has the wrong length")
        digests[name] = digest  # of two, the last counts (RFC 9651 §3.2)
    return digests


def wanted(header: str) -> str | None:
    """The algorithm to answer with, from `Want-Repr-Digest` or `Want-Content-Digest` (RFC 9530 §4).

    Returns:
        `OFFERED` if the client wants it; None if it does not, with preference 0, or cannot be understood.
    """
    try:
        preference = dict(_members(header)).get(OFFERED)
    except BadRequest:
        return None
    if preference is None or not re.fullmatch("[0-9]{1,2}", preference):
        return None
    return OFFERED if 1 <= int(preference) <= 10 else None


def format_digest(sha256_hex: str) -> str:
    """The value of `Repr-Digest` or `Content-Digest` for a bare entity-tag (RFC 9530 §2, §3)."""
    return f"{OFFERED}=:{base64.b64encode(bytes.fromhex(sha256_hex)).decode()}:"


def _members(header: str) -> Iterator[tuple[str, str | None]]:
    """Key and bare item of each member of a dictionary; None for an inner list or the bare key (true)."""
    text = header.strip(" ")
    position = 0
    while position < len(text):
        member = _MEMBER.match(text, position)
        if member is None:
            break
        yield member[1], member[2]
        comma = _COMMA.match(text, member.end())
        if comma is None:
            position = member.end()
            break
        position = comma.end()
        if position == len(text):
            raise BadRequest("The digest field ends in a comma")
    if position < len(text):
        raise BadRequest("The digest field is not a dictionary of structured fields")


def _padded(text: str) -> str:
    """RFC 9651 §4.2.7: missing padding is no error."""
    return text if "=" in text else text + "=" * (-len(text) % 4)
