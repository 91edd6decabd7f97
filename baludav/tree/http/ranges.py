"""Ranges: the parts of a file that a client asks for (RFC 9110 §14)."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from baludav.errors import RangeNotSatisfiable

MAX_RANGES = 16
_MAX_OVERLAPS = 2  # §14.2: more than two overlapping ranges are an attack or a mistake

_SET = re.compile(r"[ \t]*+bytes=(.*)", re.IGNORECASE)
# No size has more than 19 digits; a longer number is ignored instead of computed.
_RANGE = re.compile(r"([0-9]{0,19}+)-([0-9]{0,19}+)")


def parse_range(header: str | None, size: int) -> list[tuple[int, int]] | None:
    """The ranges to send for a GET, in the order asked, overlapping and adjacent ones joined.

    Args:
        header: the `Range` field; whether it applies at all is for `Conditions.range_applies` to say.
        size: of the whole content, in bytes.
    Returns:
        (start, stop) of each, `stop` not included; None to ignore the field and send everything (200): it is
        absent, malformed, in another unit, or asks for an unreasonable number of parts (§14.2, §17.15).
    Raises:
        RangeNotSatisfiable: every range lies behind the end (§15.5.17, 416).
    """
    found = None if header is None else _SET.fullmatch(header)
    if found is None:
        return None
    specs = [spec for part in found[1].split(",", 2 * MAX_RANGES) if (spec := part.strip(" \t"))]
    if not 1 <= len(specs) <= MAX_RANGES:
        return None
    ranges = []
    is_satisfiable = False
    for spec in specs:
        one = _RANGE.fullmatch(spec)
        if one is None or spec == "-" or (one[1] and one[2] and int(one[1]) > int(one[2])):
            return None
        if one[1]:
            start, stop = int(one[1]), min(int(one[2]) + 1, size) if one[2] else size
            is_satisfiable |= start < size
        else:
            start, stop = max(size - int(one[2]), 0), size
            is_satisfiable |= int(one[2]) > 0
        if start < stop:
            ranges.append((start, stop))
    if not is_satisfiable:
        raise RangeNotSatisfiable(headers=(("Content-Range", f"bytes */{size}"),))
    # The last bytes of an empty file are satisfiable (§14.1.2), but no Content-Range can say so.
    return _joined(ranges) if ranges else None


def content_range(start: int, stop: int, size: int) -> str:
    """The value of `Content-Range` for one part (§14.4)."""
    return f"bytes {start}-{stop - 1}/{size}"


class Multipart(NamedTuple):
    """What surrounds the parts of a `multipart/byteranges` body.

    Attributes:
        heads: what to send before the bytes of each range.
        tail: what to send after the last.
        length: bytes of the whole body.
    """

    heads: list[bytes]
    tail: bytes
    length: int


def multipart(ranges: Sequence[tuple[int, int]], size: int, content_type: str, boundary: str) -> Multipart:
    """Lay out a body of several parts (§14.6).

    Args:
        content_type: of the resource.
        boundary: characters of RFC 2046 §5.1.1 that the content does not hold: chance is enough.
    """
    heads = [
        (
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {content_range(start, stop, size)}\r\n\r\n"
        ).encode("latin-1")
        for start, stop in ranges
    ]
    heads[0] = heads[0][2:]  # the line break belongs to the boundary, and nothing is before the first
    tail = f"\r\n--{boundary}--\r\n".encode("latin-1")
    length = sum(map(len, heads)) + sum(stop - start for start, stop in ranges) + len(tail)
    return Multipart(heads, tail, length)


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]] | None:
    """Ranges without overlap, each in the place of the first it is made of (§15.3.7.2); None for too many overlaps."""
    joined: list[list[int]] = []  # start, stop, place
    overlaps = 0
    for place, (start, stop) in sorted(enumerate(ranges), key=lambda item: item[1]):
        if joined and start <= joined[-1][1]:
            overlaps += start < joined[-1][1]
            joined[-1][1] = max(joined[-1][1], stop)
            joined[-1][2] = min(joined[-1][2], place)
        else:
            joined.append([start, stop, place])
    if overlaps > _MAX_OVERLAPS:
        return None
    return [(start, stop) for start, stop, _ in sorted(joined, key=lambda item: item[2])]
