"""Paths for those who run the server: is it alive, is it ready, what has it done?

They need no sign-in. What it has done is told to this machine, or to who has the token of the configuration.
"""

import hmac
import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from baludav import metrics
from baludav.errors import Failure, NotFound, status_line
from providers.house import House

TEXT = "text/plain; charset=utf-8"

Special = Callable[[dict[str, Any], Callable[..., Any], House], Iterable[bytes]]


def alive(environ: dict[str, Any], start: Callable[..., Any], house: House) -> Iterable[bytes]:
    """This process answers, and so does the index."""
    house.accounts.is_empty()
    return _answer(environ, start, 200, b"ok\n")


def ready(environ: dict[str, Any], start: Callable[..., Any], house: House) -> Iterable[bytes]:
    """What is stored can be read and written: the index, and the disk of each home and share."""
    failed = []
    try:
        house.database.commit(lambda connection: None)
    except Failure as failure:
        failed.append(f"index: {failure}")
    failed += [f"{root}: {why}" for root, why in house.tree.roots.unready()]
    if failed:
        lines = failed if _is_of_this_machine(environ) else ["not ready"]  # names are nobody else's business
        return _answer(environ, start, 503, "\n".join([*lines, ""]).encode())
    return _answer(environ, start, 200, b"ready\n")


def figures(environ: dict[str, Any], start: Callable[..., Any], house: House) -> Iterable[bytes]:
    """The metrics of all processes, for Prometheus."""
    if not (_is_of_this_machine(environ) or _has_token(environ, house.config.settings.metrics_token)):
        raise NotFound()
    return _answer(environ, start, 200, metrics.render(house.config.folder / "metrics"), metrics.MEDIA_TYPE)


SPECIAL: dict[str, Special] = {"/healthz": alive, "/readyz": ready, "/metrics": figures}


def _is_of_this_machine(environ: dict[str, Any]) -> bool:
    """Not through a proxy on this machine: then the client may be anywhere."""
    if any(name in environ for name in ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")):
        return False
    try:
        return ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _has_token(environ: dict[str, Any], token: str) -> bool:
    given = environ.get("HTTP_AUTHORIZATION", "")
    return bool(token) and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def _answer(
    environ: dict[str, Any], start: Callable[..., Any], status: int, body: bytes, media_type: str = TEXT
) -> Iterable[bytes]:
    start(status_line(status), [("Content-Type", media_type), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
