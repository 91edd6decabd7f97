"""Connections are spread over the workers."""

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Callable

from baludav.server.balance import Balance
from tests.server.conftest import Running
from tests.serving import wait_for


def test_who_has_more_is_fuller() -> None:
    """Compared with those that serve; not with those that have not begun, or have left."""
    balance = Balance(3)
    first, second, third = (balance.take() for _ in range(3))
    first.tell(5)
    assert not first.is_fuller
    second.tell(4)
    assert first.is_fuller
    assert not second.is_fuller
    third.tell(0)
    assert second.is_fuller
    balance.free(third)
    assert not second.is_fuller
    assert balance.take().number == third.number


def test_there_are_seats_for_all() -> None:
    """More workers than expected do their work without being seen."""
    balance = Balance(1)
    seat, unseen = balance.take(), balance.take()
    seat.tell(3)
    unseen.tell(0)
    assert not seat.is_fuller
    balance.free(unseen)
    balance.free(seat)
    assert balance.take().numbers is seat.numbers


def _spread(server: Running, connections: int) -> Counter[int]:
    """How many of so many connections, all open at a time, each worker has."""
    found: Counter[int] = Counter()
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(server.connect()) for _ in range(connections)]
        for connection in sockets:
            connection.sendall(b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n")
        for connection in sockets:
            answer = b""
            while b"}" not in answer:
                answer += connection.recv(4096)
            found[json.loads(answer.partition(b"\r\n\r\n")[2])["pid"]] += 1
    return found


def _is_spread(server: Running) -> bool:
    """No worker has most of ten bursts. Of one it may: how the system lets the workers run has a say in it."""
    return sum(min(_spread(server, 40)[pid] for pid in server.workers()) for _ in range(10)) >= 10 * 15


def test_a_burst_is_spread(start: Callable[..., Running]) -> None:
    """Also after one worker was killed and replaced."""
    server = start(workers=2)
    assert _is_spread(server)
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: len(server.workers()) == 2 and before[0] not in server.workers(), 10, "a new worker")
    wait_for(lambda: _is_spread(server), 20, "it takes its share")
