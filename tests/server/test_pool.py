"""Few tasks run at a time, and none waits for one that takes long."""

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from baludav.server import pool as pools
from baludav.server.pool import Pool
from tests.serving import wait_for


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What tasks wait for; opened at the end, so that no thread is left behind."""
    gate = threading.Event()
    yield gate
    gate.set()


class Counting:
    """A short task that counts how many of its kind run at a time."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 500)  # without the GIL
        with self._lock:
            self.now -= 1
            self.done += 1


def _blocked(pool: Pool, gate: threading.Event) -> Callable[[], None]:
    def task() -> None:
        with pool.blocked():
            gate.wait(30)

    return task


def test_few_run_at_a_time() -> None:
    pool, task = Pool(2, 50), Counting()
    for _ in range(200):
        pool.submit(task)
    wait_for(lambda: task.done == 200 and pool.busy == 0, 30, "all are done")
    assert task.most <= 2


def test_who_waits_lets_another_run(gate: threading.Event) -> None:
    """At once, as often as it happens, and with no more threads than wait at a time."""
    pool, task = Pool(1, 50), Counting()
    for _ in range(5):
        pool.submit(_blocked(pool, gate))
    pool.submit(task)
    wait_for(lambda: task.done == 1, 10, "a task beside five that wait")
    gate.set()
    wait_for(lambda: pool.busy == 0, 10, "all are done")
    for _ in range(20):
        pool.submit(_blocked(pool, gate))
        pool.submit(task)
    wait_for(lambda: task.done == 21, 10, "all are done")
    assert len(pool._threads) <= 8
    assert task.most == 1


def test_a_long_task_holds_nobody_up(gate: threading.Event) -> None:
    """Though it does not say that it is one, and there are more of them than threads may run."""
    pool, task = Pool(2, 50), Counting()
    for _ in range(8):
        pool.submit(lambda: gate.wait(30) and None)
    pool.submit(task)
    wait_for(lambda: not pool.relieve() and task.done == 1, 10, "a task behind eight long ones")
    wait_for(lambda: pool.busy == 8, 10, "only the long ones are left")
    gate.set()
    wait_for(lambda: pool.busy == 0, 10, "all are done")
    for _ in range(100):
        pool.submit(task)
    wait_for(lambda: task.done == 101, 10, "all are done")
    assert task.most <= 2


def test_there_is_an_end_to_threads(gate: threading.Event) -> None:
    """What is too much waits its turn, and gets it."""
    pool, task = Pool(1, 3), Counting()
    for _ in range(6):
        pool.submit(_blocked(pool, gate))
    pool.submit(task)
    wait_for(lambda: len(pool._threads) == 3, 10, "as many threads as there may be")
    assert pool.relieve()
    assert task.done == 0
    gate.set()
    wait_for(lambda: task.done == 1 and pool.busy == 0, 10, "all are done")


def test_who_rests_lets_those_begin_that_wait(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of one ends once no task waits, that of the others when they are woken."""
    monkeypatch.setattr(pools, "PATIENCE", 30.0)
    pool, begun, rested = Pool(1, 50), [], []
    wakes = [queue.SimpleQueue[None]() for _ in range(5)]

    def task(number: int) -> None:
        begun.append(number)
        pool.rest(wakes[number])
        rested.append((number, len(begun)))

    pool.submit(lambda: gate.wait(30) and None)
    for number in range(5):
        pool.submit(lambda number=number: task(number))  # type: ignore[misc]
    gate.set()
    wait_for(lambda: len(rested) == 2, 10, "the last, which need not rest, and the first, when nobody was left")
    assert rested == [(4, 5), (0, 5)]
    for wake in wakes:
        wake.put(None)
    wait_for(lambda: pool.busy == 0, 10, "all are done")
    assert len(rested) == 5


@pytest.mark.parametrize("is_blocked", [True, False])
def test_a_rest_ends_when_nobody_runs_or_somebody_runs_for_long(gate: threading.Event, *, is_blocked: bool) -> None:
    pool, begin, rested = Pool(1, 50), threading.Event(), threading.Event()

    def rest() -> None:
        pool.rest(queue.SimpleQueue())
        rested.set()

    pool.submit(lambda: begin.wait(30) and None)
    pool.submit(rest)
    pool.submit(_blocked(pool, gate) if is_blocked else lambda: gate.wait(30) and None)
    begin.set()
    assert rested.wait(10)


def test_a_task_that_fails_costs_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    pool, task = Pool(1, 1), Counting()
    pool.submit(lambda: [][0])
    pool.submit(task)
    wait_for(lambda: task.done == 1, 10, "the next task")
    assert "a task failed" in caplog.text
