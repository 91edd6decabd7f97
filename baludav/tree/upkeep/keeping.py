"""What runs by itself, in one of all processes: noticing changes made outside, and letting old things expire.

Every process waits for one file lock, and who has it keeps; the kernel releases the lock of a process that dies,
so another takes over within a moment.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from baludav.errors import Failure
from baludav.tree.records.counting import set_right
from baludav.tree.truth.rounds import Pace, Rounds, Stop
from baludav.tree.truth.watching import Watcher
from baludav.tree.upkeep.expiry import expire_all

if TYPE_CHECKING:
    from baludav.tree.tree import Tree

log = logging.getLogger(__name__)

_TAKEOVER_SECONDS = 0.5
_EXPIRY_SECONDS = 3600.0
_AFTER_FAILURE_SECONDS = 10.0
_STOP_SECONDS = 10.0


class Keeper:
    """The thread of one process that keeps, or waits to.

    Args:
        clock: nanoseconds since the epoch.
        make_watcher: as `Watcher`.
    """

    def __init__(
        self,
        tree: "Tree",
        pace: Pace,
        *,
        clock: Callable[[], int] = time.time_ns,
        make_watcher: Callable[[], Watcher] = Watcher,
    ) -> None:
        self._tree = tree
        self._pace = pace
        self._clock = clock
        self._make_watcher = make_watcher
        self._stopping = threading.Event()
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="keeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End, after the step that is under way."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        os.eventfd_write(self._stop_fd, 1)
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive():
            os.close(self._stop_fd)

    def _run(self) -> None:
        while not self._stopping.is_set():
            fd = os.open(self._tree.config.folder / "keeping", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._wait_for_turn(fd)
                self._keep()
            except Failure as failure:
                log.error("keeping was interrupted: %s", failure)
            except Exception:
                log.exception("keeping was interrupted")
            finally:
                os.close(fd)
            self._stopping.wait(_AFTER_FAILURE_SECONDS)

    def _wait_for_turn(self, fd: int) -> None:
        while not self._stopping.is_set():
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                self._stopping.wait(_TAKEOVER_SECONDS)

    def _keep(self) -> None:
        if self._stopping.is_set():
            return
        rounds = Rounds(self._tree, self._pace, Stop(self._stop_fd, self._stopping.is_set), self._make_watcher)
        try:
            expiry_at = time.monotonic()
            while not self._stopping.is_set():
                rounds.turn(expiry_at)
                if time.monotonic() >= expiry_at:
                    count = expire_all(self._tree, self._clock)
                    if count:
                        log.info("%d old versions and deleted resources have expired", count)
                    self._count_anew()
                    expiry_at = time.monotonic() + _EXPIRY_SECONDS
        finally:
            rounds.close()

    def _count_anew(self) -> None:
        """Set right what quotas are compared with, should it be wrong."""
        for root in self._tree.roots.everything():
            corrected = set_right(self._tree.database, root)
            if corrected is not None:
                log.warning(
                    "%s %s: %d bytes were counted for the quota instead of %d", root.kind, root.name, *corrected
                )
