"""What is going on at a time is counted over all processes, and what died is not counted for ever."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from baludav.limits.parts import Parts
from baludav.limits.turns import Turns


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[], None]], int]]:
    """Starts processes that do something and then wait until they are killed."""
    running: list[int] = []

    def fork(work: Callable[[], None]) -> int:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(read)  # so that it ends with the test, however that ends
            try:
                work()
                os.write(write, b"1")
                signal.pause()
            finally:
                os._exit(1)
        running.append(pid)
        os.close(write)
        assert os.read(read, 1) == b"1"
        os.close(read)
        return pid

    yield fork
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _enter(turns: Turns, row: int, times: int) -> Callable[[], None]:
    def work() -> None:
        assert all(turns.enter(row, 10) for _ in range(times))

    return work


def test_so_many_at_a_time() -> None:
    """For each, whatever others do; who leaves makes room."""
    turns = Turns(Parts(3))
    assert [turns.enter(1, 2) for _ in range(3)] == [True, True, False]
    assert turns.enter(2, 1)
    turns.leave(1)
    assert [turns.enter(1, 2) for _ in range(2)] == [True, False]


def test_all_processes_count(fork: Callable[[Callable[[], None]], int]) -> None:
    turns = Turns(Parts(3))
    fork(_enter(turns, 7, 2))
    fork(_enter(turns, 7, 1))
    assert [turns.enter(7, 5) for _ in range(3)] == [True, True, False]
    assert turns.enter(8, 1)


def test_what_a_dead_process_did_is_over(fork: Callable[[Callable[[], None]], int]) -> None:
    """Its turns are free, but not those of the living; and its place is taken by another."""
    turns = Turns(Parts(3))
    fork(_enter(turns, 7, 1))
    dead = fork(_enter(turns, 7, 4))
    assert not turns.enter(7, 5)
    os.kill(dead, signal.SIGKILL)
    os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)
    assert [turns.enter(7, 3) for _ in range(3)] == [True, True, False]
    fork(_enter(turns, 9, 1))
    assert [turns.enter(9, 2) for _ in range(2)] == [True, False]


def test_more_processes_than_places(fork: Callable[[Callable[[], None]], int]) -> None:
    """One that finds no place sees what the others count, which do not see what it counts."""
    turns = Turns(Parts(1))
    fork(_enter(turns, 7, 2))
    assert [turns.enter(7, 3) for _ in range(2)] == [True, False]
    turns.leave(7)
    assert turns.enter(7, 3)
