"""Counting never ends a process, and what is counted says what it is to say."""

import itertools
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from baludav import errors, metrics
from tests.serving import TOP

_COUNT = """
import os, sys
from pathlib import Path
from baludav import metrics
folder = Path(sys.argv[1])
metrics.start(folder)
found = (folder / str(os.getpid())).stat()
assert found.st_blocks * 512 >= found.st_size > 0, "a hole is filled when it is written to, if there is room"
metrics.request("MOVE", 201, 0.1)
sys.stdout.write(metrics.render(folder, 0).decode())
"""


def test_what_it_counts_in_is_there_before(tmp_path: Path) -> None:
    """On a disk that is full by then, the system would kill the process (SIGBUS)."""
    ran = subprocess.run(
        [sys.executable, "-c", _COUNT, str(tmp_path)], cwd=TOP, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert 'baludav_requests_total{method="MOVE",status="201"} 1.0' in ran.stdout


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Counts in a folder of this test."""
    monkeypatch.setattr(metrics, "_here", metrics._here)
    metrics.start(tmp_path)
    yield tmp_path


def _figures(folder: Path) -> dict[str, float]:
    lines = metrics.render(folder, 4096).decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def _quantile(figures: dict[str, float], method: str, share: float) -> float:
    """What Prometheus's `histogram_quantile` gives: linear within the bucket that the share falls into."""
    counts = [figures[f'baludav_request_seconds_bucket{{le="{bound}",method="{method}"}}'] for bound in metrics.BUCKETS]
    rank = share * figures[f'baludav_request_seconds_count{{method="{method}"}}']
    bounds = itertools.pairwise((0.0, *metrics.BUCKETS))
    for (low, high), (below, upto) in zip(bounds, itertools.pairwise((0.0, *counts)), strict=True):
        if upto >= rank:
            return low + (high - low) * (rank - below) / (upto - below)
    raise AssertionError("beyond all buckets")


def test_quantiles_can_be_derived(counted: Path) -> None:
    """P50, P95 and P99 fall into the bucket of the duration that has this rank."""
    for count, seconds in ((60, 0.002), (36, 0.02), (4, 0.7)):
        for _ in range(count):
            metrics.request("PUT", 201, seconds)
    figures = _figures(counted)
    assert 0.001 < _quantile(figures, "PUT", 0.5) <= 0.0025
    assert 0.01 < _quantile(figures, "PUT", 0.95) <= 0.025
    assert 0.5 < _quantile(figures, "PUT", 0.99) <= 1
    assert figures['baludav_request_seconds_sum{method="PUT"}'] == pytest.approx(60 * 0.002 + 36 * 0.02 + 4 * 0.7, 1e-3)


@pytest.mark.parametrize("name", metrics.DURATIONS)
def test_waiting_can_be_told_apart(counted: Path, name: str) -> None:
    """How long tasks wait for a thread, and transactions take."""
    metrics.took(name, 0.003)
    metrics.took(name, 7.0)
    figures = _figures(counted)
    assert figures[f"baludav_{name}_seconds_count"] == 2
    assert figures[f'baludav_{name}_seconds_bucket{{le="0.005"}}'] == 1
    assert figures[f"baludav_{name}_seconds_sum"] == pytest.approx(7.003)


def test_errors_are_counted(counted: Path) -> None:
    """What the log tells of as an error, and no warning."""
    handler = metrics.Errors()
    log = logging.getLogger("tests.metrics")
    log.addHandler(handler)
    log.propagate = False  # to handlers of applications that other tests have made in this process
    try:
        log.error("broken")
        log.warning("hm")
    finally:
        log.removeHandler(handler)
        log.propagate = True
    assert _figures(counted)["baludav_errors_total"] == 1


def test_every_failure_and_method_has_its_own_figure(counted: Path) -> None:
    """None is hidden among others."""
    failures = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.Failure)]
    assert {one.status for one in failures if one is not errors.Failure} <= set(metrics.STATUSES)
    for method in ("PATCH", "REPORT", "UNLOCK"):
        metrics.request(method, 204, 0.001)
        assert _figures(counted)[f'baludav_requests_total{{method="{method}",status="204"}}'] == 1
    metrics.request("BREW", 418, 0.001)
    assert _figures(counted)['baludav_requests_total{method="other",status="other"}'] == 1


def test_gauges_are_those_of_living_processes(counted: Path) -> None:
    metrics.show("pending_scans", 3)
    metrics.show("busy_threads", 2)
    figures = _figures(counted)
    assert (figures["baludav_pending_scans"], figures["baludav_busy_threads"]) == (3, 2)
    assert figures["baludav_index_bytes"] == 4096
    metrics.limit("uploads")
    metrics.count("stale_rows", 2)
    figures = _figures(counted)
    assert figures['baludav_limits_reached_total{limit="uploads"}'] == 1
    assert figures["baludav_stale_rows_total"] == 2
