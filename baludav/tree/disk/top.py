"""The top folder of a storage root: held open, proven to be the expected one, and the only way to what lies below.

Everything is opened by one confined system call, or as a single name in a folder that was, so nothing outside can
be reached and no symbolic link is followed. A held descriptor keeps the disk that it was opened on: if that is
unmounted, what is seen through it is still the old disk and never an empty folder, and the marker soon says so.
"""

import contextlib
import errno
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path as DiskPath

from baludav import errors
from baludav.tree.disk import kernel, marker
from baludav.tree.disk.entries import FOLDER_FLAGS, described
from baludav.tree.disk.marker import KEPT, TEMPORARY, UPLOADS
from baludav.tree.disk.oserrors import failure, translated
from baludav.tree.disk.storage import Stat
from baludav.tree.paths import RESERVED, Path

log = logging.getLogger(__name__)

_SURE_SECONDS = 0.05  # how long a look at the marker counts
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENXIO)


class Top:
    """The top of one storage root; any thread may use it.

    Args:
        folder: absolute path on the machine.
        mark: what the marker file must hold; another or no marker means that the disk is not mounted.
    """

    def __init__(self, folder: DiskPath, mark: str) -> None:
        self.folder = folder
        self._mark = mark
        self._marker_file = f"{folder}/{RESERVED}/{marker.NAME}"
        self._marker_stat: tuple[int, int] | None = None
        self._sure_until = 0.0
        self._fd = -1
        self._device = 0
        self._reserved: dict[Path, int] = {}
        self._left_open: list[int] = []

    def fd(self) -> int:
        """A descriptor of the folder, which stays open, after checking that it is the marked one.

        Raises:
            Unavailable: the marker is missing, so the disk is not mounted.
        """
        now = time.monotonic()
        if now < self._sure_until:
            return self._fd
        try:
            found = os.stat(self._marker_file, follow_symlinks=False)
        except OSError:
            self._marker_stat = None
            raise errors.Unavailable("This storage is not mounted; ask who runs the server") from None
        if self._marker_stat != (found.st_dev, found.st_ino):
            self._open((found.st_dev, found.st_ino))
        self._sure_until = now + _SURE_SECONDS
        return self._fd

    def close(self) -> None:
        self._forget()
        while self._left_open:
            os.close(self._left_open.pop())
        self._fd, self._marker_stat, self._sure_until = -1, None, 0.0

    def stat(self, path: Path) -> Stat | None:
        """The file or folder at `path`; None for nothing, for links and for special files."""
        try:
            if len(path) == 1:
                return Stat.of(os.stat(path[0], dir_fd=self.fd(), follow_symlinks=False))
            fd = self.open(path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None if self._is_there() else self.stat(path)
            raise failure(error) from error
        try:
            with translated():
                return Stat.of(os.fstat(fd))
        finally:
            os.close(fd)

    def open(self, path: Path, flags: int) -> int:
        """A descriptor of what is at `path`, which the caller closes; raises OSError."""
        top = self.fd()
        try:
            if len(path) == 1:
                return os.open(path[0], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            if path or self._is_there():
                return kernel.open_beneath(top, encoded(path), flags)
        except OSError as error:
            if error.errno not in _NOT_THERE or self._is_there():
                raise
        return self.open(path, flags)

    @contextlib.contextmanager
    def opened(self, path: Path, flags: int) -> Iterator[int | None]:
        """A descriptor of what is at `path`, None if nothing can be there."""
        try:
            fd = self.open(path, flags)
        except OSError as error:
            if error.errno in _NOT_THERE:
                yield None
                return
            raise failure(error) from error
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def parent(self, path: Path) -> Iterator[int]:
        """A descriptor of the folder that holds, or is to hold, `path`.

        Raises:
            Conflict: there is no such folder.
        """
        if len(path) == 1:
            yield self.fd()
            return
        held = self._reserved.get(path[:-1])
        if held is not None:
            yield held
            return
        try:
            fd = self.open(path[:-1], FOLDER_FLAGS)
        except OSError as error:
            if error.errno in _NOT_THERE:
                raise errors.Conflict() from error
            raise
        try:
            yield fd
        finally:
            os.close(fd)

    def reserved(self, folder: Path, which: str) -> tuple[int, Path, os.stat_result]:
        """The reserved folder on the file system of `folder`: a descriptor that stays open, and where it lies.

        Returns:
            these two, and what `folder` itself is.
        Raises:
            Conflict: there is no such folder.
        """
        kind = self._kind(folder)
        base = () if kind.st_dev == self._device else self._mount_above(folder, kind.st_dev)
        place = (*base, RESERVED, which)
        fd = self._reserved.get(place, -1)
        if fd < 0 or os.fstat(fd).st_nlink == 0:  # somebody has removed it
            fd = self._hold(base, place)
        return fd, place, kind

    def all_reserved(self, which: str) -> Iterator[tuple[int, Path]]:
        """The reserved folders of the file system of the top and of those mounted below, where there are any."""
        for base in dict.fromkeys([(), *self._mounts_below()]):
            place = (*base, RESERVED, which)
            with self.opened(place, FOLDER_FLAGS) as fd:
                if fd is not None:
                    yield fd, place

    def _is_there(self) -> bool:
        """False if the folder was removed while it was held open: nothing is in it, and another may be in its place."""
        with translated():
            if os.fstat(self._fd).st_nlink:
                return True
        self._sure_until = 0.0
        return False

    def _open(self, marker_stat: tuple[int, int]) -> None:
        held = marker.read(self.folder)
        if held != self._mark:
            log.error("%s holds the marker of another storage root", self.folder)
            raise errors.Unavailable("This storage is not the one expected; ask who runs the server")
        with translated():
            fd = os.open(self.folder, FOLDER_FLAGS | os.O_CLOEXEC)
            device = described(fd).st_dev
        with contextlib.suppress(OSError):  # a backup may have left them out; a read-only disk needs none
            _make_reserved(fd)
        self._forget()
        self._fd, self._marker_stat, self._device = fd, marker_stat, device

    def _forget(self) -> None:
        """Use what is held no more; it stays open for whoever is using it now, which is once in a remount."""
        self._left_open += [fd for fd in (self._fd, *self._reserved.values()) if fd >= 0]
        self._reserved = {}

    def _kind(self, folder: Path) -> os.stat_result:
        top = self.fd()
        if not folder:
            return os.fstat(top)
        with self.opened(folder, os.O_PATH | os.O_DIRECTORY) as fd:
            if fd is None:
                raise errors.Conflict()
            return os.fstat(fd)

    def _hold(self, base: Path, place: Path) -> int:
        with self.opened(base, FOLDER_FLAGS) as fd:
            if fd is None:
                raise errors.Conflict()
            _make_reserved(fd)
            held = os.open(f"{RESERVED}/{place[-1]}", FOLDER_FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        old = self._reserved.get(place)
        if old is not None:
            self._left_open.append(old)
        self._reserved[place] = held
        return held

    def _mount_above(self, folder: Path, device: int) -> Path:
        """The highest folder on the same file system as `folder`: where its reserved folder lies."""
        while folder:
            found = self.stat(folder[:-1])
            if found is None or found.device != device:
                break
            folder = folder[:-1]
        return folder

    def _mounts_below(self) -> list[Path]:
        """Folders below this one where another file system is mounted."""
        mounts = []
        prefix = f"{self.folder}/"
        with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8") as lines:
            for line in lines:
                point = line.split(" ")[4].encode().decode("unicode_escape", "replace")
                if point.startswith(prefix):
                    mounts.append(tuple(point[len(prefix) :].split("/")))
        return mounts


def encoded(path: Path) -> bytes:
    """A path below the top as the kernel takes it."""
    return os.fsencode("/".join(path)) if path else b"."


def _make_reserved(folder: int) -> None:
    for part in (RESERVED, f"{RESERVED}/{TEMPORARY}", f"{RESERVED}/{KEPT}", f"{RESERVED}/{UPLOADS}"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=folder)
