"""What the tree asks of a storage: the contract that every kind of storage keeps.

Paths are names below the storage root, as the storage spells them. `tests/contract` holds a suite that every
storage passes, and an in-memory reference that shows what the words mean.
"""

import os
import stat as modes
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from baludav.tree.paths import Path


class Stat(NamedTuple):
    """What the file system says of one file or folder; all but `is_collection` are the stat signature."""

    is_collection: bool
    device: int
    inode: int
    size: int  # bytes; 0 for a folder
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Stat | None":
        """None for anything but a regular file or a folder."""
        is_folder = modes.S_ISDIR(found.st_mode)
        if not is_folder and not modes.S_ISREG(found.st_mode):
            return None
        return cls(
            is_folder,
            found.st_dev,
            found.st_ino,
            0 if is_folder else found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
        )


class Identity(NamedTuple):
    """Which file it is, on its file system, whatever name it has.

    Attributes:
        since_ns: when it came to be, or got its bytes where that is not known; inodes are used again.
    """

    inode: int
    since_ns: int

    @classmethod
    def of(cls, stat: Stat, born_ns: int) -> "Identity":
        return cls(stat.inode, born_ns or stat.mtime_ns)


class CrossDevice(Exception):
    """A rename cannot reach from one file system to another."""


class OutOfWatches(Exception):
    """The system lets this user watch no more folders."""


class Staged(Protocol):
    """New bytes that nobody can see yet, where they can be put in place by one step."""

    @property
    def fd(self) -> int:
        """A descriptor for reading the bytes back."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    @property
    def born_ns(self) -> int:
        """As `Storage.born_ns` of the place it is put in; known when it is finished."""

    @property
    def identity(self) -> Identity:
        """Which file it is; known when it is finished."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; raises InsufficientStorage when the disk is full."""

    def free(self) -> int:
        """Bytes that may still be stored beside it."""

    def copy_from(self, fd: int, size: int) -> None:
        """Take all bytes of an open file, sharing blocks where the file system can."""

    def copy_range(self, fd: int, start: int, size: int, at: int) -> None:
        """Take `size` bytes from `start` of an open file, to lie at `at` in this one."""

    def finish(self, *, mtime_ns: int | None, sync: bool) -> None:
        """Set the modification time (None: leave it) and, with `sync`, bring the bytes to the disk."""

    def discard(self) -> None:
        """Remove what was not put in place; harmless afterwards."""

    def leave(self) -> None:
        """Close it, leaving the file: what `begin` made is there to be resumed. Harmless afterwards."""


class Filling(Protocol):
    """A staged folder, while files are copied into it."""

    def copy(self, name: str, source: int, size: int, mtime_ns: int) -> "CopiedFile":
        """Copy an open file to a new name, unsynced."""


class CopiedFile(NamedTuple):
    """A file that was copied.

    Attributes:
        born_ns: as `Storage.born_ns`.
        fd: for reading it back, which the caller closes.
    """

    stat: Stat
    born_ns: int
    fd: int


class Aside(Protocol):
    """A file or folder taken out of the tree to make room, which can still be put back."""

    def put_back(self) -> None:
        """Back to where it was."""

    def put_away(self) -> Path:
        """Keep it among what was put away; says where."""


class Kept(NamedTuple):
    """Something put away: where it lies, which resource it was, and what the file system says of it."""

    path: Path
    owner: int
    stat: Stat


