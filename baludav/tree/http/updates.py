"""Which bytes of a file an update replaces: the field X-Update-Range of SabreDAV's partial updates."""

import re
from typing import NamedTuple

from baludav.errors import BadRequest, RangeNotSatisfiable

# No size has more than 18 digits; a longer number would have to be computed.
_FIELD = re.compile(r"append|bytes=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))", re.IGNORECASE)


class Update(NamedTuple):
    """Where bytes are to go.

    Attributes:
        start: first byte that is replaced; None: as many from the end as `from_end` says.
        from_end: bytes.
        length: how many bytes there must be; None: any number.
    """

    start: int | None
    from_end: int = 0
    length: int | None = None

    def place(self, size: int) -> int:
        """The first byte that is replaced in a file of this size; what goes beyond its end makes it larger.

        Raises:
            RangeNotSatisfiable: there would be a hole (416).
        """
        start = size - self.from_end if self.start is None else self.start
        if not 0 <= start <= size:
            raise RangeNotSatisfiable(headers=(("Content-Range", f"bytes */{size}"),))
        return start

    def check_length(self, length: int) -> None:
        """Compare the number of bytes with what the field says.

        Raises:
            RangeNotSatisfiable: they differ, as SabreDAV answers it (416).
        """
        if self.length is not None and self.length != length:
            raise RangeNotSatisfiable(f"The range has {self.length} bytes, the body {length}")


def parse_update(field: str | None) -> Update:
    """What `append`, `bytes=2-5`, `bytes=2-` and `bytes=-4` mean.

    Raises:
        BadRequest: none of these.
        RangeNotSatisfiable: the end is before the beginning.
    """
    found = _FIELD.fullmatch((field or "").strip())
    if found is None:
        raise BadRequest("X-Update-Range must be append, bytes=FIRST-LAST, bytes=FIRST- or bytes=-LENGTH")
    first, last, from_end = found.groups()
    if first is None:
        return Update(None, int(from_end or 0))
    if last is None:
        return Update(int(first))
    if int(last) < int(first):
        raise RangeNotSatisfiable("The range ends before it begins")
    return Update(int(first), length=int(last) - int(first) + 1)
