"""Log lines of the rooms: one for each event, as text or as JSON, with the request that it belongs to."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from baludav import origin
from baludav.log import access
from baludav.log.text import masked, one_line

_requests = logging.getLogger("baludav.requests")


class _Text(logging.Formatter):
    """Escapes control characters: names of resources come from clients, and may hold line breaks or worse.

    What follows the first line of a record, such as a traceback, is set in: no line of it passes for another record.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        request = origin.current().request_id
        record.request = f" [{request}]" if request else ""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"  {one_line(line)}" for line in super().formatException(ei).splitlines())


class _Json(logging.Formatter):
    """One object on each line; a traceback is text in it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": one_line(record.getMessage()),
        }
        if request := origin.current().request_id:
            told["request"] = request
        if record.exc_info:
            lines = self.formatException(record.exc_info).splitlines()
            told["traceback"] = "\n".join(map(one_line, lines))
        return msgspec.json.encode(told).decode()


def configure(level: str, format: str) -> None:
    """Send the log of every room to standard error.

    Args:
        level: debug, info, warning or error.
        format: text or json.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = _Text("%(asctime)s %(process)d %(levelname)s %(name)s%(request)s: %(message)s")
    handler.setFormatter(_Json() if format == "json" else text)
    access.configure(format)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("wsgidav").setLevel(logging.WARNING)  # its own lines repeat ours
    logging.getLogger("alembic").setLevel(logging.WARNING)


def failed(environ: Mapping[str, Any], error: Exception) -> None:
    """What the operator must know of a request that failed; nothing, if it was the client's fault."""
    status = getattr(error, "status", None)
    target = masked(str(environ.get("REQUEST_URI") or environ.get("PATH_INFO")))
    if status is None:  # no failure that the house can name
        _requests.error("%s %s failed", environ["REQUEST_METHOD"], target, exc_info=error)
    elif error.__cause__ is not None and status >= 500:
        # Of a statement of the database only what went wrong.
        cause = getattr(error.__cause__, "orig", error.__cause__)
        _requests.warning("%s %s: %s", environ["REQUEST_METHOD"], target, cause)
