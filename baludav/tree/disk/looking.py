"""What is on the disk of a storage root: looking and reading, which change nothing."""

import contextlib
import errno
import os
import stat as modes
from collections.abc import Iterable
from pathlib import Path as DiskPath

from baludav import errors
from baludav.tree.disk import kernel
from baludav.tree.disk.entries import FOLDER_FLAGS, described, free_bytes
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.storage import OutOfWatches, Stat
from baludav.tree.disk.top import Top
from baludav.tree.paths import Path, is_visible
from baludav.waiting import waiting


class Looking:
    """The half of a storage root that looks.

    Args:
        folder: absolute path on the machine.
        mark: what the marker file must hold; another or no marker means that the disk is not mounted.
        sync: bring folder changes to the disk before saying they are done.
    """

    def __init__(self, folder: DiskPath, mark: str, *, sync: bool) -> None:
        self.sync = sync
        self._top = Top(folder, mark)

    def stat(self, path: Path) -> Stat | None:
        """The file or folder at `path`, or None."""
        return self._top.stat(path)

    def born_ns(self, path: Path) -> int:
        """When the inode came to be (nanoseconds); 0 if unknown."""
        with self._top.opened(path, os.O_PATH | os.O_NOFOLLOW) as fd:
            return 0 if fd is None else kernel.born_ns(fd)

    def scan(self, path: Path) -> list[tuple[str, Stat]]:
        """Every member of a folder that can be shown; empty when the folder is gone."""
        with self._top.opened(path, FOLDER_FLAGS) as fd, translated():
            if fd is None:
                return []
            members = []
            with os.scandir(fd) as entries:
                for entry in entries:
                    if not is_visible(entry.name):
                        continue
                    try:
                        found = Stat.of(entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue  # it went while we looked
                    if found is not None:
                        members.append((entry.name, found))
            return members

    def find(self, folder: Path, names: Iterable[str]) -> dict[str, Stat]:
        """Those of some members of a folder that are there."""
        members = {}
        with self._top.opened(folder, os.O_PATH | os.O_DIRECTORY) as fd, translated():
            for name in () if fd is None else names:
                try:
                    found = Stat.of(os.stat(name, dir_fd=fd, follow_symlinks=False))
                except FileNotFoundError:
                    continue
                if found is not None:
                    members[name] = found
        return members

    def watch(self, notifier: int, path: Path) -> int | None:
        """Watch a folder by inotify; None where changes are made that the kernel does not see.

        Raises:
            NotFound: no folder there.
            OutOfWatches: there are too many watches.
        """
        with self._top.opened(path, os.O_PATH | os.O_DIRECTORY) as fd, translated():
            if fd is None:
                raise errors.NotFound()
            try:
                return kernel.watch(notifier, fd) if kernel.tells_changes(fd) else None
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise OutOfWatches from error
                raise

    def open(self, path: Path) -> int:
        """A descriptor for reading a regular file; the caller closes it.

        Raises:
            NotFound: no regular file there.
        """
        with translated():
            fd = self._top.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            if not modes.S_ISREG(described(fd).st_mode):
                os.close(fd)
                raise errors.NotFound()
            return fd

    def open_known(self, path: Path, signature: Stat) -> int | None:
        """A descriptor of a file that is just as it was, which the caller closes; None for anything else."""
        try:
            fd = self._top.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return None
        with contextlib.suppress(OSError):
            if Stat.of(os.fstat(fd)) == signature:
                return fd
        os.close(fd)
        return None

    def free(self, path: Path = ()) -> int:
        """Bytes that may still be stored where `path` lies."""
        with self._top.opened(path, os.O_RDONLY | os.O_NONBLOCK) as fd, translated():
            return free_bytes(self._top.fd() if fd is None else fd)

    def close(self) -> None:
        """Release what is held open."""
        self._top.close()

    def _sync_move(self, target: int, source: int) -> None:
        """Bring the way of an entry from one folder to another to the disk: never its leaving without its arrival."""
        self._sync_arrival(target)
        self._sync(source)

    def _sync_arrival(self, folder: int) -> None:
        """Bring a new entry of a folder to the disk, unless the sync of another folder that follows does so too."""
        if self.sync and not kernel.keeps_order(folder):
            self._sync(folder)

    def _sync(self, fd: int) -> None:
        if self.sync:
            with waiting():
                os.fsync(fd)
