"""What it costs that a namespace is large: the start, and work on one resource, relative to a small namespace."""

import contextlib
import os
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from perf.peer import Peer
from perf.trees import KIB, MEMBER_BYTES, Sizes, member_content, plant_namespace
from perf.workload import Bench, Row
from perf.workloads.listing import looked_at
from perf.workloads.reading import checked_load
from perf.workloads.writing import written
from perf.wrk import Request

CHOSEN = 40  # resources that are read, and as many that are written, anywhere in the namespace
KEY = "growth"

START = Row("start", "start to first answer, {namespace} files", "s", more_is_better=False, is_pictured=False)
ROWS = (
    START,
    *(
        Row(f"growth-{what.lower()}", f"{what} among {{namespace}} files", "x the time among {small}",
            more_is_better=False, is_pictured=False)
        for what in ("GET", "PROPFIND", "PUT")
    ),
)  # fmt: skip


def measure(kind: type[Peer], folder: Path, sizes: Sizes, seconds: float, rounds: int) -> tuple[float, ...]:
    """Figures for the rows: both servers of a kind run side by side, and work in turns.

    Raises:
        WrongAnswerError: see the workloads.
    """
    with contextlib.ExitStack() as stack:
        small, large = (
            stack.enter_context(_planted(kind, folder / f"{kind.name}-{count}", count, sizes, seconds))
            for count in (sizes.small_namespace, sizes.large_namespace)
        )
        starts = []
        for _ in range(rounds):
            for bench, names, _ in (small, large):
                bench.peer.stop()
                taken = bench.peer.start(names[0])
            starts.append(taken)
        costs = [_relative(work, small, large, rounds) for work in (_get, _look, _put)]
    return statistics.median(starts), *costs


_Planted = tuple[Bench, list[str], list[str]]  # names to read, names to write


@contextlib.contextmanager
def _planted(kind: type[Peer], folder: Path, count: int, sizes: Sizes, seconds: float) -> Iterator[_Planted]:
    """A server that is ready to start over so many files, and stops in the end."""
    peer = kind(folder)
    peer.lay()
    chosen = plant_namespace(peer.root, count, 2 * CHOSEN)
    peer.settle()
    os.sync()
    try:
        yield Bench(peer, sizes, seconds), chosen[:CHOSEN], chosen[CHOSEN:]
    finally:
        peer.stop()


def _relative(work: Callable[[_Planted], float], small: _Planted, large: _Planted, rounds: int) -> float:
    """How much longer the work takes in the large namespace."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for planted, found in zip((small, large), rates, strict=True):
            found.append(work(planted))
    return statistics.median(rates[0]) / statistics.median(rates[1])


def _get(planted: _Planted) -> float:
    bench, names, _ = planted
    bodies = [member_content(Path(name).name) for name in names]
    return checked_load(bench, [Request("GET", bench.peer.path(name)) for name in names], 200, bodies).rate


def _look(planted: _Planted) -> float:
    bench, names, _ = planted
    return looked_at(bench, names, MEMBER_BYTES)


def _put(planted: _Planted) -> float:
    bench, _, names = planted
    return written(bench, names, 4 * KIB).rate
