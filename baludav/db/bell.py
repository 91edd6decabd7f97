"""The doorbell: it rings after each commit, in every process that listens, so that nobody asks again and again.

To ring is to read one byte of a file beside the index; to listen is to have inotify watch that file. A read changes
nothing on the disk and needs no room on it, the kernel wakes whoever listens in whichever process, and a process
that dies leaves nothing behind. The bell does not say what happened: whoever hears it looks into the index.
"""

import contextlib
import ctypes
import logging
import os
import select
import threading
from pathlib import Path

from baludav.db.glance import Glance
from baludav.errors import Failure

log = logging.getLogger(__name__)

_IN_ACCESS = 0x1
_ASK_SECONDS = 0.05  # where there is no inotify

_libc = ctypes.CDLL(None, use_errno=True)


class Bell:
    """One process's door to the bell; any thread may use it.

    Args:
        file: made if it is not there; its folder exists.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._fd).st_size == 0:
            os.pwrite(self._fd, b"\n", 0)  # reading at the end of a file is no event

    def ring(self) -> None:
        """Wake everybody who listens; about a microsecond."""
        with contextlib.suppress(OSError):  # what was committed is committed: no failure of the bell undoes it
            os.pread(self._fd, 1, 0)

    def listen(self, glance: Glance) -> "Listening":
        """Hear every ring from now on.

        Args:
            glance: for a system that has no inotify to spare; its own, since it is closed with what this returns.
        """
        try:
            return Listening(self._watch())
        except OSError as error:
            log.warning("no inotify (%s): asking the index for changes every %d ms", error, _ASK_SECONDS * 1000)
            return _Asking(glance)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _watch(self) -> int:
        fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd >= 0 and _libc.inotify_add_watch(fd, os.fsencode(self._file), _IN_ACCESS) >= 0:
            return fd
        code = ctypes.get_errno()
        if fd >= 0:
            os.close(fd)
        raise OSError(code, os.strerror(code))


class Listening:
    """Somebody who listens. Rings that nobody has taken count as one.

    Args:
        fd: readable after a ring; closed by `close`.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """A descriptor that is readable when the bell has rung."""
        return self._fd

    def take(self) -> None:
        """Forget the rings so far; look at what happened after this, never before."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 4096)

    def wait(self, seconds: float) -> bool:
        """Wait for a ring and take it; False if the time is over before."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        heard = bool(poll.poll(max(0.0, seconds) * 1000))
        self.take()
        return heard

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Asking(Listening):
    """The same without inotify: a thread asks the index whether anything was committed."""

    def __init__(self, glance: Glance) -> None:
        super().__init__(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        self._glance = glance
        self._last = glance.version()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="asking", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._glance.close()
        super().close()

    def _ask(self) -> None:
        while not self._closing.wait(_ASK_SECONDS):
            try:
                version = self._glance.version()
            except Failure as failure:
                log.warning("%s", failure)
                version = None
            if version is None or version != self._last:  # None: it cannot be told
                self._last = version
                os.eventfd_write(self._fd, 1)
