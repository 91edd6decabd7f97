"""A folder of plain files on a mounted file system: the storage of homes and shares.

Paths here are names below the folder, as they are spelled on the disk. Nothing outside the folder can be
reached and no symbolic link is followed: every path is opened by one confined system call. Only regular files
and folders exist; links, sockets and devices are not there. The reserved folder `.baludav` at the top (and at
the top of each file system mounted below) holds the marker, temporary files and what is on its way out.

OS errors leave this room as failures of `baludav.errors`.
"""

import contextlib
import errno
import json
import logging
import os
import secrets
import stat as modes
from collections.abc import Iterator
from pathlib import Path as DiskPath

from baludav import errors
from baludav.tree import kernel, marker
from baludav.tree.entries import FOLDER_FLAGS, read_record, remove, write_file
from baludav.tree.marker import KEPT, TEMPORARY
from baludav.tree.oserrors import failure, translated
from baludav.tree.paths import RESERVED, Path, is_visible
from baludav.tree.steps import reached
from baludav.tree.storage import CrossDevice, Kept, Staged, Stat, Storage

log = logging.getLogger(__name__)

_GRANULARITY_NS = 20_000_000  # two ticks of the slowest kernel clock (100 Hz)
_COARSE_GRANULARITY_NS = 2_000_000_000  # FAT and some network file systems


class TemporaryFile:
    """A temporary file on the file system of its destination, invisible to everyone."""

    def __init__(self, folder_fd: int, name: str, fd: int) -> None:
        self.folder_fd = folder_fd
        self.name = name
        self.fd = fd
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        with translated():
            kernel.write_all(self.fd, data, self.size)
        self.size += len(data)

    def copy_from(self, fd: int, size: int) -> None:
        """Take all bytes of an open file."""
        with translated():
            kernel.copy_bytes(fd, self.fd, size)
            self.size = os.fstat(self.fd).st_size

    def finish(self, *, mtime_ns: int | None, sync: bool) -> None:
        """Set the time and bring the bytes to the disk."""
        with translated():
            if mtime_ns is not None:
                os.utime(self.fd, ns=(mtime_ns, mtime_ns))
            if sync:
                os.fsync(self.fd)

    def discard(self) -> None:
        """Remove what was not put in place; harmless afterwards."""
        with contextlib.suppress(OSError):
            os.unlink(self.name, dir_fd=self.folder_fd)
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            os.close(self.folder_fd)
            self.fd = self.folder_fd = -1


class TakenAside:
    """A file or folder taken out of the tree to make room, which can still be put back."""

    def __init__(self, storage: "LocalStorage", path: Path, place: Path, name: str) -> None:
        self._storage = storage
        self._path = path
        self._place = place
        self._name = name

    def put_back(self) -> None:
        self._storage._put_back(self._path, self._place, self._name)

    def put_away(self) -> Path:
        """Keep it; says where."""
        path = self._storage._put_aside_away(self._place, self._name)
        self._place = path[:-1]
        return path


