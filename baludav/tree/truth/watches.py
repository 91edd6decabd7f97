"""Folders that this process watches, to know without looking that nothing has changed in them.

Every change on a local file system is in the queue of its watch before the system call that makes it returns. So
who watches a folder, reads it, and finds the queue empty later, knows that what was read still holds. (A write
through a memory mapping is the exception: it raises no event. Regular scans find it.)
"""

import contextlib
import logging
import os
import threading

from baludav.errors import Failure
from baludav.tree.disk import kernel
from baludav.tree.disk.storage import OutOfWatches, Stat
from baludav.tree.paths import Path
from baludav.tree.roots import StorageRoot

log = logging.getLogger(__name__)

_MOST = 1_000  # folders watched at a time; the one watched first goes first
_READ = 1 << 16


class Watches:
    """The watches of one process; any thread may use them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notifier = -1
        self._watched: dict[tuple[int, int], int] = {}  # watches by device and inode
        self._counts: dict[int, int] = {}  # events by watch
        self._serial = 0
        self._is_given_up = False

    def count(self, root: StorageRoot, names: Path, stat: Stat) -> int | None:
        """A number that is another one after each change in a folder, which is watched from now on.

        Args:
            stat: of the folder.
        Returns:
            the number, never the same for two folders; None: it cannot be told.
        """
        with self._lock:
            self._drain()
            key = (stat.device, stat.inode)
            watch = self._watched.get(key)
            if watch is None:
                watch = self._watch(root, names, key)
            return None if watch is None else self._counts[watch]

    def close(self) -> None:
        with self._lock:
            if self._notifier >= 0:
                os.close(self._notifier)
                self._notifier = -1

    def _watch(self, root: StorageRoot, names: Path, key: tuple[int, int]) -> int | None:
        if self._is_given_up:
            return None
        try:
            if self._notifier < 0:
                self._notifier = kernel.notifier()
            if len(self._watched) >= _MOST:
                self._forget(next(iter(self._watched)))
            watch = root.storage.watch(self._notifier, names)
        except (OSError, OutOfWatches):
            log.warning("the system has no watch to spare; listings are made anew each time")
            self._is_given_up = True
            return None
        except Failure:
            return None
        if watch is not None:
            self._watched[key] = watch
            self._count(watch)
        return watch

    def _forget(self, key: tuple[int, int]) -> None:
        watch = self._watched.pop(key)
        self._counts.pop(watch, None)
        kernel.unwatch(self._notifier, watch)

    def _count(self, watch: int) -> None:
        self._serial += 1
        self._counts[watch] = self._serial

    def _drain(self) -> None:
        if self._notifier < 0:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._notifier, _READ):
                for watch, mask, _ in kernel.events(data):
                    if mask & kernel.IN_Q_OVERFLOW:
                        for each in self._counts:
                            self._count(each)
                    elif mask & kernel.IN_IGNORED:
                        self._ended(watch)
                    elif watch in self._counts:
                        self._count(watch)

    def _ended(self, watch: int) -> None:
        """The folder is gone, or its disk."""
        for key, known in list(self._watched.items()):
            if known == watch:
                del self._watched[key]
                del self._counts[watch]
