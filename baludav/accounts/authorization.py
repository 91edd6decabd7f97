"""Finds out who makes a request from its `Authorization` field: HTTP Basic (RFC 7617), or Bearer (RFC 6750) with the
token of a device. A browser adds what it remembers to whatever any page has it send, so it may be asked which page that
was.
"""

import base64
import binascii
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from baludav.accounts.accounts import Principal
from baludav.accounts.address import client_address
from baludav.accounts.signin import SignIn
from baludav.errors import Forbidden, NotSignedIn

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


def require_own_site(environ: Mapping[str, Any], origins: Collection[str]) -> None:
    """A page of another site must not use the password that a browser remembers for this one.

    Browsers say where a request comes from in `Sec-Fetch-Site` (Fetch Metadata), older ones in `Origin`; other
    programs say nothing.

    Args:
        origins: of pages that may all the same.
    Raises:
        Forbidden: it comes from a page that is neither this server's nor one of those.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin in origins:
        return
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is None:
        host = str(environ.get("HTTP_HOST", "")).lower()
        is_own = origin is None or origin.lower() in (f"http://{host}", f"https://{host}")
    else:
        is_own = site in ("same-origin", "none")
    if not is_own:
        raise Forbidden("A page of another site may not do this")


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