class LocalStorage:
    """A storage root on a local or mounted file system.

    Args:
        folder: absolute path on the machine.
        mark: what the marker file must hold; another or no marker means that the disk is not mounted.
        sync: bring folder changes to the disk before saying they are done.
    """

    def __init__(self, folder: DiskPath, mark: str, *, sync: bool) -> None:
        self.folder = folder
        self.sync = sync
        self._mark = mark
        self._marker_file = f"{folder}/{RESERVED}/{marker.NAME}"
        self._top: int = -1
        self._marker_stat: tuple[int, int] | None = None
        self._granularity: dict[int, int] = {}

    # What is there

    def stat(self, path: Path) -> Stat | None:
        """The file or folder at `path`, or None."""
        with self._opened(path, os.O_PATH | os.O_NOFOLLOW) as fd:
            return None if fd is None else Stat.of(os.fstat(fd))

    def born_ns(self, path: Path) -> int:
        """When the inode came to be (nanoseconds); 0 if unknown."""
        with self._opened(path, os.O_PATH | os.O_NOFOLLOW) as fd:
            return 0 if fd is None else kernel.born_ns(fd)

    def scan(self, path: Path) -> list[tuple[str, Stat]]:
        """Every member of a folder that can be shown; empty when the folder is gone."""
        with self._opened(path, FOLDER_FLAGS) as fd, translated():
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

    def open(self, path: Path) -> int:
        """A descriptor for reading a regular file; the caller closes it.

        Raises:
            NotFound: no regular file there.
        """
        with translated():
            fd = kernel.open_beneath(self.top(), _encoded(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            if not modes.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise errors.NotFound()
            return fd

    def free(self, path: Path = ()) -> int:
        """Bytes that may still be stored where `path` lies."""
        with self._opened(path, os.O_RDONLY | os.O_NONBLOCK) as fd:
            found = os.fstatvfs(self.top() if fd is None else fd)
            return found.f_bavail * found.f_frsize

    def granularity_ns(self, path: Path, device: int) -> int:
        """Within how many nanoseconds two changes of a file on this device may get the same ctime."""
        if device not in self._granularity:
            self._granularity[device] = self._measure_granularity(path)
        return self._granularity[device]

    # What changes

    def stage(self, folder: Path) -> TemporaryFile:
        """A temporary file on the file system of `folder`, owned and permitted like what lies there."""
        with translated():
            place, kind = self._reserved(folder, TEMPORARY)
            temporary = kernel.open_beneath(self.top(), _encoded(place), FOLDER_FLAGS)
            try:
                name = secrets.token_hex(12)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(name, flags, 0o600, dir_fd=temporary)
            except BaseException:
                os.close(temporary)
                raise
        _adopt(fd, kind, kind.st_mode & 0o666)
        return TemporaryFile(temporary, name, fd)

    def put(self, staged: Staged, path: Path) -> Stat:
        """Put a finished temporary file in place, in one step that replaces what file was there."""
        assert isinstance(staged, TemporaryFile)
        with translated():
            parent = self._open_folder(path[:-1])
            try:
                os.rename(staged.name, path[-1], src_dir_fd=staged.folder_fd, dst_dir_fd=parent)
                reached("renamed")
                self._sync(parent)
                found = Stat.of(os.fstat(staged.fd))
            finally:
                os.close(parent)
        staged.close()
        assert found is not None
        return found

    def make_folder(self, path: Path) -> Stat:
        """Create one folder.

        Raises:
            Conflict: something is there already.
        """
        with translated():
            parent = self._open_folder(path[:-1])
            try:
                kind = os.fstat(parent)
                os.mkdir(path[-1], 0o700, dir_fd=parent)
                fd = os.open(path[-1], FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
                try:
                    _adopt(fd, kind, modes.S_IMODE(kind.st_mode))
                    self._sync(parent)
                    found = Stat.of(os.fstat(fd))
                finally:
                    os.close(fd)
            finally:
                os.close(parent)
        assert found is not None
        return found

    def move(self, source: Path, target_storage: Storage, target: Path) -> Stat:
        """Rename within or between storage roots of one file system; replaces a file by a file.

        Raises:
            CrossDevice: the two lie on different file systems; nothing was changed.
        """
        if not isinstance(target_storage, LocalStorage):
            raise CrossDevice
        with translated():
            from_fd = self._open_folder(source[:-1])
            try:
                to_fd = target_storage._open_folder(target[:-1])
                try:
                    try:
                        os.rename(source[-1], target[-1], src_dir_fd=from_fd, dst_dir_fd=to_fd)
                    except OSError as error:
                        if error.errno == errno.EXDEV:
                            raise CrossDevice from error
                        raise
                    reached("renamed")
                    self._sync(to_fd)
                    self._sync(from_fd)
                finally:
                    os.close(to_fd)
            finally:
                os.close(from_fd)
        found = target_storage.stat(target)
        if found is None:
            raise errors.Conflict("Something else has appeared at this path; try again")
        return found

    def take_aside(self, path: Path, owner: int) -> TakenAside:
        """Take a file or folder out of the tree in one step, to put something else in its place.

        The record that says where it belongs is on the disk before the step.
        """
        name = _label(owner)
        with translated(), self._leaving(path, TEMPORARY) as (parent, place, temporary):
            write_file(temporary, f"{name}.json", json.dumps(list(path)).encode())
            self._sync(temporary)
            reached("recorded")
            try:
                os.rename(path[-1], name, src_dir_fd=parent, dst_dir_fd=temporary)
            except OSError:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{name}.json", dir_fd=temporary)
                raise
            reached("taken aside")
            self._sync(parent)
        return TakenAside(self, path, place, name)

    def put_away(self, path: Path, owner: int) -> Path:
        """Take a file or folder out of the tree in one step, and keep it; says where."""
        name = _label(owner)
        with translated(), self._leaving(path, KEPT) as (parent, place, kept):
            os.rename(path[-1], name, src_dir_fd=parent, dst_dir_fd=kept)
            reached("put away")
            self._sync(parent)
        return (*place, name)

    def keep(self, path: Path, owner: int) -> Path:
        """Keep a file's bytes under a second name: a link, or a copy where there are none; says where."""
        name = _label(owner)
        with translated(), self._leaving(path, KEPT) as (parent, place, kept):
            try:
                os.link(path[-1], name, src_dir_fd=parent, dst_dir_fd=kept, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
                source = os.open(path[-1], os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent)
                try:
                    _copy_to(source, kept, name)
                finally:
                    os.close(source)
        reached("kept")
        return (*place, name)

    def kept(self) -> list[Kept]:
        """Everything put away or kept."""
        found = []
        for top in self._tops():
            place = (*top, RESERVED, KEPT)
            with self._opened(place, FOLDER_FLAGS) as fd:
                for name in [] if fd is None else os.listdir(fd):
                    stat = self.stat((*place, name))
                    owner = name.partition("-")[0]
                    if stat is not None and owner.isdigit():
                        found.append(Kept((*place, name), int(owner), stat))
        return found

    def drop(self, path: Path) -> None:
        """Remove a file or folder in one step, for good; what cannot be removed now goes at the next start."""
        name = secrets.token_hex(12)
        with contextlib.suppress(OSError, errors.Failure), self._leaving(path, TEMPORARY) as (parent, _, temporary):
            os.rename(path[-1], name, src_dir_fd=parent, dst_dir_fd=temporary)
            remove(name, temporary)

    def stage_folder(self, folder: Path) -> tuple[Path, Stat]:
        """An empty folder among the temporary files of the file system of `folder`, to be moved into place."""
        with translated():
            place, _ = self._reserved(folder, TEMPORARY)
        path = (*place, secrets.token_hex(12))
        return path, self.make_folder(path)

    def copy_into(self, path: Path, source: int, size: int, mtime_ns: int) -> tuple[Stat, int]:
        """Copy an open file to a new name within a staged folder, not synced; the caller closes the descriptor."""
        with translated():
            parent = self._open_folder(path[:-1])
            try:
                kind = os.fstat(parent)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(path[-1], flags, 0o600, dir_fd=parent)
            finally:
                os.close(parent)
            try:
                _adopt(fd, kind, kind.st_mode & 0o666)
                kernel.copy_bytes(source, fd, size)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
                found = Stat.of(os.fstat(fd))
            except BaseException:
                os.close(fd)
                raise
        assert found is not None
        return found, fd

    def sync_all(self, path: Path) -> None:
        """Bring everything written to the file system of `path` to the disk, many new files at once."""
        with self._opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd, translated():
            if fd is not None:
                kernel.sync_file_system(fd)

    def set_mtime(self, path: Path, mtime_ns: int) -> Stat:
        """Set the modification time; the bytes stay."""
        with self._opened(path, os.O_RDONLY | os.O_NONBLOCK) as fd, translated():
            if fd is None:
                raise errors.NotFound()
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            found = Stat.of(os.fstat(fd))
        assert found is not None
        return found

    def sweep(self, *, older_than_ns: int) -> int:
        """Finish what a crash interrupted: put back or remove what is left among the temporary files.

        Args:
            older_than_ns: leave alone what changed later; it may belong to a running request.
        Returns:
            how many entries were found.
        """
        count = 0
        for top in self._tops():
            path = (*top, RESERVED, TEMPORARY)
            with self._opened(path, FOLDER_FLAGS) as fd:
                names = [] if fd is None else os.listdir(fd)
                for name in names:
                    with contextlib.suppress(OSError, errors.Failure):
                        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                        if max(found.st_mtime_ns, found.st_ctime_ns) >= older_than_ns:
                            continue
                        count += 1
                        self._sweep_one(path, name, names)
        return count

    # The folder itself

    def top(self) -> int:
        """A descriptor of the folder, after checking that it is the marked one.

        Raises:
            Unavailable: the marker is missing, so the disk is not mounted.
        """
        try:
            found = os.stat(self._marker_file, follow_symlinks=False)
        except OSError:
            self._marker_stat = None
            raise errors.Unavailable("This storage is not mounted; ask who runs the server") from None
        if self._marker_stat != (found.st_dev, found.st_ino):
            self._open_top((found.st_dev, found.st_ino))
        return self._top

    def close(self) -> None:
        if self._top >= 0:
            os.close(self._top)
        self._top, self._marker_stat = -1, None

    def _open_top(self, marker_stat: tuple[int, int]) -> None:
        held = marker.read(self.folder)
        if held != self._mark:
            log.error("%s holds the marker of another storage root", self.folder)
            raise errors.Unavailable("This storage is not the one expected; ask who runs the server")
        top = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a backup may have left them out; a read-only disk needs none
            _make_reserved(top)
        # The old descriptor stays open for whoever is using it now; this happens once in a remount.
        self._top, self._marker_stat = top, marker_stat

    # Inside

    @contextlib.contextmanager
    def _opened(self, path: Path, flags: int) -> Iterator[int | None]:
        """A descriptor of what is at `path`, None if nothing can be there."""
        top = self.top()
        try:
            fd = kernel.open_beneath(top, _encoded(path), flags)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENXIO):
                yield None
                return
            raise failure(error) from error
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_folder(self, path: Path) -> int:
        try:
            return kernel.open_beneath(self.top(), _encoded(path), FOLDER_FLAGS)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise errors.Conflict() from error
            raise

    def _top_of(self, folder: Path, device: int) -> Path:
        """The highest folder on the same file system as `folder`: where its temporary files lie."""
        while folder:
            found = self.stat(folder[:-1])
            if found is None or found.device != device:
                break
            folder = folder[:-1]
        return folder

    def _reserved(self, folder: Path, which: str) -> tuple[Path, os.stat_result]:
        """A reserved folder on the file system of `folder`, and what `folder` itself is."""
        with self._opened(folder, os.O_PATH | os.O_DIRECTORY) as fd:
            if fd is None:
                raise errors.Conflict()
            kind = os.fstat(fd)
        top = self.top()
        base = () if os.fstat(top).st_dev == kind.st_dev else self._top_of(folder, kind.st_dev)
        place = (*base, RESERVED, which)
        if base and self.stat(place) is None:
            base_fd = kernel.open_beneath(top, _encoded(base), FOLDER_FLAGS)
            try:
                _make_reserved(base_fd)
            finally:
                os.close(base_fd)
        return place, kind

    @contextlib.contextmanager
    def _leaving(self, path: Path, which: str) -> Iterator[tuple[int, Path, int]]:
        """The folder of what is about to leave the tree, and the reserved folder of its file system, open."""
        if self.stat(path) is None:
            raise errors.NotFound()
        place, _ = self._reserved(path[:-1], which)
        with self._opened(place, FOLDER_FLAGS) as reserved, self._opened(path[:-1], FOLDER_FLAGS) as parent:
            if reserved is None or parent is None:
                raise errors.NotFound()
            yield parent, place, reserved

    def _tops(self) -> list[Path]:
        """The folder itself, and folders below it where another file system is mounted."""
        return list(dict.fromkeys([(), *self._mounts_below()]))

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

    def _sync(self, fd: int) -> None:
        if self.sync:
            os.fsync(fd)

    def _put_back(self, path: Path, place: Path, name: str) -> None:
        with (
            translated(),
            self._opened(place, FOLDER_FLAGS) as temporary,
            self._opened(path[:-1], FOLDER_FLAGS) as parent,
        ):
            if temporary is None or parent is None:
                raise errors.Conflict()
            os.rename(name, path[-1], src_dir_fd=temporary, dst_dir_fd=parent)
            self._sync(parent)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{name}.json", dir_fd=temporary)

    def _put_aside_away(self, temporary: Path, name: str) -> Path:
        place = (*temporary[:-1], KEPT)
        with (
            translated(),
            self._opened(temporary, FOLDER_FLAGS) as temporary_fd,
            self._opened(place, FOLDER_FLAGS) as kept,
        ):
            if temporary_fd is None or kept is None:
                raise errors.Conflict()
            os.rename(name, name, src_dir_fd=temporary_fd, dst_dir_fd=kept)
            reached("put away")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{name}.json", dir_fd=temporary_fd)
        return (*place, name)

    def _sweep_one(self, temporary: Path, name: str, names: list[str]) -> None:
        with self._opened(temporary, FOLDER_FLAGS) as fd:
            assert fd is not None
            if name.endswith(".json") and name.removesuffix(".json") in names:
                return  # its entry is handled under the entry's own name
            if f"{name}.json" not in names:
                remove(name, fd)
                return
            path = read_record(fd, f"{name}.json")
        if path and self.stat(path) is None and self.stat(path[:-1]) is not None:
            log.warning("putting back %s, which an interrupted request had taken aside", "/".join(path))
            self._put_back(path, temporary, name)
        else:
            self._put_aside_away(temporary, name)

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
        finally:
            staged.discard()
        if len(set(times)) == len(times):
            return 0
        return _COARSE_GRANULARITY_NS if all(time % 1_000_000_000 == 0 for time in times) else _GRANULARITY_NS


def _make_reserved(top: int) -> None:
    for part in (RESERVED, f"{RESERVED}/{TEMPORARY}", f"{RESERVED}/{KEPT}"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=top)


def _label(owner: int) -> str:
    """A name for what is no longer in the tree, which tells the resource it was."""
    return f"{owner}-{secrets.token_hex(8)}"


def _copy_to(source: int, folder: int, name: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        found = os.fstat(source)
        kernel.copy_bytes(source, fd, found.st_size)
        os.utime(fd, ns=(found.st_mtime_ns, found.st_mtime_ns))
        os.fsync(fd)
    finally:
        os.close(fd)


def _encoded(path: Path) -> bytes:
    return os.fsencode("/".join(path)) if path else b"."


def _adopt(fd: int, parent: os.stat_result, mode: int) -> None:
    """Give a new file or folder the permissions that its folder implies, as far as the server may."""
    with contextlib.suppress(OSError):
        if parent.st_mode & modes.S_ISGID:
            os.fchown(fd, -1, parent.st_gid)
        os.fchmod(fd, mode)
