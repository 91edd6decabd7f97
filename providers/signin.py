"""Asks who makes a request (HTTP Basic, RFC 7617) before anything else looks at it.

Takes the place of WsgiDAV's own authenticator in `middleware_stack`. Failures are raised; the front turns them
into answers.
"""

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Any

from baludav.accounts.accounts import Principal
from baludav.accounts.address import client_address
from baludav.errors import NotSignedIn

REALM = "baludav"
CHALLENGE = ("WWW-Authenticate", f'Basic realm="{REALM}", charset="UTF-8"')
HEALTH = "/healthz"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class SignIn:
    """Middleware in WsgiDAV's manner.

    It sets `baludav.principal` in the environment: the Principal, or None for the requests that need no
    sign-in, which are `OPTIONS` and the health check.

    Args:
        config: WsgiDAV's; `baludav.house` in it has the sign-in of this process.
    """

    def __init__(self, wsgidav_app: Any, next_app: Application, config: dict[str, Any]) -> None:
        self._next = next_app
        self._config = config

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        principal = None
        if environ["REQUEST_METHOD"] != "OPTIONS" and environ.get("PATH_INFO") != HEALTH:
            principal = self._principal(environ)
        environ["baludav.principal"] = principal
        # Empty, as WsgiDAV has it for a request nobody signed.
        environ["wsgidav.auth.user_name"] = principal.name if principal else ""
        environ["wsgidav.auth.realm"] = REALM
        # The answer goes out as it is: the server knows a file by the object that holds it.
        return self._next(environ, start_response)

    def _principal(self, environ: dict[str, Any]) -> Principal:
        found = credentials(environ.get("HTTP_AUTHORIZATION") or "")
        if found is None:
            raise NotSignedIn(headers=(CHALLENGE,))
        house = self._config["baludav.house"]
        address = client_address(environ, house.config.settings.trusted_proxies)
        try:
            principal: Principal = house.sign_in.check(*found, address)
            return principal
        except NotSignedIn as failure:
            raise NotSignedIn(headers=(CHALLENGE,)) from failure


def credentials(header: str) -> tuple[str, str] | None:
    """User name and password in an `Authorization` header; None if there are none that make sense."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        raw = base64.b64decode(token.strip(" "), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # what older clients send in spite of the charset asked for
    name, colon, password = text.partition(":")
    if not colon or not name or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        return None
    return name, password
