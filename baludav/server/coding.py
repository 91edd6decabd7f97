"""Content coding of answers (RFC 9110 §8.4): listings and the API's JSON, for clients that ask for gzip.

Coded is only what has no entity-tag and is made for each request. Files are never: their entity-tag is the SHA-256 of
their bytes, another coding would need another one (§8.8.3), and clients that compare the two would load them again and
again. Pages are never either: they hold a secret beside what the request said, which the length would betray.
"""

import re
import zlib

from baludav.server.parser import Request

Headers = list[tuple[str, str]]

_LEAST = 1024  # bytes; what is shorter fits into one packet anyway
_LEVEL = 1  # 1,000 members, 370 KB, become 49 KB in 1.3 ms; level 6 makes 44 KB of them in 2.7 ms
_GZIP = 16 + zlib.MAX_WBITS
_STATUSES = (200, 207)
_TYPES = ("application/xml", "application/json")
_MEMBER = re.compile(rb"\s*([!#$%&'*+.^_`|~0-9a-z-]+)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*", re.IGNORECASE)


def asks_for_gzip(request: Request) -> bool:
    """True if `Accept-Encoding` names gzip, or all codings, with a weight (RFC 9110 §12.5.3)."""
    field = request.fields.get(b"accept-encoding")
    if field is None:
        return False
    weights: dict[bytes, float] = {}
    for part in field.split(b","):
        member = _MEMBER.fullmatch(part)
        if member is not None:
            weights[member[1].lower()] = float(member[2] or 1)
    return (
        max(weights.get(b"gzip", 0), weights.get(b"x-gzip", 0), 0 if b"gzip" in weights else weights.get(b"*", 0)) > 0
    )


def is_codable(status: int, headers: Headers, length: int) -> bool:
    """True if an answer may be sent in another coding."""
    if status not in _STATUSES or length < _LEAST:
        return False
    fields = {name.lower(): value for name, value in headers}
    if "etag" in fields or "content-encoding" in fields or "content-range" in fields:
        return False
    return fields.get("content-type", "").partition(";")[0].strip().lower() in _TYPES


def varied(headers: Headers) -> Headers:
    """The fields of a codable answer that is sent as it is."""
    return [*headers, ("Vary", "Accept-Encoding")]


def packed_headers(headers: Headers) -> Headers:
    """The fields of an answer in gzip, but its length."""
    kept = [(name, value) for name, value in varied(headers) if name.lower() != "content-length"]
    return [*kept, ("Content-Encoding", "gzip")]


def packed(body: bytes) -> bytes:
    """The body in gzip (RFC 1952)."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()