class Storage(Protocol):
    """The bytes behind one storage root.

    Every method raises Unavailable when the disk is not the expected one, and other failures of
    `baludav.errors` for what the operating system refuses; never an OSError.
    """

    def stat(self, path: Path) -> Stat | None:
        """The file or folder at `path`; None for nothing, for links and for special files."""

    def born_ns(self, path: Path) -> int:
        """When it came to be (nanoseconds); 0 if unknown. Tells a new file from an old one on a reused inode."""

    def scan(self, path: Path) -> list[tuple[str, Stat]]:
        """Every member of a folder that can be shown, in no order; empty when there is no such folder."""

    def find(self, folder: Path, names: Iterable[str]) -> dict[str, Stat]:
        """Those of some members of a folder that are there; none when there is no such folder."""

    def watch(self, notifier: int, path: Path) -> int | None:
        """Let an inotify descriptor tell what happens in a folder.

        Returns:
            the number of the watch; None where not every change can be told.
        Raises:
            NotFound: no folder there.
            OutOfWatches: there are too many watches.
        """

    def open(self, path: Path) -> int:
        """A descriptor for reading a file, which the caller closes; NotFound for anything else."""

    def open_known(self, path: Path, signature: Stat) -> int | None:
        """The same, if the file is just as it was; None otherwise."""

    def free(self, path: Path = ()) -> int:
        """Bytes that may still be stored where `path` lies."""

    def granularity_ns(self, path: Path, device: int) -> int:
        """Within how many nanoseconds two changes of a file may get the same ctime; 0 if never."""

    def stage(self, folder: Path) -> Staged:
        """Begin a file that is to lie in `folder`; Conflict if there is no such folder."""

    def begin(self, folder: Path) -> Path:
        """Set an empty file aside that many requests will fill, where `folder` lies; says where. `sweep` leaves it."""

    def begun(self) -> list[Path]:
        """Everything that `begin` has set aside and that was not put in place, in no order."""

    def is_begun(self, begun: Path, path: Path) -> bool:
        """True if what is at `path` is surely the file that was set aside at `begun`."""

    def resume(self, path: Path) -> Staged:
        """Go on with a file that was set aside; NotFound if it is not there any more."""

    def adopt(self, staged: Staged, folder: Path) -> None:
        """Give a file that was set aside what a new file in `folder` gets; CrossDevice if it cannot be put there."""

    def put(self, staged: Staged, path: Path) -> Stat:
        """Put finished bytes in place in one step, replacing a file but never a folder."""

    def take_back(self, staged: Staged, path: Path, kept: Path | None, *, has_replaced: bool) -> None:
        """Undo `put`, whether it was done or not: the bytes are staged again, and what was there is there again.

        Args:
            kept: what `keep` has kept of what was there.
            has_replaced: a file was there; if nothing of it was kept, the new bytes stay in its place.
        """

    def make_folder(self, path: Path) -> Stat:
        """Create one folder; Conflict if something is there or the parent is no folder."""

    def move(self, source: Path, target_storage: "Storage", target: Path) -> Stat:
        """Rename in one step; replaces a file by a file. CrossDevice, and nothing changed, if it cannot reach."""

    def take_aside(self, path: Path, owner: int) -> Aside:
        """Take a file or folder out of the tree in one step, to put something else in its place.

        After a crash `sweep` puts it back, or away if something has taken its place.

        Args:
            owner: id of the resource it is.
        """

    def put_away(self, path: Path, owner: int) -> Path:
        """Take a file or folder out of the tree in one step, and keep it; says where."""

    def keep(self, path: Path, owner: int, successor: Identity) -> Path:
        """Keep a file's bytes, which stay in the tree too, under a second name; says where.

        Args:
            successor: the file that is about to take its place.
        """

    def kept_from(self, path: Path, owner: int, successor: Identity) -> Kept | None:
        """What was kept of a resource at `path` when this file was about to take its place; None if it never was."""

    def kept(self) -> list[Kept]:
        """Everything put away or kept, in no order."""

    def drop(self, path: Path) -> None:
        """Remove a file or folder in one step, for good; harmless if it is not there.

        What cannot be removed now is removed by the next `sweep`.
        """

    def stage_folder(self, folder: Path) -> tuple[Path, Stat]:
        """An invisible empty folder, to be filled by `make_folder` and `filling` and moved into `folder`."""

    def filling(self, path: Path) -> AbstractContextManager[Filling]:
        """A staged folder, or one in it, for copying files into it."""

    def sync_all(self, path: Path) -> None:
        """Bring everything written where `path` lies to the disk."""

    def set_mtime(self, path: Path, mtime_ns: int) -> Stat:
        """Set the modification time; the bytes stay."""

    def sweep(self, *, older_than_ns: int) -> int:
        """Finish what a crash interrupted; returns how many entries were found. Entries that are younger stay."""

    def close(self) -> None:
        """Release what is held open."""
