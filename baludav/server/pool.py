"""An elastic pool: few threads run, any number may wait for a socket.

Under the GIL few runnable threads are fastest, yet a slow peer must not hold one of them up. So a thread that is
about to wait for its peer says so, and while it waits another may run.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

_IDLE_SECONDS = 10.0  # how long a thread beyond the usual number waits for work


class Pool:
    """Runs tasks.

    Args:
        running: how many threads work at a time.
        most: how many there may be, those that wait for a socket included.
    """

    def __init__(self, running: int, most: int) -> None:
        self._limit = running
        self._most = most
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._blocked = 0

    def submit(self, task: Callable[[], None]) -> None:
        """Run a task as soon as a thread is free."""
        self._tasks.put(task)
        self._grow()

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """While inside, this thread waits for a peer, and another may run in its place."""
        with self._lock:
            self._blocked += 1
        try:
            self._grow()
            yield
        finally:
            with self._lock:
                self._blocked -= 1

    @property
    def busy(self) -> int:
        """Tasks that run or wait to run."""
        with self._lock:
            return self._threads - self._idle + self._tasks.qsize()

    def _grow(self) -> None:
        with self._lock:
            if (
                self._tasks.qsize() <= self._idle
                or self._threads - self._blocked >= self._limit
                or self._threads >= self._most
            ):
                return
            self._threads += 1
        threading.Thread(target=self._work, name="pool", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                task = self._tasks.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    self._idle -= 1
                    if self._threads > self._limit:
                        self._threads -= 1
                        return
                continue
            with self._lock:
                self._idle -= 1
            try:
                if task is not None:
                    task()
            except Exception:
                log.exception("a task failed")
