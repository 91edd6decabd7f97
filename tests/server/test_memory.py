"""What a worker needed for a moment is the system's again soon after."""

import concurrent.futures
from pathlib import Path

import pytest
import requests

from baludav.server import memory
from tests.serving import Server, wait_for

HASH = 19 << 20  # bytes that hashing one password takes


def _status(pid: int, name: str) -> int:
    """A figure of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (found,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(found.split()[1]) * 1024


def test_memory_of_sign_ins_is_given_back(tmp_path: Path) -> None:
    """Many who sign in at once take memory for their hashes; it does not stay with the worker."""
    with Server(tmp_path / "data", workers=1) as server:
        (worker,) = server.pids()[1:]
        before = _status(worker, "VmRSS")

        def sign_in(number: int) -> int:
            return requests.get(server.dav("admin"), auth=(f"user{number}", "wrong"), timeout=60).status_code

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert set(pool.map(sign_in, range(8))) <= {401, 429}
        assert _status(worker, "VmHWM") - before > HASH // 2, "it did take memory"
        wait_for(lambda: _status(worker, "VmRSS") - before < HASH // 2, 30, "the memory is given back")


def test_only_who_has_worked_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most once in ten seconds, and never by a process that has nothing to do."""
    now, worked = 100.0, 5.0
    monkeypatch.setattr(memory.time, "monotonic", lambda: now)
    monkeypatch.setattr(memory.time, "process_time", lambda: worked)
    pace = memory.Pace()
    worked += 1
    assert not pace.is_due()
    now += 11
    assert pace.is_due()
    assert not pace.is_due()
    now += 11
    assert not pace.is_due(), "it has done nothing"
    worked += 1
    assert not pace.is_due(), "it looks once in ten seconds"
    now += 11
    assert pace.is_due()
