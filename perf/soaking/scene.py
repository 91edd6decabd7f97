"""What all clients of a soak share: the server, the clock, who was killed when, and what was counted."""

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from perf.harness import Server, Timings

MOST_PROBLEMS = 100  # that are kept in full


class Cut(Exception):
    """The worker at the other end of the connection was killed."""


class Wrong(Exception):
    """The server did what it must not."""


class Deaths:
    """Which connections ended because their worker was killed.

    Attributes:
        count: of the killed workers.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: dict[int, float] = {}  # by the client's port

    def note(self, ports: set[int]) -> None:
        """A worker with connections from these ports stands still, and is about to be killed."""
        self._last |= dict.fromkeys(ports, time.monotonic())
        self.count += 1

    def took(self, port: int, since: float) -> bool:
        """Whether a connection was one of them that came from this port after that moment."""
        return self._last.get(port, 0.0) >= since


class Tally:
    """What came of the operations, and what was wrong."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._timings: dict[str, Timings] = defaultdict(Timings)
        self._cut: Counter[str] = Counter()
        self._broken: Counter[str] = Counter()
        self._counted: Counter[tuple[str, bool]] = Counter()
        self.problems: list[str] = []
        self.problem_count = 0

    def done(self, operation: str, seconds: float) -> None:
        with self._lock:
            self._timings[operation].seconds.append(seconds)

    def cut(self, operation: str) -> None:
        """The death of a worker took it."""
        with self._lock:
            self._cut[operation] += 1

    def broken(self, operation: str) -> None:
        """The client itself gave it up on the way."""
        with self._lock:
            self._broken[operation] += 1

    def counted(self, user: str, *, is_known: bool) -> None:
        """One of the user's clients has counted on, as far as it knows."""
        with self._lock:
            self._counted[user, is_known] += 1

    def counts(self, user: str) -> tuple[int, int]:
        """How often that was acknowledged, and how often nobody knows."""
        return self._counted[user, True], self._counted[user, False]

    def problem(self, words: str) -> None:
        with self._lock:
            self.problem_count += 1
            if len(self.problems) < MOST_PROBLEMS:
                self.problems.append(words)

    def rows(self, seconds: float) -> list[dict[str, Any]]:
        """A row for each kind of operation."""
        with self._lock:
            rows = []
            for name in sorted({*self._timings, *self._cut, *self._broken}):
                timings = self._timings[name]
                timings.wall = seconds
                found = timings.summary()
                rows.append(
                    {
                        "operation": name, "done": found["operations"], "cut by a kill": self._cut[name],
                        "broken off": self._broken[name], "per second": found["operations_per_second"],
                        "median ms": found["median_ms"], "p95 ms": found["p95_ms"], "p99 ms": found["p99_ms"],
                    }
                )  # fmt: skip
            return rows


@dataclass
class Scene:
    """One soak.

    Attributes:
        stop: set when the load is to end.
        pause: seconds that a client rests between two operations, on average.
    """

    server: Server
    seed: int
    pause: float
    stop: threading.Event = field(default_factory=threading.Event)
    deaths: Deaths = field(default_factory=Deaths)
    tally: Tally = field(default_factory=Tally)
