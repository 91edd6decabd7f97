"""Counts what the server does, in memory that its processes share, and shows it as Prometheus wants it.

Each process counts in a file of its own, mapped into its memory, so that counting costs a tenth of a microsecond and
whichever process is asked can add up all. What a process that has ended had counted is kept.
"""

import contextlib
import fcntl
import itertools
import logging
import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

METHODS = (
    "GET", "HEAD", "PUT", "PROPFIND", "DELETE", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK", "UNLOCK", "REPORT",
    "OPTIONS", "POST", "PATCH", "other",
)  # fmt: skip
STATUSES = (
    200, 201, 204, 206, 207, 303, 304, 308, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 414, 415, 416, 417, 422,
    423, 424, 429, 431, 460, 500, 501, 502, 503, 507, 0,
)  # fmt: skip
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
COUNTERS = {
    "hot_answers": "Requests answered by the hot lane",
    "commits": "Transactions of the index",
    "commit_works": "Changes committed by them: many writers share a transaction",
    "sent_bytes": "Bytes sent to clients, heads included",
    "received_bytes": "Bytes received from clients, heads included",
    "stale_rows": "Rows of the index that did not agree with the disk, and were mended",
    "errors": "Failures of the server's own that the log tells of",
}
LIMITS = (  # of the configuration: those that are refused beyond
    "request_line", "headers", "xml_body", "upload", "path_depth", "name_bytes", "listing", "properties",
    "properties_total", "locks", "devices", "listeners", "listeners_total", "uploads", "unfinished_uploads",
    "requests_per_user", "requests_per_address", "head_seconds", "transfer_rate",
)  # fmt: skip
GAUGES = {
    "pending_scans": "Storage roots and folders that are to be compared with the index",
    "compared_roots": "Storage roots that were compared with the index since the start",
    "open_connections": "Connections of clients",
    "busy_threads": "Threads of the pools that work or wait for a client",
}

DURATIONS = {
    "queue": "Time that a request or a task waits for a thread of the pool",
    "commit": "Time that a transaction of the index takes, its turn included",
}

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHOD = {method: number for number, method in enumerate(METHODS)}
_STATUS = {status: number for number, status in enumerate(STATUSES)}
_PER_METHOD = len(BUCKETS) + 2  # a count for each bucket and beyond, and the microseconds of all
_LATENCIES = len(METHODS) * len(STATUSES)
_DURATION = {name: _LATENCIES + (len(METHODS) + number) * _PER_METHOD for number, name in enumerate(DURATIONS)}
_OTHERS = _LATENCIES + (len(METHODS) + len(DURATIONS)) * _PER_METHOD
_REACHED = _OTHERS + len(COUNTERS)
_GAUGES = _REACHED + len(LIMITS)
_SLOTS = _GAUGES + len(GAUGES)
_SLOT = {name: _OTHERS + number for number, name in enumerate(COUNTERS)}
_SLOT |= {name: _GAUGES + number for number, name in enumerate(GAUGES)}
_LIMIT = {name: _REACHED + number for number, name in enumerate(LIMITS)}
_PAST = "past"  # the file of all processes that have ended

_here = memoryview(bytearray(8 * _SLOTS)).cast("Q")  # until `start` is called, nobody sees what is counted


def start(folder: Path) -> None:
    """Count in a file of this process from now on; call it after `fork`.

    Args:
        folder: of the files of all processes; made if it is not there.
    """
    global _here
    _bury(folder)
    fd = os.open(folder / str(os.getpid()), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)  # until the process ends: so others know that it lives
    try:
        # Not a hole, which would be filled when something is first counted there: on a full disk by a bus error.
        if os.pwrite(fd, bytes(8 * _SLOTS), 0) == 8 * _SLOTS:
            _here = memoryview(mmap.mmap(fd, 8 * _SLOTS)).cast("Q")
    except OSError as error:
        log.warning("what this process does is not counted: %s", error.strerror)


def request(method: str, status: int, seconds: float) -> None:
    """Count an answered request."""
    number = _METHOD.get(method, len(METHODS) - 1)
    _here[number * len(STATUSES) + _STATUS.get(status, len(STATUSES) - 1)] += 1
    _observe(_LATENCIES + number * _PER_METHOD, seconds)


def took(name: str, seconds: float) -> None:
    """Count how long one of DURATIONS was."""
    _observe(_DURATION[name], seconds)


