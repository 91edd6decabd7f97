"""Gauges on the server: memory, file descriptors and threads of the processes that live as long as it does."""

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perf.harness import resident
from perf.soaking.scene import Scene

WARM_UP = 0.2  # the share of the time in which caches fill
LONGEST = 600.0  # seconds over which growth is looked at
_FEWEST = 10  # samples that say something
# How much more there may be at the end, where the last ten minutes were looked at: a part of it, and then so many.
MOST_GROWTH = 0.05
SLACK = {"worker_MiB": 0.0, "master_MiB": 0.0, "worker_descriptors": 10.0, "worker_threads": 5.0}


@dataclass(frozen=True)
class Sample:
    """One look."""

    seconds: float
    worker_MiB: float
    master_MiB: float
    all_MiB: float
    worker_descriptors: int  # without connections: those of a worker that is killed come to this one
    worker_connections: int
    worker_threads: int

    @property
    def descriptors(self) -> int:
        """All of the worker."""
        return self.worker_descriptors + self.worker_connections


class Gauges:
    """Looks at one worker, which nobody kills, and at the master.

    Args:
        every: seconds between two looks.
    """

    def __init__(self, scene: Scene, worker: int, every: float) -> None:
        self._scene = scene
        self._worker = worker
        self._every = every
        self._begun = time.monotonic()
        self.samples: list[Sample] = []

    def run(self) -> None:
        while not self._scene.stop.wait(self._every):
            with contextlib.suppress(FileNotFoundError):  # a worker that is killed meanwhile
                self.samples.append(self.look())

    def look(self) -> Sample:
        server, process = self._scene.server, Path(f"/proc/{self._worker}")
        connections, others = _descriptors(process)
        return Sample(
            time.monotonic() - self._begun,
            resident(self._worker) / 2**20,
            resident(server.master) / 2**20,
            server.memory() / 2**20,
            others,
            connections,
            len(list((process / "task").iterdir())),
        )

    def growth(self) -> list[dict[str, Any]]:
        """Each gauge at the beginning and at the end of the last ten minutes, or of what comes after the warm-up."""
        if len(self.samples) < _FEWEST:
            return []
        length = self.samples[-1].seconds
        begin = max(WARM_UP * length, length - LONGEST)
        width = len(self.samples) // _FEWEST
        first = [sample for sample in self.samples if sample.seconds >= begin][:width]
        last = self.samples[-width:]
        rows = []
        for name in (*SLACK, "all_MiB"):  # the workers that are killed make the last go up and down
            start, end = _median(first, name), _median(last, name)
            rows.append(
                {
                    "gauge": name, "from": start, "to": end, "growth %": 100 * (end / start - 1),
                    "over seconds": length - begin,
                }
            )  # fmt: skip
        return rows

    def leaks(self) -> list[str]:
        """What grew too much, if the load was long enough to say so."""
        return [
            f"{row['gauge']} grew by {row['growth %']:.1f} % in {row['over seconds']:.0f} s"
            for row in self.growth()
            if row["gauge"] in SLACK
            and row["over seconds"] > 0.9 * LONGEST
            and row["to"] > row["from"] * (1 + MOST_GROWTH) + SLACK[row["gauge"]]
        ]

    def plain(self) -> list[dict[str, Any]]:
        """The samples, for JSON."""
        return [asdict(sample) for sample in self.samples]


def _descriptors(process: Path) -> tuple[int, int]:
    """How many of a process are sockets, and how many anything else."""
    counts = [0, 0]
    for link in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            counts[not str(link.readlink()).startswith("socket:")] += 1
    return counts[0], counts[1]


def _median(samples: Sequence[Sample], name: str) -> float:
    return statistics.median(float(getattr(sample, name)) for sample in samples)
