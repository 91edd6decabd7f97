"""Log lines: one for each event, on standard error, with nothing in them that could pass for another line."""

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

_requests = logging.getLogger("baludav.requests")
_access = logging.getLogger("baludav.access")
_GATHERED_SECONDS = 0.1


class _OneLine(logging.Formatter):
    """Escapes control characters: names of resources come from clients, and may hold line breaks or worse."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))


def one_line(message: str) -> str:
    """The text with everything escaped that could move the cursor or pass for another line."""
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in message)


class _Gathered(logging.Handler):
    """Lines of many requests, written together: one at a time they would cost more than the answers."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque()
        self._has_lines = threading.Event()
        self._thread: threading.Thread | None = None
        self._second = 0
        self._stamp = ""

    def add(self, message: str) -> None:
        """Take one line; it is written within a tenth of a second. For any thread."""
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        line = f"{self._stamp},{int(now % 1 * 1000):03} {os.getpid()} INFO {_access.name}: {one_line(message)}\n"
        self._lines.append(line)
        if not self._has_lines.is_set():
            self._has_lines.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or the disk it goes to is full
            sys.stderr.write("".join(lines))
            sys.stderr.flush()

    def _write(self) -> None:
        while self._has_lines.wait():
            time.sleep(_GATHERED_SECONDS)
            self._has_lines.clear()
            self.flush()


_gathered = _Gathered()


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
        milliseconds = int((time.monotonic() - begun) * 1000)
        _gathered.add(f"{address} {user} {method} {target[:500]} {status} {milliseconds} ms")


def failed(environ: Mapping[str, Any], error: Exception) -> None:
    """What the operator must know of a request that failed; nothing, if it was the client's fault."""
    status = getattr(error, "status", None)
    if status is None:  # no failure that the house can name
        _requests.error("%s %s failed", environ["REQUEST_METHOD"], _shown(environ), exc_info=error)
    elif isinstance(error.__cause__, OSError) and status >= 500:
        _requests.warning("%s %s: %s", environ["REQUEST_METHOD"], _shown(environ), error.__cause__)


def _shown(environ: Mapping[str, Any]) -> str:
    return str(environ.get("REQUEST_URI") or environ.get("PATH_INFO"))[:500]