def count(name: str, more: int = 1) -> None:
    """Raise one of COUNTERS."""
    _here[_SLOT[name]] += more


def limit(name: str) -> None:
    """Count that one of LIMITS was reached."""
    _here[_LIMIT[name]] += 1


def show(name: str, value: int) -> None:
    """Set one of GAUGES for this process."""
    _here[_SLOT[name]] = value


def shown(folder: Path, name: str) -> int:
    """The sum of one of GAUGES over all processes."""
    return _total(folder)[_SLOT[name]]


def render(folder: Path, index_bytes: int) -> bytes:
    """What all processes have counted, in Prometheus's text format (version 0.0.4).

    Args:
        index_bytes: size of the index on the disk.
    """
    registry = CollectorRegistry()
    registry.register(_Sums(_total(folder), index_bytes))
    return generate_latest(registry)


class Errors(logging.Handler):
    """Counts what the log tells of as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        count("errors")


def _observe(base: int, seconds: float) -> None:
    _here[base + bisect_left(BUCKETS, seconds)] += 1
    _here[base + _PER_METHOD - 1] += int(seconds * 1_000_000)


class _Sums(Collector):
    def __init__(self, slots: list[int], index_bytes: int) -> None:
        self._slots = slots
        self._index_bytes = index_bytes

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        for name, meaning in COUNTERS.items():
            yield CounterMetricFamily(f"baludav_{name}", meaning, value=self._slots[_SLOT[name]])
        reached = CounterMetricFamily("baludav_limits_reached", "Times that a limit was reached", labels=("limit",))
        for name, slot in _LIMIT.items():
            reached.add_metric((name,), self._slots[slot])
        yield reached
        for name, meaning in GAUGES.items():
            yield GaugeMetricFamily(f"baludav_{name}", meaning, value=self._slots[_SLOT[name]])
        for name, meaning in DURATIONS.items():
            duration = HistogramMetricFamily(f"baludav_{name}_seconds", meaning)
            duration.add_metric((), *self._histogram(_DURATION[name]))
            yield duration
        yield GaugeMetricFamily("baludav_index_bytes", "Size of the index on the disk", value=self._index_bytes)

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("baludav_requests", "Requests by method and status", labels=("method", "status"))
        latencies = HistogramMetricFamily(
            "baludav_request_seconds", "Time from a request to the end of its answer's head", labels=("method",)
        )
        for number, method in enumerate(METHODS):
            for place, status in enumerate(STATUSES):
                value = self._slots[number * len(STATUSES) + place]
                if value:
                    requests.add_metric((method, str(status or "other")), value)
            buckets, total = self._histogram(_LATENCIES + number * _PER_METHOD)
            if buckets[-1][1]:
                latencies.add_metric((method,), buckets, total)
        yield requests
        yield latencies

    def _histogram(self, base: int) -> tuple[list[tuple[str, float]], float]:
        """Bounds with the counts up to each, and the seconds of all."""
        bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
        sums = itertools.accumulate(self._slots[base : base + _PER_METHOD - 1])
        return list(zip(bounds, map(float, sums), strict=True)), self._slots[base + _PER_METHOD - 1] / 1e6


def _total(folder: Path) -> list[int]:
    _bury(folder)
    total = [0] * _SLOTS
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total = [a + b for a, b in zip(total, _read(file), strict=True)]
    return total


def _read(file: Path) -> list[int]:
    data = file.read_bytes()
    if len(data) != 8 * _SLOTS:  # being made, or of another version
        return [0] * _SLOTS
    return list(memoryview(data).cast("Q"))


def _bury(folder: Path) -> None:
    """Add what processes that have ended counted to what is past."""
    folder.mkdir(mode=0o700, exist_ok=True)
    past = os.open(folder / _PAST, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(past, fcntl.LOCK_EX)
        total = _read(folder / _PAST)
        ended = [file for file in folder.iterdir() if file.name != _PAST and _has_ended(file)]
        for file in ended:
            counted = _read(file)
            total = [a + b for a, b in zip(total, counted[:_GAUGES] + [0] * len(GAUGES), strict=True)]
            file.unlink()
        if ended:
            os.pwrite(past, memoryview(array("Q", total)), 0)
    finally:
        os.close(past)


def _has_ended(file: Path) -> bool:
    try:
        fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
