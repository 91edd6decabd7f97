"""Asks who makes a request before anything else looks at it.

Takes the place of WsgiDAV's own authenticator in `middleware_stack`. Failures are raised; the front turns them
into answers.
"""

from collections.abc import Callable, Iterable
from typing import Any

from baludav.accounts.accounts import Principal
from baludav.accounts.authorization import REALM, require_own_site, signed_in

# What is answered to anybody: clients ask these before they have a password. A GET of `/` too: if that asks for one,
# the Nextcloud client takes this for a server without a page to sign in at.
OPEN = frozenset(("/status.php", "/index.php/204"))
OPEN_BELOW = "/index.php/login/"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class SignIn:
    """Middleware in WsgiDAV's manner.

    It sets `baludav.principal` in the environment: the Principal, or None for the requests that need no
    sign-in, which are `OPTIONS` and the paths that are open.

    Args:
        config: WsgiDAV's; `baludav.house` in it has the sign-in of this process.
    """

    def __init__(self, wsgidav_app: Any, next_app: Application, config: dict[str, Any]) -> None:
        self._next = next_app
        self._config = config

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        principal = None if _is_open(environ) else self._principal(environ)
        if principal is not None and environ["REQUEST_METHOD"] == "POST":
            # Of the methods that change something, the only one that a browser sends for any page without asking first.
            require_own_site(environ, self._config["baludav.house"].config.settings.cors_origins)
        environ["baludav.principal"] = principal
        rates = self._config["baludav.house"].rates
        if rates is not None and principal is not None:
            rates.admit_principal(environ, principal)
        # Empty, as WsgiDAV has it for a request nobody signed.
        environ["wsgidav.auth.user_name"] = principal.name if principal else ""
        environ["wsgidav.auth.realm"] = REALM
        # The answer goes out as it is: the server knows a file by the object that holds it.
        return self._next(environ, start_response)

    def _principal(self, environ: dict[str, Any]) -> Principal:
        house = self._config["baludav.house"]
        return signed_in(environ, house.sign_in, house.config.settings.trusted_proxies)


def _is_open(environ: dict[str, Any]) -> bool:
    method, path = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + (environ.get("PATH_INFO") or "")
    if method == "OPTIONS" or path in OPEN or path.startswith(OPEN_BELOW):
        return True
    return path == "/" and method in ("GET", "HEAD")
