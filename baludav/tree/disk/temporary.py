"""Files of a storage that nobody can see yet, and that one rename puts in place."""

import contextlib
import os
import time

from baludav.tree.disk import kernel
from baludav.tree.disk.entries import free_bytes
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.storage import Identity
from baludav.waiting import waiting


class TemporaryFile:
    """A temporary file on the file system of its destination, invisible to everyone.

    Args:
        folder_fd: of the folder it lies in, held open by somebody else.
        size: bytes that it has already.
        tick_ns: within so many nanoseconds the file system gives two changes the same time.
    """

    def __init__(self, folder_fd: int, name: str, fd: int, size: int = 0, tick_ns: int = 0) -> None:
        self.folder_fd = folder_fd
        self.name = name
        self.fd = fd
        self.size = size
        self.tick_ns = tick_ns
        self.born_ns = 0
        self.is_in_place = False

    @property
    def identity(self) -> Identity:
        """Which file it is; known when it is finished."""
        with translated():
            found = os.fstat(self.fd)
        return Identity(found.st_ino, self.born_ns or found.st_mtime_ns)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with translated():
            kernel.write_all(self.fd, data, self.size)
        self.size += len(data)

    def free(self) -> int:
        """Bytes that may still be stored beside it."""
        with translated():
            return free_bytes(self.fd)

    def copy_from(self, fd: int, size: int) -> None:
        """Take all bytes of an open file."""
        with translated():
            if not kernel.share_blocks(fd, self.fd):
                kernel.copy_bytes(fd, self.fd, size)
            self.size = os.fstat(self.fd).st_size

    def copy_range(self, fd: int, start: int, size: int, at: int) -> None:
        """Take some bytes of an open file."""
        with translated():
            kernel.copy_range(fd, start, size, self.fd, at)
        self.size = max(self.size, at + size)

    def finish(self, *, mtime_ns: int | None, sync: bool) -> None:
        """Set the time and bring the bytes to the disk."""
        with translated():
            if mtime_ns is None and self.tick_ns:
                # So long ago that a change by somebody else from now on gets another time, and the bytes need not be
                # hashed again to tell whether there was one.
                mtime_ns = time.time_ns() - self.tick_ns
            if mtime_ns is not None:
                os.utime(self.fd, ns=(mtime_ns, mtime_ns))
            if sync:
                with waiting():
                    os.fsync(self.fd)
            self.born_ns = kernel.born_ns(self.fd)

    def put(self, folder: int, name: str) -> None:
        """Rename it into a folder."""
        os.rename(self.name, name, src_dir_fd=self.folder_fd, dst_dir_fd=folder)
        self.is_in_place = True

    def take_back(self, folder: int, name: str, *, stays: bool) -> None:
        """Undo `put`.

        Args:
            stays: what was put there is not to be missed meanwhile, since something else is about to replace it.
        """
        if stays:
            os.link(name, self.name, src_dir_fd=folder, dst_dir_fd=self.folder_fd, follow_symlinks=False)
        else:
            os.rename(name, self.name, src_dir_fd=folder, dst_dir_fd=self.folder_fd)
        self.is_in_place = False

    def discard(self) -> None:
        """Remove what was not put in place; harmless afterwards."""
        if not self.is_in_place:
            with contextlib.suppress(OSError):
                os.unlink(self.name, dir_fd=self.folder_fd)
        self.leave()

    def leave(self) -> None:
        """Close it, and leave the file where it is; harmless afterwards."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
