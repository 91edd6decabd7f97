"""Guards: one writer at a time for a path, across threads and processes.

A guard is a set of byte-range locks in one file ("open file description" locks, fcntl(2)): exclusive on the
byte that stands for the path, shared on those of its ancestors. So a write into a collection and a move of
that collection wait for each other, while writes to two members do not. The kernel releases the locks of a
process that dies.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path as DiskPath

from baludav.spares import Spares
from baludav.tree.disk.oserrors import translated
from baludav.tree.paths import Path
from baludav.waiting import waiting

Target = tuple[int, Path]  # id of the storage root, names below it
NO_ROOT = 0  # guards of other things than paths; they are taken before those of paths, never after


class Guards:
    """The guard file of one installation; open it after `fork`.

    Args:
        file: created if missing; it stays empty.
    """

    def __init__(self, file: DiskPath) -> None:
        self._file = file
        self._idle = Spares(os.close)

    @contextlib.contextmanager
    def hold(self, *targets: Target) -> Iterator[None]:
        """Wait until no one else works on the targets or above or below them, and keep it so.

        Guards are not reentrant: whoever holds one must not ask for another.

        Raises:
            Unavailable: the system has no lock or descriptor to give.
        """
        kinds: dict[int, int] = {}
        for root, folder in {(root, path[:-1]) for root, path in targets if path}:
            for depth in range(len(folder) + 1):
                kinds.setdefault(_offset(root, folder[:depth]), fcntl.F_RDLCK)
        for root, path in targets:
            kinds[_offset(root, path)] = fcntl.F_WRLCK
        fd = self._open()
        try:
            with translated():
                for offset in sorted(kinds):  # one order for all, so that no two wait for each other
                    _lock(fd, kinds[offset], offset, 1)
            yield
        finally:
            _lock(fd, fcntl.F_UNLCK, 0, 0)
            self._idle.put(fd)

    def _open(self) -> int:
        fd = self._idle.take()
        if fd is None:
            with translated():
                fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return fd

    def tidy(self) -> None:
        """Close what nobody has needed since this was called before."""
        self._idle.close_unneeded()

    def close(self) -> None:
        self._idle.close()


def _offset(root: int, path: Path) -> int:
    digest = blake2b("\0".join((str(root), *path)).encode("utf-8", "surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 2


def _lock(fd: int, kind: int, offset: int, length: int) -> None:
    lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, offset, length, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: somebody has it
        with waiting():
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, lock)
