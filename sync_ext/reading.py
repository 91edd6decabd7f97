"""Reads a request: what its query and its body hold."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from baludav.errors import BadRequest, Invalid, TooLarge, UnsupportedMediaType, broken_off
from sync_ext.endpoints import JSON
from sync_ext.types import Body

T = TypeVar("T", bound=Body)

_PLACE = re.compile(r" - at `(?:key in )?\$?\.?(.*)`$")
_NAMED = re.compile(r"field `(.*?)`")


class NoQuery(Body):
    """A call that takes no parameters."""


def read_query(parameters: Mapping[str, Any], kind: type[T]) -> T:
    """The query parameters, by type.

    Raises:
        BadRequest: one is unknown, comes twice, or is not as described.
    """
    try:
        return msgspec.convert(parameters, kind, strict=False)
    except msgspec.ValidationError as error:
        message, field = _explained(error)
        raise BadRequest(message, field=field) from error


def read_body(environ: Mapping[str, Any], kind: type[T], most: int) -> T:
    """The JSON body, by type.

    Args:
        most: bytes that it may have.
    Raises:
        UnsupportedMediaType: it does not say that it is JSON. (A form of another site cannot say so.)
        TooLarge: it has more than `most` bytes.
        BadRequest: it is no JSON.
        Invalid: it is, but not as described.
    """
    if str(environ.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower() != JSON:
        raise UnsupportedMediaType(f"Send the body as {JSON}")
    length = str(environ.get("CONTENT_LENGTH") or "")
    if length.isascii() and length.isdigit() and int(length) > most:
        raise TooLarge(f"This call takes up to {most} bytes")
    try:
        raw = environ["wsgi.input"].read(most + 1)
    except EOFError as error:
        raise broken_off(error, "The body ends too early") from None
    if len(raw) > most:
        raise TooLarge(f"This call takes up to {most} bytes")
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        message, field = _explained(error)
        raise Invalid(message, field=field) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The body is no JSON: {error}") from error


def _explained(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """What is wrong, and in which field: `files[3].path`."""
    text = str(error)
    place = _PLACE.search(text)
    message = text[: place.start()] if place else text
    field = place[1] if place else ""
    named = _NAMED.search(message)
    if named:  # a field that is missing or unknown: what msgspec names is the object around it
        field = f"{field}.{named[1]}" if field else named[1]
    return message.replace("`", ""), field or None
