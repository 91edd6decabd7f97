"""The measurements run, assert their results, and save what they found; how fast it was is no matter here."""

import json
from pathlib import Path

from perf import benchmark_sync, events, load_test_sync, plans, sync

FIGURES = {"min_ms", "median_ms", "mean_ms", "p95_ms", "p99_ms", "operations_per_second", "success_rate"}


def test_benchmark_saves_every_figure(tmp_path: Path) -> None:
    """Transfers by size, hashing, clients, memory and index queries are in the report."""
    assert benchmark_sync.main(["--quick", "--results", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "benchmark_sync.json").read_text())
    results = report["results"]
    assert [row["size"] for row in results["sha256"]] == ["1 KB", "10 KB", "100 KB", "1 MB", "5 MB"]
    assert len(results["transfers"]) == 10
    assert {row["query"] for row in results["index"]} == {"by id", "by path", "all, sorted"}
    assert all(row["success_rate"] == 1.0 for row in results["clients"])
    assert results["memory"]["after_MiB"] > 0
    assert {"machine", "versions", "date", "settings"} <= report.keys()


def test_load_test_has_no_failed_operation(tmp_path: Path) -> None:
    """Each of the five loads reports its figures, and every operation succeeded."""
    assert load_test_sync.main(["--quick", "--results", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "load_test_sync.json").read_text())["results"]
    assert len(results) == 5
    for result in results.values():
        assert result["success_rate"] == 1.0
        assert result.keys() >= FIGURES


def test_events_are_measured(tmp_path: Path) -> None:
    """Latency to a listener on the same and on another worker, and what many listeners cost."""
    assert events.main(["--quick", "--results", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "events.json").read_text())["results"]
    assert [row["listener on"] for row in results["latency"]] == ["same worker", "another worker"]
    assert all(0 < row["median_ms"] <= row["p95_ms"] for row in results["latency"])
    assert results["idle"][0].keys() == {"listeners", "more_threads", "more_MiB", "last_told_ms"}


def test_plans_are_measured(tmp_path: Path) -> None:
    """What a plan takes when nothing changed, something, everything; and which part of it the index."""
    assert plans.main(["--quick", "--results", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "plans.json").read_text())["results"]["plans"]
    assert [row["case"] for row in rows] == [
        "nothing changed", "10 edited", "10 moved", "a new device", "everything in conflict",
    ]  # fmt: skip
    assert all(row["total_ms"] > 0 and row["index_ms"] > 0 for row in rows)


def test_sync_is_measured(tmp_path: Path) -> None:
    """The same questions in namespaces of each size; how a first scan, the whole state and an outside edit fare."""
    assert sync.main(["--quick", "--results", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "sync.json").read_text())["results"]
    assert [row["files"] for row in results["first scan"]] == list(sync.QUICK_SIZES)
    assert all(row["files_per_s"] > 0 and row["sha256sum_files_per_s"] > 0 for row in results["first scan"])
    assert [row["milliseconds for"] for row in results["flat"]] == [
        "nothing changed: GET changes", "nothing changed: REPORT", "nothing changed: PROPFIND",
        "10 changes: GET changes", "10 changes: REPORT", "state of a folder of 100 files",
    ]  # fmt: skip
    assert all(row["most/least"] >= 1 for row in results["flat"])
    assert [row["files"] for row in results["state"]] == list(sync.QUICK_SIZES)
    assert len(results["outside"]) == 1
