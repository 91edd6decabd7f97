"""The access log: a line for each request, whoever answered it. At `log_level: warning` and above there is none."""

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from typing import NamedTuple

import msgspec

from baludav.log.text import masked, one_line

_log = logging.getLogger("baludav.access")
_GATHERED_SECONDS = 0.1


class Answered(NamedTuple):
    """A request, and how it was answered.

    Attributes:
        request: names it.
        user, device: who signed in, and with which device or app password; empty for nobody.
        target: as it was sent.
        sent: bytes of the body of the answer, as far as they went.
        received: bytes of the body of the request, likewise.
        begun: monotonic time in seconds.
    """

    request: str
    address: str
    user: str
    device: str
    method: str
    target: str
    status: int
    sent: int
    received: int
    begun: float


class _Gathered(logging.Handler):
    """Lines of many requests, written together: one at a time they would cost more than the answers.

    Attributes:
        is_json: what the lines are like.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_json = False
        self._lines: deque[str] = deque()
        self._has_lines = threading.Event()
        self._thread: threading.Thread | None = None
        self._second = 0
        self._stamps = ("", "")
        self._process = 0

    def add(self, answered: Answered) -> None:
        """Take one line; it is written within a tenth of a second. For any thread."""
        now = time.time()
        if int(now) != self._second:
            local, utc = time.localtime(now), time.gmtime(now)
            self._process = os.getpid()
            self._stamps = time.strftime("%Y-%m-%d %H:%M:%S", local), time.strftime("%Y-%m-%dT%H:%M:%S", utc)
            self._second = int(now)
        millisecond = f"{int(now % 1 * 1000):03}"
        self._lines.append((self._object if self.is_json else self._text)(answered, millisecond))
        if not self._has_lines.is_set():
            self._has_lines.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
                self._thread.start()

    def _text(self, answered: Answered, millisecond: str) -> str:
        request, address, user, device, method, target, status, sent, received, begun = answered
        milliseconds = int((time.monotonic() - begun) * 1000)
        of_device = f" device {one_line(device)}" if device else ""
        return (
            f"{self._stamps[0]},{millisecond} {self._process} INFO {_log.name} [{request}]: {address or '-'} "
            f"{one_line(user) or '-'} {method} {one_line(masked(target))} {status} {received} B in {sent} B out "
            f"{milliseconds} ms{of_device}\n"
        )

    def _object(self, answered: Answered, millisecond: str) -> str:
        request, address, user, device, method, target, status, sent, received, begun = answered
        told = _encoder.encode({
            "time": f"{self._stamps[1]}.{millisecond}Z", "level": "info", "logger": _log.name, "process": self._process,
            "request": request, "address": address, "user": user or None, "device": device or None, "method": method,
            "path": masked(target), "status": status, "bytes": sent, "received": received,
            "seconds": round(time.monotonic() - begun, 6),
        })  # fmt: skip
        return f"{told.decode()}\n"

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


_encoder = msgspec.json.Encoder()
_gathered = _Gathered()


def configure(format: str) -> None:
    """Write lines of `text`, or of `json`."""
    _gathered.is_json = format == "json"


def is_on() -> bool:
    """Whether requests are to be told of at all."""
    return _log.isEnabledFor(logging.INFO)


def add(answered: Answered) -> None:
    """Tell of a request; call it only if the log is on."""
    _gathered.add(answered)
