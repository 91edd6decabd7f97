"""Log lines: one for each event, on standard error, with nothing in them that could pass for another line."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

_requests = logging.getLogger("baludav.requests")
_access = logging.getLogger("baludav.access")


class _OneLine(logging.Formatter):
    """Escapes control characters: names of resources come from clients, and may hold line breaks or worse."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        message = super().formatMessage(record)
        if message.isprintable():
            return message
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in message)


def configure(level: str) -> None:
    """Send the log of every room to standard error.

    Args:
        level: debug, info, warning or error.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("wsgidav").setLevel(logging.WARNING)  # its own lines repeat ours
    logging.getLogger("alembic").setLevel(logging.WARNING)


def access(environ: Mapping[str, Any], status: str, begun: float) -> None:
    """One line for each request, whoever answered it.

    Args:
        environ: of WSGI; `baludav.principal` in it is who signed in.
        status: as sent; its first three characters count.
        begun: monotonic time in seconds.
    """
    principal = environ.get("baludav.principal")
    request(
        environ.get("REMOTE_ADDR", "-"),
        principal.name if principal is not None else "-",
        environ["REQUEST_METHOD"],
        _shown(environ),
        status[:3],
        begun,
    )


def request(address: str, user: str, method: str, target: str, status: str | int, begun: float) -> None:
    """The same, of a request that never had an environment of WSGI."""
    if _access.isEnabledFor(logging.INFO):
        milliseconds = (time.monotonic() - begun) * 1000
        _access.info("%s %s %s %s %s %d ms", address, user, method, target[:500], status, milliseconds)


def failed(environ: Mapping[str, Any], error: Exception) -> None:
    """What the operator must know of a request that failed; nothing, if it was the client's fault."""
    status = getattr(error, "status", None)
    if status is None:  # no failure that the house can name
        _requests.error("%s %s failed", environ["REQUEST_METHOD"], _shown(environ), exc_info=error)
    elif isinstance(error.__cause__, OSError) and status >= 500:
        _requests.warning("%s %s: %s", environ["REQUEST_METHOD"], _shown(environ), error.__cause__)


def _shown(environ: Mapping[str, Any]) -> str:
    return str(environ.get("REQUEST_URI") or environ.get("PATH_INFO"))[:500]
