"""Finds out who makes a request from its `Authorization` field: HTTP Basic (RFC 7617), or Bearer (RFC 6750) with the
token of a device.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from baludav.accounts.accounts import Principal
from baludav.accounts.address import client_address
from baludav.accounts.signin import SignIn
from baludav.errors import NotSignedIn

REALM = "baludav"
BASIC = f'Basic realm="{REALM}", charset="UTF-8"'
BEARER = f'Bearer realm="{REALM}"'


class Credentials(NamedTuple):
    """User name and password; with the token of a device alone, the name is None."""

    name: str | None
    password: str


def signed_in(
    environ: Mapping[str, Any], sign_in: SignIn, trusted_proxies: tuple[str, ...], *, challenge: str = BASIC
) -> Principal:
    """Who makes a request.

    Args:
        challenge: the value of `WWW-Authenticate` in the answer to who is not signed in.
    Raises:
        NotSignedIn: nobody, or the credentials are wrong.
        TooManyRequests: so many failures that they were not even compared.
    """
    headers = (("WWW-Authenticate", challenge),)
    found = credentials(environ.get("HTTP_AUTHORIZATION") or "")
    if found is None:
        raise NotSignedIn(headers=headers)
    try:
        return sign_in.check(*found, client_address(environ, trusted_proxies))
    except NotSignedIn as failure:
        raise NotSignedIn(headers=headers) from failure


def credentials(header: str) -> Credentials | None:
    """What an `Authorization` field says; None if it makes no sense."""
    scheme, _, token = header.partition(" ")
    match scheme.lower():
        case "basic":
            return _basic(token.strip(" "))
        case "bearer" if token.isascii() and token.strip(" "):
            return Credentials(None, token.strip(" "))
    return None


def _basic(token: str) -> Credentials | None:
    try:
        raw = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # what older clients send in spite of the charset asked for
    name, colon, password = text.partition(":")
    if not colon or not name or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        return None
    return Credentials(name, password)
