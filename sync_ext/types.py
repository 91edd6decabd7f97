"""The types that several calls share: what is said the same way everywhere in the API."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from baludav.errors import BadRequest, NotFound, PathTooLong
from baludav.tree import paths
from baludav.tree.paths import Path


def matching(pattern: str, **more: Any) -> Meta:
    """The whole text matches. (In Python a `$` alone would take a line feed for the end.)"""
    return Meta(pattern=f"^{pattern}$(?!\\n)", **more)


Time = Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC.")]
Size = Annotated[int, Meta(ge=0, description="Bytes.")]
Sha256 = Annotated[str, matching("[0-9a-f]{64}", description="SHA-256 of the bytes, lower-case hex.")]
Etag = Annotated[str, Meta(description="The entity-tag as If-Match takes it, quotes included.")]
ChangeToken = Annotated[
    str, Meta(min_length=1, max_length=255, description="A moment; store it, give it back, and read nothing into it.")
]
DeviceId = Annotated[str, matching("[0-9a-f]{32}")]
PathText = Annotated[
    str,
    matching(
        r"/[^\u0000-\u001f\u007f]*",
        max_length=4096,
        description="Path below the WebDAV tree: begins with a slash, not percent-encoded, without a slash at its end.",
    ),
]

_EPOCH = datetime.fromtimestamp(0, UTC)


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What a request says, in its query or its body: a field that nobody reads is a mistake worth naming."""


class Answer(msgspec.Struct):
    """What an answer says."""


def time_of(seconds: float) -> datetime:
    """A time that is stored as seconds since the epoch."""
    return _EPOCH + timedelta(seconds=seconds)


def time_of_ns(nanoseconds: int) -> datetime:
    """The same for nanoseconds."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def ns_of_time(time: datetime, field: str) -> int:
    """The other way round, for the modification time of a file.

    Raises:
        BadRequest: no file has such a time (before 1970, after the year 2200).
    """
    microseconds = (time - _EPOCH) // timedelta(microseconds=1)
    if not 0 < microseconds < 7_258_118_400_000_000:
        raise BadRequest("This is no modification time of a file", field=field)
    return microseconds * 1000


def quoted(etag: str | None) -> str | None:
    """An entity-tag as on the wire (RFC 9110 §8.8.3)."""
    return None if etag is None else f'"{etag}"'


def shown(path: Path) -> str:
    """A path as the API writes it."""
    return "/" + "/".join(path)


def parsed(text: str, field: str = "path") -> Path:
    """The path that a client wrote.

    Raises:
        BadRequest: no path can look like this.
        NotFound: nothing can be there, as it is longer than any name on a disk.
    """
    try:
        return paths.parse_decoded(text)
    except PathTooLong as failure:
        raise NotFound() from failure
    except BadRequest as failure:
        raise BadRequest(str(failure), field=field) from failure
