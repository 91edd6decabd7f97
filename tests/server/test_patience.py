"""How long a client is waited for, by a clock of the tests."""

import socket

import pytest

from baludav.server.patience import Patience, untaken


class Clock:
    now = 1.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _wait(patience: Patience, clock: Clock, seconds: float, received: int = 0) -> float:
    """Wait for a client, who then sends something; what patience is left."""
    patience.start(-1)
    clock.now += seconds
    patience.stop()
    patience.moved(received)
    return patience.left


def test_a_trickle_is_as_good_as_silence(clock: Clock) -> None:
    """Sixty seconds, whether nothing comes or ninety-nine bytes a second."""
    silent, slow = Patience(60, 100, clock), Patience(60, 100, clock)
    assert _wait(silent, clock, 59) == 1
    assert _wait(silent, clock, 1) == 0
    for second in range(59):
        assert _wait(slow, clock, 1, 99) == 59 - second
    assert _wait(slow, clock, 1) == 0


def test_who_gets_on_is_waited_for(clock: Clock) -> None:
    """A hundred bytes a second are enough for ever, also if they come in bursts."""
    patience = Patience(60, 100, clock)
    for _ in range(100):
        assert _wait(patience, clock, 50, 6_000) == 60


def test_only_waiting_counts(clock: Clock) -> None:
    """Not the time that the server itself takes."""
    patience = Patience(60, 100, clock)
    for left in (50, 40, 30):
        assert _wait(patience, clock, 10, 1) == left
        clock.now += 1_000


def test_without_a_rate_each_byte_buys_the_time_again(clock: Clock) -> None:
    patience = Patience(60, 0, clock)
    assert _wait(patience, clock, 59, 1) == 60
    assert _wait(patience, clock, 60) == 0


def test_what_was_taken_counts(clock: Clock) -> None:
    """As the other machine acknowledges it, not as the kernel takes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(listener.getsockname())
        writer, _ = listener.accept()
        with reader, writer:
            writer.setblocking(False)
            sent = 0
            try:
                while True:
                    sent += writer.send(b"x" * 65536)
            except BlockingIOError:
                pass
            before = untaken(writer.fileno())
            assert before > 0
            patience = Patience(60, 1000, clock)
            patience.start(writer.fileno())
            clock.now += 59
            taken = 0
            while before - untaken(writer.fileno()) < 60_000 and taken < sent:
                taken += len(reader.recv(65536))
            patience.stop()
            assert patience.left == 60
    assert untaken(writer.fileno()) == 0
