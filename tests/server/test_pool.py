"""Few tasks run at a time, and none waits for one that takes long."""

import hashlib
import threading
from collections.abc import Callable, Iterator

import pytest

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
    wait_for(lambda: task.done == 200, 30, "all are done")
    assert task.most <= 2
    assert pool.busy == 0


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
    assert pool.busy == 8
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


def test_a_task_that_fails_costs_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    pool, task = Pool(1, 1), Counting()
    pool.submit(lambda: [][0])
    pool.submit(task)
    wait_for(lambda: task.done == 1, 10, "the next task")
    assert "a task failed" in caplog.text
