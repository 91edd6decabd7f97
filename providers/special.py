"""Paths that need no sign-in: for those who run the server (is it alive, is it ready, what has it done?), and the one
where clients ask for the tree of a server of which they know only the name.

What it has done is told to this machine, or to who has the token of the configuration.
"""

import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from baludav import metrics
from baludav.errors import Failure, NotFound, status_line
from providers.house import House

_METRICS = "metrics"  # the folder in which the processes count
TEXT = "text/plain; charset=utf-8"
TREE = "/dav/"

Special = Callable[[dict[str, Any], Callable[..., Any], House], Iterable[bytes]]


def alive(environ: dict[str, Any], start: Callable[..., Any], house: House) -> Iterable[bytes]:
    """This process answers, and so does the index."""
    house.accounts.is_empty()
    return _answer(environ, start, 200, b"ok\n")


def ready(environ: dict[str, Any], start: Callable[..., Any], house: House) -> Iterable[bytes]:
    """What is stored can be read and written: the index, and the disk of each home and share. And how far the scan is.

    Told to this machine only: names are nobody else's business.
    """
    failed = []
    try:
        house.database.commit(lambda connection: None)
        house.database.require_room()
    except Failure as failure:
        failed.append(f"index: {failure}")
    failed += [f"{root}: {why}" for root, why in house.tree.roots.unready()]
    if failed:
        lines = failed if _is_of_this_machine(environ) else ["not ready"]
        return _answer(environ, start, 503, "\n".join([*lines, ""]).encode())
    lines = ["ready", *([_scan_state(house)] if _is_of_this_machine(environ) else [])]
    return _answer(environ, start, 200, "\n".join([*lines, ""]).encode())


def _scan_state(house: House) -> str:
    """How far the index is known to agree with the disks. Requests need not wait for it: they look for themselves."""
    folder = house.config.folder / _METRICS
    compared, pending = metrics.shown(folder, "compared_roots"), metrics.shown(folder, "pending_scans")
    total = len(house.tree.roots.everything())
    return f"scan: {compared} of {total} homes and shares compared with the index since the start, {pending} pending"


def figures(environ: dict[str, Any], start: Callable[..., Any], house: House) -> Iterable[bytes]:
    """The metrics of all processes, for Prometheus."""
    if not (_is_of_this_machine(environ) or _has_token(environ, house.config.settings.metrics_token)):
        raise NotFound()
    rendered = metrics.render(house.config.folder / _METRICS, house.database.size())
    return _answer(environ, start, 200, rendered, metrics.MEDIA_TYPE)


def tree(environ: dict[str, Any], start: Callable[..., Any], house: House) -> Iterable[bytes]:
    """Where the tree is (RFC 8615). As a path, which no proxy has to translate."""
    start(status_line(308), [("Location", TREE), ("Content-Length", "0")])
    return []


_ADDRESS = re.compile(r"[0-9.]+|\[[0-9A-Fa-f:.]+\]")

SPECIAL: dict[str, Special] = {"/healthz": alive, "/readyz": ready, "/metrics": figures, "/.well-known/webdav": tree}


def _is_of_this_machine(environ: dict[str, Any]) -> bool:
    """Not through a proxy on this machine: then the client may be anywhere. Nor for a page in a browser on it, whose
    domain suddenly leads here (DNS rebinding): such a domain has a dot in its name.
    """
    host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
    if "." in host and not _ADDRESS.fullmatch(host):
        return False
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
