"""What comes into a storage root: files and folders that nobody can see yet, made ready to be put in place."""

import contextlib
import os
import secrets
import stat as modes
from collections.abc import Iterator
from pathlib import Path as DiskPath

from baludav import errors
from baludav.tree.disk import kernel
from baludav.tree.disk.entries import FOLDER_FLAGS, described, write_file
from baludav.tree.disk.looking import Looking
from baludav.tree.disk.marker import TEMPORARY, UPLOADS
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.storage import CopiedFile, CrossDevice, Staged, Stat
from baludav.tree.disk.temporary import TemporaryFile
from baludav.tree.paths import Path
from baludav.waiting import waiting

_GRANULARITY_NS = 20_000_000  # two ticks of the slowest kernel clock (100 Hz)
_COARSE_GRANULARITY_NS = 2_000_000_000  # FAT and some network file systems


class StagedFolder:
    """A staged folder, while files are copied into it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._kind = os.fstat(fd)
        self._shares_blocks = True

    def copy(self, name: str, source: int, size: int, mtime_ns: int) -> CopiedFile:
        """Copy an open file to a new name, not synced."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with translated():
            fd = os.open(name, flags, 0o600, dir_fd=self._fd)
            try:
                _adopt(fd, self._kind, self._kind.st_mode & 0o666)
                self._shares_blocks = self._shares_blocks and kernel.share_blocks(source, fd)
                if not self._shares_blocks:
                    kernel.copy_bytes(source, fd, size)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
                found = Stat.of(os.fstat(fd))
                assert found is not None
                return CopiedFile(found, kernel.born_ns(fd), fd)
            except BaseException:
                os.close(fd)
                raise


class Staging(Looking):
    """The half of a storage root that takes in what is new."""

    def __init__(self, folder: DiskPath, mark: str, *, sync: bool) -> None:
        super().__init__(folder, mark, sync=sync)
        self._granularity: dict[int, int] = {}

    def stage(self, folder: Path) -> TemporaryFile:
        """A temporary file on the file system of `folder`, owned and permitted like what lies there."""
        with translated():
            temporary, _, kind = self._top.reserved(folder, TEMPORARY)
            name = secrets.token_hex(12)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=temporary)
        _adopt(fd, kind, kind.st_mode & 0o666)
        return TemporaryFile(temporary, name, fd, tick_ns=self._granularity.get(kind.st_dev, 0))

    def begin(self, folder: Path) -> Path:
        """Set an empty file aside on the file system of `folder`, for many requests to fill; says where.

        Its name tells which file it is, for when it has left this place.
        """
        with translated():
            reserved, place, _ = self._top.reserved(folder, UPLOADS)
            name = secrets.token_hex(12)
            write_file(reserved, name, b"")
            begun = f"{name}{self._mark_of((*place, name))}"
            os.rename(name, begun, src_dir_fd=reserved, dst_dir_fd=reserved)
            self._sync(reserved)
        return (*place, begun)

    def is_begun(self, begun: Path, path: Path) -> bool:
        """True if what is at `path` is the file that was set aside at `begun`; never without times of birth."""
        mark = self._mark_of(path)
        return mark != "" and begun[-1].endswith(mark)

    def begun(self) -> list[Path]:
        """Everything that was set aside."""
        return [(*place, name) for fd, place in self._top.all_reserved(UPLOADS) for name in os.listdir(fd)]

    def resume(self, path: Path) -> TemporaryFile:
        """Go on with a file that was set aside.

        Raises:
            NotFound: it is not there any more.
        """
        with translated():
            reserved, _, _ = self._top.reserved(path[:-3], UPLOADS)
            fd = os.open(path[-1], os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=reserved)
            found = described(fd)
        return TemporaryFile(reserved, path[-1], fd, found.st_size, tick_ns=self._granularity.get(found.st_dev, 0))

    def adopt(self, staged: Staged, folder: Path) -> None:
        """Give a file that was set aside the owner and permissions of what lies in `folder`.

        Raises:
            CrossDevice: that is on another file system.
        """
        with translated():
            _, _, kind = self._top.reserved(folder, UPLOADS)
            if kind.st_dev != os.fstat(staged.fd).st_dev:
                raise CrossDevice
        _adopt(staged.fd, kind, kind.st_mode & 0o666)

    def make_folder(self, path: Path) -> Stat:
        """Create one folder.

        Raises:
            Conflict: something is there already.
        """
        with translated(), self._top.parent(path) as parent:
            kind = os.fstat(parent)
            os.mkdir(path[-1], 0o700, dir_fd=parent)
            try:
                found = self._made(parent, path[-1], kind)
            except OSError:
                os.rmdir(path[-1], dir_fd=parent)
                raise
        assert found is not None
        return found

    def stage_folder(self, folder: Path) -> tuple[Path, Stat]:
        """An empty folder among the temporary files of the file system of `folder`, to be moved into place."""
        with translated():
            _, place, _ = self._top.reserved(folder, TEMPORARY)
        path = (*place, secrets.token_hex(12))
        return path, self.make_folder(path)

    @contextlib.contextmanager
    def filling(self, path: Path) -> Iterator["StagedFolder"]:
        """A staged folder, or one in it, for copying files into it."""
        with self._top.opened(path, FOLDER_FLAGS) as fd:
            if fd is None:
                raise errors.NotFound()
            with translated():
                folder = StagedFolder(fd)
            yield folder

    def sync_all(self, path: Path) -> None:
        """Bring everything written to the file system of `path` to the disk, many new files at once."""
        with self._top.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd, translated():
            if fd is not None:
                with waiting():
                    kernel.sync_file_system(fd)

    def granularity_ns(self, path: Path, device: int) -> int:
        """Within how many nanoseconds two changes of a file on this device may get the same ctime."""
        if device not in self._granularity:
            self._granularity[device] = self._measure_granularity(path)
        return self._granularity[device]

    def _mark_of(self, path: Path) -> str:
        """Which file it is that is at a place, as the end of a name; empty if that cannot be told."""
        found, born_ns = self.stat(path), self.born_ns(path)
        return f"-{found.inode:x}-{born_ns:x}" if found is not None and born_ns else ""

    def _made(self, parent: int, name: str, kind: os.stat_result) -> Stat | None:
        """A folder that was just made, with the permissions that its folder implies."""
        fd = os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
        try:
            _adopt(fd, kind, modes.S_IMODE(kind.st_mode))
            self._sync(parent)
            return Stat.of(os.fstat(fd))
        finally:
            os.close(fd)

    def _measure_granularity(self, folder: Path) -> int:
        """Change one file a few times in a row and see whether the file system can tell the changes apart."""
        try:
            staged = self.stage(folder)
        except errors.Failure:
            return _COARSE_GRANULARITY_NS
        try:
            times = []
            for byte in b"1234":
                os.pwrite(staged.fd, bytes([byte]), 0)
                times.append(os.fstat(staged.fd).st_ctime_ns)
        except OSError:
            return _COARSE_GRANULARITY_NS
        finally:
            staged.discard()
        if len(set(times)) == len(times):
            return 0
        return _COARSE_GRANULARITY_NS if all(time % 1_000_000_000 == 0 for time in times) else _GRANULARITY_NS


def _adopt(fd: int, parent: os.stat_result, mode: int) -> None:
    """Give a new file or folder the permissions that its folder implies, as far as the server may."""
    with contextlib.suppress(OSError):
        if parent.st_mode & modes.S_ISGID:
            os.fchown(fd, -1, parent.st_gid)
        if modes.S_IMODE(os.fstat(fd).st_mode) != mode:
            os.fchmod(fd, mode)
