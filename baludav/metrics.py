"""Counts what the server does, in memory that its processes share, and shows it as Prometheus wants it.

Each process counts in a file of its own, mapped into its memory, so that counting costs a tenth of a microsecond and
whichever process is asked can add up all. What a process that has ended had counted is kept.
"""

import contextlib
import fcntl
import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

METHODS = (
    "GET", "HEAD", "PUT", "PROPFIND", "DELETE", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK", "UNLOCK", "REPORT",
    "OPTIONS", "POST", "other",
)  # fmt: skip
STATUSES = (
    200, 201, 204, 206, 207, 304, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 416, 422, 423, 429, 500,
    501, 502, 503, 507, 0,
)  # fmt: skip
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
COUNTERS = {
    "hot_answers": "Requests answered by the hot lane",
    "commits": "Transactions of the index",
    "commit_works": "Changes committed by them: many writers share a transaction",
    "commit_microseconds": "Time that transactions took, their turn included",
}
GAUGES = {
    "open_connections": "Connections of clients",
    "busy_threads": "Threads of the pools that work or wait for a client",
}

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHOD = {method: number for number, method in enumerate(METHODS)}
_STATUS = {status: number for number, status in enumerate(STATUSES)}
_PER_METHOD = len(BUCKETS) + 2  # a count for each bucket and beyond, and the microseconds of all
_LATENCIES = len(METHODS) * len(STATUSES)
_OTHERS = _LATENCIES + len(METHODS) * _PER_METHOD
_GAUGES = _OTHERS + len(COUNTERS)
_SLOTS = _GAUGES + len(GAUGES)
_SLOT = {name: _OTHERS + number for number, name in enumerate((*COUNTERS, *GAUGES))}
_PAST = "past"  # the file of all processes that have ended

_here = memoryview(bytearray(8 * _SLOTS)).cast("Q")  # until `start` is called, nobody sees what is counted


def start(folder: Path) -> None:
    """Count in a file of this process from now on; call it after `fork`.

    Args:
        folder: of the files of all processes; made if it is not there.
    """
    global _here
    folder.mkdir(mode=0o700, exist_ok=True)
    _bury(folder)
    fd = os.open(folder / str(os.getpid()), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)  # until the process ends: so others know that it lives
    os.ftruncate(fd, 8 * _SLOTS)
    _here = memoryview(mmap.mmap(fd, 8 * _SLOTS)).cast("Q")


def request(method: str, status: int, seconds: float) -> None:
    """Count an answered request."""
    number = _METHOD.get(method, len(METHODS) - 1)
    _here[number * len(STATUSES) + _STATUS.get(status, len(STATUSES) - 1)] += 1
    base = _LATENCIES + number * _PER_METHOD
    _here[base + bisect_left(BUCKETS, seconds)] += 1
    _here[base + _PER_METHOD - 1] += int(seconds * 1_000_000)


def count(name: str, more: int = 1) -> None:
    """Raise one of COUNTERS."""
    _here[_SLOT[name]] += more


def show(name: str, value: int) -> None:
    """Set one of GAUGES for this process."""
    _here[_SLOT[name]] = value


def render(folder: Path) -> bytes:
    """What all processes have counted, in Prometheus's text format (version 0.0.4)."""
    registry = CollectorRegistry()
    registry.register(_Sums(_total(folder)))
    return generate_latest(registry)


class _Sums(Collector):
    def __init__(self, slots: list[int]) -> None:
        self._slots = slots

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        for name, meaning in COUNTERS.items():
            if name == "commit_microseconds":
                yield CounterMetricFamily("baludav_commit_seconds", meaning, value=self._slots[_SLOT[name]] / 1e6)
            else:
                yield CounterMetricFamily(f"baludav_{name}", meaning, value=self._slots[_SLOT[name]])
        for name, meaning in GAUGES.items():
            yield GaugeMetricFamily(f"baludav_{name}", meaning, value=self._slots[_SLOT[name]])

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
            base = _LATENCIES + number * _PER_METHOD
            counts = self._slots[base : base + _PER_METHOD - 1]
            if any(counts):
                bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
                buckets = [(bound, sum(counts[: place + 1])) for place, bound in enumerate(bounds)]
                latencies.add_metric((method,), buckets, self._slots[base + _PER_METHOD - 1] / 1e6)
        yield requests
        yield latencies


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
