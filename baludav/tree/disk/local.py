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
from collections.abc import Iterable, Iterator
from pathlib import Path as DiskPath

from baludav import errors
from baludav.tree.disk import kernel
from baludav.tree.disk.entries import (
    FOLDER_FLAGS,
    described,
    free_bytes,
    read_record,
    remove,
    renamed,
    unlinked,
    write_file,
)
from baludav.tree.disk.marker import KEPT, TEMPORARY, UPLOADS
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.storage import CopiedFile, CrossDevice, Kept, OutOfWatches, Staged, Stat, Storage
from baludav.tree.disk.temporary import TemporaryFile
from baludav.tree.disk.top import Top
from baludav.tree.paths import Path, is_visible
from baludav.tree.steps import reached
from baludav.waiting import waiting

log = logging.getLogger(__name__)

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
        self.sync = sync
        self._top = Top(folder, mark)
        self._granularity: dict[int, int] = {}

    # What is there

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

    def granularity_ns(self, path: Path, device: int) -> int:
        """Within how many nanoseconds two changes of a file on this device may get the same ctime."""
        if device not in self._granularity:
            self._granularity[device] = self._measure_granularity(path)
        return self._granularity[device]

    # What changes

    def stage(self, folder: Path) -> TemporaryFile:
        """A temporary file on the file system of `folder`, owned and permitted like what lies there."""
        with translated():
            temporary, _, kind = self._top.reserved(folder, TEMPORARY)
            name = secrets.token_hex(12)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=temporary)
        _adopt(fd, kind, kind.st_mode & 0o666)
        return TemporaryFile(temporary, name, fd)

    def begin(self, folder: Path) -> Path:
        """Set an empty file aside on the file system of `folder`, for many requests to fill; says where."""
        with translated():
            reserved, place, _ = self._top.reserved(folder, UPLOADS)
            name = secrets.token_hex(12)
            write_file(reserved, name, b"")
            self._sync(reserved)
        return (*place, name)

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
            return TemporaryFile(reserved, path[-1], fd, described(fd).st_size)

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
                    self._sync(to_fd)
                    if from_fd != to_fd:
                        self._sync(from_fd)
                    found = target_storage.stat(target)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise CrossDevice from error
                raise
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
            try:
                self._sync(temporary)
                reached("recorded")
                with renamed(path[-1], parent, name, temporary):
                    reached("taken aside")
                    self._sync(parent)
            except OSError:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{name}.json", dir_fd=temporary)
                raise
        return TakenAside(self, path, place, name)

    def put_away(self, path: Path, owner: int) -> Path:
        """Take a file or folder out of the tree in one step, and keep it; says where."""
        name = _label(owner)
        with (
            translated(),
            self._leaving(path, KEPT) as (parent, place, kept),
            renamed(path[-1], parent, name, kept),
        ):
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
        for fd, place in self._top.all_reserved(KEPT):
            for name in os.listdir(fd):
                stat = self.stat((*place, name))
                owner = name.partition("-")[0]
                if stat is not None and owner.isdigit():
                    found.append(Kept((*place, name), int(owner), stat))
        return found

    def drop(self, path: Path) -> None:
        """Remove a file or folder in one step, for good; what cannot be removed now goes at the next start."""
        with contextlib.suppress(OSError, errors.Failure):
            with self._top.parent(path) as parent:
                if unlinked(path[-1], parent):
                    return
            name = secrets.token_hex(12)
            with self._leaving(path, TEMPORARY) as (parent, _, temporary):
                os.rename(path[-1], name, src_dir_fd=parent, dst_dir_fd=temporary)
                remove(name, temporary)

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

    def set_mtime(self, path: Path, mtime_ns: int) -> Stat:
        """Set the modification time; the bytes stay."""
        with self._top.opened(path, os.O_RDONLY | os.O_NONBLOCK) as fd, translated():
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
        for fd, path in self._top.all_reserved(TEMPORARY):
            names = os.listdir(fd)
            for name in names:
                with contextlib.suppress(OSError, errors.Failure):
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if max(found.st_mtime_ns, found.st_ctime_ns) >= older_than_ns:
                        continue
                    count += 1
                    self._sweep_one(path, name, names)
        return count

    def close(self) -> None:
        """Release what is held open."""
        self._top.close()

    # Inside

    @contextlib.contextmanager
    def _leaving(self, path: Path, which: str) -> Iterator[tuple[int, Path, int]]:
        """The folder of what is about to leave the tree, and the reserved folder of its file system, open."""
        try:
            reserved, place, _ = self._top.reserved(path[:-1], which)
        except errors.Conflict as error:
            raise errors.NotFound() from error
        with self._top.parent(path) as parent:
            yield parent, place, reserved

    def _made(self, parent: int, name: str, kind: os.stat_result) -> Stat | None:
        """A folder that was just made, with the permissions that its folder implies."""
        fd = os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
        try:
            _adopt(fd, kind, modes.S_IMODE(kind.st_mode))
            self._sync(parent)
            return Stat.of(os.fstat(fd))
        finally:
            os.close(fd)

    def _sync(self, fd: int) -> None:
        if self.sync:
            with waiting():
                os.fsync(fd)

    def _put_back(self, path: Path, place: Path, name: str) -> None:
        with (
            translated(),
            self._top.opened(place, FOLDER_FLAGS) as temporary,
            self._top.opened(path[:-1], FOLDER_FLAGS) as parent,
        ):
            if temporary is None or parent is None:
                raise errors.Conflict()
            os.rename(name, path[-1], src_dir_fd=temporary, dst_dir_fd=parent)
            self._sync(parent)
            with contextlib.suppress(OSError):
                os.unlink(f"{name}.json", dir_fd=temporary)

    def _put_aside_away(self, temporary: Path, name: str) -> Path:
        place = (*temporary[:-1], KEPT)
        with (
            translated(),
            self._top.opened(temporary, FOLDER_FLAGS) as temporary_fd,
            self._top.opened(place, FOLDER_FLAGS) as kept,
        ):
            if temporary_fd is None or kept is None:
                raise errors.Conflict()
            os.rename(name, name, src_dir_fd=temporary_fd, dst_dir_fd=kept)
            reached("put away")
            with contextlib.suppress(OSError):  # the next start removes what is left
                os.unlink(f"{name}.json", dir_fd=temporary_fd)
        return (*place, name)

    def _sweep_one(self, temporary: Path, name: str, names: list[str]) -> None:
        with self._top.opened(temporary, FOLDER_FLAGS) as fd:
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
        except OSError:
            return _COARSE_GRANULARITY_NS
        finally:
            staged.discard()
        if len(set(times)) == len(times):
            return 0
        return _COARSE_GRANULARITY_NS if all(time % 1_000_000_000 == 0 for time in times) else _GRANULARITY_NS


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
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(fd)


def _adopt(fd: int, parent: os.stat_result, mode: int) -> None:
    """Give a new file or folder the permissions that its folder implies, as far as the server may."""
    with contextlib.suppress(OSError):
        if parent.st_mode & modes.S_ISGID:
            os.fchown(fd, -1, parent.st_gid)
        if modes.S_IMODE(os.fstat(fd).st_mode) != mode:
            os.fchmod(fd, mode)
