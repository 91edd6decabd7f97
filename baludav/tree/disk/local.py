"""A folder of plain files on a mounted file system: the storage of homes and shares.

Paths here are names below the folder, as they are spelled on the disk. Nothing outside the folder can be
reached and no symbolic link is followed: every path is opened by one confined system call. Only regular files
and folders exist; links, sockets and devices are not there. The reserved folder `.baludav` at the top (and at
the top of each file system mounted below) holds the marker, temporary files and what is on its way out.

OS errors leave this room as failures of `baludav.errors`.
"""

import contextlib
import errno
import os

from baludav import errors
from baludav.tree.disk.entries import renamed
from baludav.tree.disk.leaving import Leaving
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.staging import Staging
from baludav.tree.disk.storage import CrossDevice, Staged, Stat, Storage
from baludav.tree.disk.temporary import TemporaryFile
from baludav.tree.paths import Path
from baludav.tree.steps import reached


class LocalStorage(Staging, Leaving):
    """A storage root on a local or mounted file system."""

    def put(self, staged: Staged, path: Path) -> Stat:
        """Put a finished temporary file in place, in one step that replaces what file was there."""
        assert isinstance(staged, TemporaryFile)
        with translated(), self._top.parent(path) as parent:
            staged.put(parent, path[-1])
            reached("renamed")
            self._sync(parent)
            found = Stat.of(os.fstat(staged.fd))
        assert found is not None
        return found

    def take_back(self, staged: Staged, path: Path, kept: Path | None, *, has_replaced: bool) -> None:
        """Undo `put`, whether it was done or not; what cannot be undone now is found by the next start."""
        assert isinstance(staged, TemporaryFile)
        if staged.is_in_place:
            with contextlib.suppress(OSError, errors.Failure), self._top.parent(path) as parent:
                with contextlib.suppress(OSError):  # no hard links here
                    staged.take_back(parent, path[-1], stays=has_replaced)
                if kept is not None:
                    self.move(kept, self, path)
        elif kept is not None:
            self.drop(kept)

    def move(self, source: Path, target_storage: Storage, target: Path) -> Stat:
        """Rename within or between storage roots of one file system; replaces a file by a file.

        Raises:
            CrossDevice: the two lie on different file systems; nothing was changed.
        """
        if not isinstance(target_storage, LocalStorage):
            raise CrossDevice
        with translated(), self._top.parent(source) as from_fd, target_storage._top.parent(target) as to_fd:
            try:
                with renamed(source[-1], from_fd, target[-1], to_fd):
                    reached("renamed")
                    self._sync_move(to_fd, from_fd)
                    found = target_storage.stat(target)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise CrossDevice from error
                raise
        if found is None:
            raise errors.Conflict("Something else has appeared at this path; try again")
        return found

    def set_mtime(self, path: Path, mtime_ns: int) -> Stat:
        """Set the modification time; the bytes stay."""
        with self._top.opened(path, os.O_RDONLY | os.O_NONBLOCK) as fd, translated():
            if fd is None:
                raise errors.NotFound()
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            found = Stat.of(os.fstat(fd))
        assert found is not None
        return found
