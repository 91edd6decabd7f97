"""Token buckets: how many tokens they give, when the next, and that all processes take from the same."""

import os
import signal

from hypothesis import given
from hypothesis import strategies as st

from baludav.limits.buckets import Buckets, Rate, key_of
from baludav.limits.parts import Parts

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


def test_a_bucket_empties_and_fills_again() -> None:
    clock = Clock()
    buckets, rate = Buckets(Parts(), clock=clock), Rate(60, 60)
    assert [buckets.take(1, rate) for _ in range(60)] == [0.0] * 60
    assert [buckets.take(1, rate) for _ in range(3)] == [1.0] * 3  # who asks in vain does not wait longer
    assert buckets.take(2, rate) == 0.0
    clock.now += SECOND // 4
    assert buckets.take(1, rate) == 0.75
    clock.now += 2 * SECOND
    assert [buckets.take(1, rate) for _ in range(3)] == [0.0, 0.0, 0.75]
    clock.now += 1000 * SECOND
    assert [buckets.take(1, rate) == 0.0 for _ in range(61)] == [True] * 60 + [False]


@given(st.lists(st.integers(0, 3 * SECOND), max_size=300), st.integers(1, 20), st.integers(1, 10))
def test_as_many_as_a_bucket_that_drips(pauses: list[int], capacity: int, seconds: int) -> None:
    """A reference that adds tokens and takes them agrees at each step."""
    clock = Clock()
    buckets, rate = Buckets(Parts(), 64, clock), Rate(capacity, seconds)
    nanoseconds, full = 0, rate.each * capacity  # missing in the bucket, as time that it takes to fill
    for pause in pauses:
        clock.now += pause
        nanoseconds = max(0, nanoseconds - pause)
        is_there = nanoseconds + rate.each <= full
        assert (buckets.take(9, rate) == 0.0) == is_there
        nanoseconds += rate.each if is_there else 0


def test_more_keys_than_places() -> None:
    """The bucket that is full again first gives way; the one that most was taken from stays."""
    buckets, rate = Buckets(Parts(), 8, Clock()), Rate(10, 10)
    assert [buckets.take(1000, rate) == 0.0 for _ in range(11)] == [True] * 10 + [False]
    for key in range(1, 100):
        assert buckets.take(key, rate) == 0.0
    assert buckets.take(1000, rate) > 0.0


def test_processes_share_the_buckets() -> None:
    """Four that take at once get, together, what is there; one more each at most, if all take the last at once."""
    buckets, rate = Buckets(Parts(4)), Rate(2_000, 1_000_000)
    key = key_of("somebody")
    read, write = os.pipe()
    children = []
    for _ in range(4):
        pid = os.fork()
        if not pid:
            signal.alarm(60)
            taken = sum(buckets.take(key, rate) == 0.0 for _ in range(2_000))
            os.write(write, taken.to_bytes(4))
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    os.close(write)
    counts = [int.from_bytes(os.read(read, 4)) for _ in children]
    os.close(read)
    assert 2_000 <= sum(counts) <= 2_003


def test_keys() -> None:
    assert key_of("user 1") == key_of("user 1") != key_of("user 2")
    assert key_of("a\ud800") > 0
