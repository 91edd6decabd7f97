"""Writing bytes: PUT of all sizes, and everything mixed."""

import itertools
import statistics
import time
from collections.abc import Callable

from perf.trees import KIB, LARGE, content, file_name
from perf.workload import Bench, Row, Workload, WrongAnswerError, expect, expect_bytes
from perf.workloads.clients import PLAIN
from perf.workloads.reading import CONNECTIONS, SAMPLES
from perf.wrk import Load, Request, load

# So many names are overwritten by turns, more than there are connections: no name is written twice at a time, and the
# tree does not grow. The number of bodies has no divisor in common with it, so that each write of a name brings it
# new bytes: a server that noticed that nothing changes would not have to write.
NAMES = 256
BODIES = 3
CLIENTS = 8
_MIXED_FILES = 16
_MIXED_STATUSES = {"PUT": ("200", "201", "204"), "GET": ("200",), "PROPFIND": ("207",), "DELETE": ("200", "204")}


def put(folder: str, size: int) -> Callable[[Bench], tuple[float, ...]]:
    """PUT of resources by turns."""

    def measure(bench: Bench) -> tuple[float, ...]:
        return (written(bench, [f"{folder}/{file_name(number)}" for number in range(NAMES)], size).rate,)

    return measure


def written(bench: Bench, names: list[str], size: int) -> Load:
    """A load of PUTs, over which some of the resources are compared, through the server and on the disk."""
    bodies = [content(f"body {number}", size) for number in range(BODIES)]
    requests = [Request("PUT", bench.peer.path(name), takes_body=True) for name in names]
    done = load(bench, requests, CONNECTIONS, bodies=bodies)
    # Of the last names the server may still have a write to do that wrk no longer waited for, and Apache removes what
    # was broken off: far from them, or halfway to them if it has not come round.
    answered = max(0, done.requests - CONNECTIONS)
    has_come_round = done.requests > len(names)
    first = (done.requests + len(names) // 2) % len(names) if has_come_round else answered // 2
    with bench.peer.connect() as connection:
        for name in names[first : first + SAMPLES if has_come_round else min(answered, first + SAMPLES)]:
            found = expect(connection.request("GET", bench.peer.path(name)), 200).body
            if found not in bodies:
                raise WrongAnswerError(f"{name}: {len(found):,} bytes that were not sent like this")
            expect_bytes((bench.peer.root / name).read_bytes(), found, name)
    return done


def put_large(bench: Bench) -> tuple[float, ...]:
    """PUT of one large resource over one connection, again and again with other bytes, in MB/s."""
    name = f"put-large/{LARGE}"
    whole = content(LARGE, bench.sizes.large)
    bodies = itertools.cycle([whole, whole[::-1]])
    seconds: list[float] = []
    with bench.peer.connect() as connection:
        while len(seconds) < 2 or sum(seconds) < bench.seconds:
            body = next(bodies)
            begun = time.perf_counter()
            answer = connection.request("PUT", bench.peer.path(name), body)
            seconds.append(time.perf_counter() - begun)
            expect(answer, 200, 201, 204)
    expect_bytes((bench.peer.root / name).read_bytes(), body, name)
    return (len(whole) / statistics.median(seconds) / 1e6,)


def mixed(bench: Bench) -> tuple[float, ...]:
    """Clients that each write, read, look at and delete resources of their own, in this order.

    wrk gives each a thread of its own, so that a step begins when the one before has been answered.
    """
    requests = []
    for client, number in itertools.product(range(CLIENTS), range(_MIXED_FILES)):
        path = bench.peer.path(f"mixed/client-{client}-{file_name(number)}")
        requests += [
            Request("PUT", path, takes_body=True),
            Request("GET", path),
            Request("PROPFIND", path, PLAIN.headers("0"), PLAIN.body),
            Request("DELETE", path),
        ]
    bodies = [content(f"body {number}", 100 * KIB) for number in range(BODIES)]
    done = load(bench, requests, CLIENTS, bodies=bodies, threads=CLIENTS)
    wrong = [f"{times} x {answer}" for answer, times in done.statuses.items() if not _is_right(answer)]
    if wrong:
        raise WrongAnswerError(", ".join(wrong))
    if sum(done.statuses.values()) != done.requests:
        raise WrongAnswerError(f"{done.requests} answers, but {done.statuses}")
    return (done.rate,)


def _is_right(answer: str) -> bool:
    method, _, status = answer.partition(" ")
    return status in _MIXED_STATUSES[method]


WRITING = (
    Workload("put-4k", (Row("put-4k", "PUT 4 KiB"),), put("put-4k", 4 * KIB), writes=True),
    Workload("put-100k", (Row("put-100k", "PUT 100 KiB"),), put("put-100k", 100 * KIB), writes=True),
    Workload("put-large", (Row("put-large", "PUT {large}, 1 connection", "MB/s"),), put_large, writes=True),
    Workload("mixed", (Row("mixed", "mixed, 8 clients"),), mixed, writes=True),
)
