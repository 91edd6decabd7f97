"""Which process has which part of the memory that they share.

A process holds its part by a record lock, which the kernel ends with the process, however it ends.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator


class Parts:
    """Make it before the processes are forked.

    Args:
        count: how many processes there can be at a time; 0 for one that shares with nobody.
    """

    def __init__(self, count: int = 0) -> None:
        self.count = count
        # Open as long as the process lives: to close it would end the lock.
        self._file = os.memfd_create("parts", os.MFD_CLOEXEC) if count else -1
        self._lock = threading.Lock()
        self._pid = 0
        self._mine = count

    def mine(self) -> int:
        """The number of this process's part, the same from the first call on; `count` if others have them all."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._mine = next((part for part in range(self.count) if self._take(part)), self.count)
                    self._pid = os.getpid()
        return self._mine

    @contextlib.contextmanager
    def abandoned(self, part: int) -> Iterator[bool]:
        """Whether no process has a part that is not this one's; while inside, none can take it."""
        with self._lock:
            if not self._take(part):
                yield False
                return
            try:
                yield True
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, part)

    def _take(self, part: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, part)
        except (BlockingIOError, PermissionError):  # POSIX lets a system say either
            return False
        return True
