"""What leaves the tree of a storage root: kept, put away, taken aside for a moment, or removed for good.

It goes into the reserved folder of its file system by one rename or link, so nothing is copied, and there is no moment
at which it is in neither place.
"""

import contextlib
import errno
import json
import logging
import os
import secrets
from collections.abc import Iterator

from baludav import errors
from baludav.tree.disk import kernel
from baludav.tree.disk.entries import FOLDER_FLAGS, read_record, remove, renamed, unlinked, write_file
from baludav.tree.disk.looking import Looking
from baludav.tree.disk.marker import KEPT, TEMPORARY
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.storage import Identity, Kept, Stat
from baludav.tree.paths import Path
from baludav.tree.steps import reached

log = logging.getLogger(__name__)


class TakenAside:
    """A file or folder taken out of the tree to make room, which can still be put back."""

    def __init__(self, storage: "Leaving", path: Path, place: Path, name: str) -> None:
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


class Leaving(Looking):
    """The half of a storage root that lets go."""

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
                    self._sync_move(temporary, parent)
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
            self._sync_move(kept, parent)
        return (*place, name)

    def keep(self, path: Path, owner: int, successor: Identity) -> Path:
        """Keep a file's bytes under a second name: a link, or a copy where there are none; says where.

        The name tells which file is about to take its place. Should the process die before that is recorded, it is
        proved by this name: nothing outside has put the new file there.
        """
        name = _label_before(owner, successor)
        with translated(), self._leaving(path, KEPT) as (parent, place, kept):
            try:
                _add_name(path[-1], parent, name, kept)
            except FileExistsError:  # this very step was interrupted, and is made again
                if os.path.samestat(_stat_of(name, kept), _stat_of(path[-1], parent)):
                    os.unlink(name, dir_fd=kept)
                else:
                    os.rename(name, _label(owner), src_dir_fd=kept, dst_dir_fd=kept)
                _add_name(path[-1], parent, name, kept)
            try:
                self._sync_arrival(kept)
            except OSError:
                os.unlink(name, dir_fd=kept)
                raise
        reached("kept")
        return (*place, name)

    def kept_from(self, path: Path, owner: int, successor: Identity) -> Kept | None:
        """What `keep` has kept, for this owner and before this successor, on the file system of `path`."""
        name = _label_before(owner, successor)
        with translated():
            reserved, place, _ = self._top.reserved(path[:-1], KEPT)
            try:
                found = Stat.of(_stat_of(name, reserved))
            except FileNotFoundError:
                return None
        return None if found is None else Kept((*place, name), owner, found)

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

    @contextlib.contextmanager
    def _leaving(self, path: Path, which: str) -> Iterator[tuple[int, Path, int]]:
        """The folder of what is about to leave the tree, and the reserved folder of its file system, open."""
        try:
            reserved, place, _ = self._top.reserved(path[:-1], which)
        except errors.Conflict as error:
            raise errors.NotFound() from error
        with self._top.parent(path) as parent:
            yield parent, place, reserved

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


def _label(owner: int) -> str:
    """A name for what is no longer in the tree, which tells the resource it was."""
    return f"{owner}-{secrets.token_hex(8)}"


def _label_before(owner: int, successor: Identity) -> str:
    """The same of what is about to be replaced, which tells by what."""
    return f"{owner}-{successor.inode:x}-{successor.since_ns & 0xFFFFFFFFFFFFFFFF:x}"


def _stat_of(name: str, folder: int) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _add_name(name: str, folder: int, other: str, other_folder: int) -> None:
    """Give a file a second name; a copy, where there are no links."""
    try:
        os.link(name, other, src_dir_fd=folder, dst_dir_fd=other_folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            _copy_to(source, other_folder, other)
        finally:
            os.close(source)


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
