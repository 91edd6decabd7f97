"""The outermost room: turns failures into answers, and guards every answer against misuse in a browser."""

from collections.abc import Callable, Iterable
from typing import Any

from baludav.answering import Headers, answering, guards_with
from baludav.errors import Failure, Locked, Unavailable, Unexpected, status_line
from baludav.limits.reached import note
from baludav.log.setup import failed
from baludav.tree.paths import quote
from providers import xml
from providers.house import KEY
from providers.signin import Application
from providers.special import SPECIAL

# Files come from users: a browser must take none of them for a page or script of this server.
GUARDS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "sandbox; default-src 'none'; img-src 'self'; media-src 'self'"),
    ("Referrer-Policy", "no-referrer"),
]  # fmt: skip


class Front:
    """Middleware in WsgiDAV's manner; it must be the first."""

    def __init__(self, wsgidav_app: Any, next_app: Application, config: dict[str, Any]) -> None:
        self._next = next_app
        self._config = config
        self._guards = guards_with(GUARDS, config[KEY].config)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        house = self._config[KEY]
        with answering(environ, start_response, self._guards, house.config.settings) as start:
            try:
                if house.rates is not None:
                    house.rates.admit(environ)
                special = SPECIAL.get(environ["PATH_INFO"])
                if special is not None:
                    return special(environ, start, house)
                return self._next(environ, start)
            except Failure as failure:
                failed(environ, failure)
                note(environ, failure)
                house.trail.refused(
                    environ.get("baludav.principal"), failure, environ["REQUEST_METHOD"], _path(environ)
                )
                return _answer(environ, start, failure)
            except Exception as error:
                failed(environ, error)
                return _answer(environ, start, Unexpected())


def _path(environ: dict[str, Any]) -> str:
    """As the user sees it, if it is one of the tree."""
    path, names_collection = environ.get("baludav.path") or (None, False)
    if path is None:
        return str(environ["PATH_INFO"]).encode("latin-1").decode("utf-8", "replace")
    return f"/{'/'.join(path)}{'/' * (names_collection and path != ())}"


def _answer(environ: dict[str, Any], start: Callable[..., Any], failure: Failure) -> Iterable[bytes]:
    headers, body = refusal(environ["REQUEST_METHOD"], failure, environ.get("baludav.mount", ""))
    start(status_line(failure.status), headers)
    return [body]


def refusal(method: str, failure: Failure, mount: str = "") -> tuple[Headers, bytes]:
    """Header fields and body of the answer to a request that fails.

    Args:
        mount: where the tree appears.
    """
    hrefs = []
    if isinstance(failure, Locked):
        hrefs.append(mount + quote(failure.lock_root))
    if failure.condition or method not in ("GET", "HEAD"):
        kind, body = xml.CONTENT_TYPE, xml.error_body(failure.condition, hrefs, str(failure))
    else:
        kind, body = "text/plain; charset=utf-8", f"{failure}\n".encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), *failure.headers]
    if isinstance(failure, Unavailable):
        headers.append(("Retry-After", "30"))
    return headers, b"" if method == "HEAD" else body
