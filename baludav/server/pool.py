"""An elastic pool: few threads run, any number may wait.

Under the GIL few runnable threads are fastest, yet none that waits for its peer or the disk, or is busy for long, may
hold up the tasks of others. So a thread that is about to wait says so, one that is at its task for long is found out,
and another runs in its place.
"""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from baludav import metrics

log = logging.getLogger(__name__)

PATIENCE = 0.01  # seconds after which a task is a long one
_SPARE_SECONDS = 10.0  # how long a thread that is not needed stays


class _Place(threading.local):
    """The thread of the pool that asks."""

    thread: "_Thread | None" = None


class _Thread:
    """One thread of the pool.

    Attributes:
        runs: it counts among the few; False while it waits or has a long task.
        begun: monotonic time at which it took its task; 0 without one.
    """

    __slots__ = ("begun", "runs")

    def __init__(self) -> None:
        self.runs = True
        self.begun = 0.0


class Pool:
    """Runs tasks.

    Args:
        running: how many threads run at a time.
        most: how many there may be, those included that wait or have a long task.
    """

    def __init__(self, running: int, most: int) -> None:
        self._limit = running
        self._most = most
        # Tasks, with the monotonic time at which each was submitted.
        self._tasks: queue.SimpleQueue[tuple[Callable[[], None], float]] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each spare thread that is to run
        self._resting: deque[queue.SimpleQueue[None]] = deque()
        self._lock = threading.Lock()
        self._threads: set[_Thread] = set()
        self._running = 0
        self._idle = 0  # of those that run
        self._spare = 0
        self._here = _Place()

    def submit(self, task: Callable[[], None]) -> None:
        """Run a task as soon as a thread is free."""
        self._tasks.put((task, time.monotonic()))
        self._grow()

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """While inside, this thread waits, and another may run in its place."""
        thread = self._here.thread
        if thread is None:  # none of the pool
            yield
            return
        with self._lock:
            self._step_aside(thread)
        self._grow()
        self._call_one()
        try:
            yield
        finally:
            with self._lock:
                if not thread.runs:
                    thread.runs = True
                    self._running += 1

    def rest(self, wake: queue.SimpleQueue[None]) -> None:
        """Let tasks that nobody has begun begin; ends when there are none, or by something that is put in `wake`."""
        if self._here.thread is None or self._tasks.empty():
            return
        self._resting.append(wake)
        with self.blocked(), contextlib.suppress(queue.Empty):
            wake.get(timeout=PATIENCE)
        with contextlib.suppress(ValueError):  # called
            self._resting.remove(wake)

    def relieve(self) -> bool:
        """Let others run in place of those that are at their task for long; False if no task waits."""
        if self._tasks.empty():
            return False
        since = time.monotonic() - PATIENCE
        with self._lock:
            for thread in self._threads:
                if 0 < thread.begun < since:
                    self._step_aside(thread)
        self._grow()
        return not self._tasks.empty()

    @property
    def busy(self) -> int:
        """Tasks that run or wait to run."""
        with self._lock:
            return len(self._threads) - self._idle - self._spare + self._tasks.qsize()

    def _call_one(self) -> None:
        """End the rest of one thread if no task waits to begin."""
        if self._tasks.empty():
            with contextlib.suppress(IndexError):
                self._resting.popleft().put(None)

    def _step_aside(self, thread: _Thread) -> None:
        if thread.runs:
            thread.runs = False
            self._running -= 1

    def _grow(self) -> None:
        """Let one more thread run, if a task waits for one and not enough run."""
        with self._lock:
            if self._tasks.qsize() <= self._idle or self._running >= self._limit:
                return
            if self._spare:
                self._spare -= 1
                self._calls.put(None)
            elif len(self._threads) < self._most:
                thread = _Thread()
                self._threads.add(thread)
                threading.Thread(target=self._work, args=(thread,), name="pool", daemon=True).start()
            else:
                return
            self._running += 1

    def _work(self, thread: _Thread) -> None:
        self._here.thread = thread
        while thread.runs or self._is_called(thread):
            self._call_one()
            with self._lock:
                self._idle += 1
            task, submitted = self._tasks.get()
            with self._lock:
                self._idle -= 1
                thread.begun = time.monotonic()
            metrics.took("queue", thread.begun - submitted)
            self._grow()  # whoever counted on this thread needs another one
            try:
                task()
            except Exception:
                log.exception("a task failed")
            with self._lock:
                thread.begun = 0.0
                if not thread.runs and self._running < self._limit:
                    thread.runs = True
                    self._running += 1
                elif self._running > self._limit:
                    self._step_aside(thread)

    def _is_called(self, thread: _Thread) -> bool:
        """Wait as a spare thread until it is to run; False if it was not needed for long."""
        with self._lock:
            self._spare += 1
        while True:
            try:
                self._calls.get(timeout=_SPARE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._spare:
                        self._spare -= 1
                        self._threads.discard(thread)
                        return False
                continue  # it was called just now
            thread.runs = True
            return True
