"""Turns failures into problem documents (RFC 9457)."""

import re
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from baludav.errors import (
    BadRequest,
    Failure,
    Forbidden,
    Invalid,
    NotSignedIn,
    RequestTimeout,
    TokenExpired,
    TooFast,
    TooLarge,
    TooManyRequests,
    Unavailable,
    Unexpected,
    UnsupportedMediaType,
)
from sync_ext.endpoints import BASE

MEDIA_TYPE = "application/problem+json"
_STATE = f"{BASE}/state"

# What a call may answer; each endpoint adds its own.
ANY = (BadRequest, NotSignedIn, TooManyRequests, TooFast, Unexpected, Unavailable)
CHANGING = (Forbidden,)
WITH_BODY = (RequestTimeout, TooLarge, UnsupportedMediaType, Invalid)

# RFC 6578 wants 403 for a token that says nothing any more; in HTTP's own words it is gone.
_STATUSES: dict[type[Failure], int] = {TokenExpired: 410}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    field: Annotated[str, Meta(description="Which value of the request is at fault.")] | UnsetType = UNSET
    state: Annotated[str, Meta(description="Where everything there is can be read anew.")] | UnsetType = UNSET


def status_of(kind: type[Failure]) -> int:
    """The status that a kind of failure is answered with."""
    return next((status for base, status in _STATUSES.items() if issubclass(kind, base)), kind.status)


def problem_of(failure: Failure) -> Problem:
    """The document for a failure."""
    kind = type(failure)
    return Problem(
        type="urn:baludav:problem:" + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower(),
        title=title_of(kind),
        status=status_of(kind),
        detail=str(failure),
        field=(failure.field if isinstance(failure, BadRequest) else None) or UNSET,
        state=_STATE if isinstance(failure, TokenExpired) else UNSET,
    )


def title_of(kind: type[Failure]) -> str:
    """What kind of failure it is, in a sentence."""
    return (kind.__doc__ or "").split("\n", 1)[0]


def headers_of(failure: Failure) -> list[tuple[str, str]]:
    """The header fields that go with a failure."""
    retry = [("Retry-After", "30")] if isinstance(failure, Unavailable) else []
    return [*failure.headers, *retry]


def by_status(kinds: Iterable[type[Failure]]) -> dict[int, list[type[Failure]]]:
    """Kinds of failures, by the status they are answered with."""
    found: dict[int, list[type[Failure]]] = {}
    for kind in sorted(set(kinds), key=lambda kind: (status_of(kind), kind.__name__)):
        found.setdefault(status_of(kind), []).append(kind)
    return found
