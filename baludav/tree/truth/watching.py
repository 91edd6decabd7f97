"""Watches the folders of storage roots by inotify, and gathers for a moment what happens in them.

A watch hangs on the inode of a folder and goes with it when the folder is moved. So which folder an event tells of
is kept in a tree of its own, and what has moved in it is found by asking again for the watch of the folder at a
path: the same number is the same folder. Only names are gathered, never what was done to them, since that is
found out by a look. Whoever reads a folder has it watched first, so nothing can slip in between.
"""

import itertools
import logging
import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

from baludav.errors import Failure, NotFound
from baludav.tree.disk import kernel
from baludav.tree.disk.storage import OutOfWatches
from baludav.tree.paths import Path, is_visible
from baludav.tree.roots import StorageRoot

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.1
QUIET_SECONDS = 2.0  # without a write, after which a file that is still open is looked at
_MOST_NAMES = 100_000
_READ = 1 << 16  # bytes of events read at once
_COMES_OR_GOES = kernel.IN_CREATE | kernel.IN_MOVED_TO | kernel.IN_MOVED_FROM | kernel.IN_DELETE
_ENDS = kernel.IN_IGNORED | kernel.IN_UNMOUNT


class _Folder:
    """A folder of a storage root that is watched (`watch`), or that holds one."""

    __slots__ = ("members", "name", "parent", "root", "watch")

    def __init__(self, root: StorageRoot, name: str = "", parent: "_Folder | None" = None) -> None:
        self.root = root
        self.name = name  # empty for the top
        self.parent = parent
        self.watch: int | None = None
        self.members: dict[str, _Folder] = {}

    def path(self) -> Path | None:
        """Where it is; None if it is not in the storage root any more."""
        names: list[str] = []
        folder = self
        while folder.parent is not None:
            names.append(folder.name)
            folder = folder.parent
        return None if folder.name else tuple(reversed(names))

    def all(self) -> "Iterator[_Folder]":
        """The folder and those below it."""
        left = [self]
        while left:
            folder = left.pop()
            yield folder
            left += folder.members.values()


class Gathered(NamedTuple):
    """What happened in a while.

    Attributes:
        touched: members to which something happened, by storage root and folder.
        fresh: folders that have come to their place, whose members are to be read.
    """

    touched: list[tuple[StorageRoot, Path, set[str]]]
    fresh: list[tuple[StorageRoot, Path]]


class Watcher:
    """The watches of one process.

    Args:
        most_watches: beside what the system allows.
        most_names: gathered at a time; when more come, they are taken for lost.
    Attributes:
        fd: readable when something has happened.
        has_lost: True if nobody can say any more what happened; close it and begin anew.
        partly: ids of storage roots of which not every folder is watched.
    Raises:
        OSError: the system has no inotify to spare.
    """

    def __init__(self, *, most_watches: int = sys.maxsize, most_names: int = _MOST_NAMES) -> None:
        self.fd = kernel.notifier()
        self.has_lost = False
        self.partly: set[int] = set()
        self._most_watches = most_watches
        self._most_names = most_names
        self._tops: dict[int, _Folder] = {}
        self._by_watch: dict[int, dict[int, _Folder]] = {}  # by storage root, since one may lie in another
        self._since: float | None = None  # when the first of what is gathered happened
        self._touched: dict[_Folder, set[str]] = {}
        self._folders: dict[tuple[_Folder, str], None] = {}
        self._written: dict[tuple[_Folder, str], float] = {}  # the last write, oldest first
        self._adrift: list[_Folder] = []
        self._is_out_told = False

    def close(self) -> None:
        os.close(self.fd)

    def __len__(self) -> int:
        return len(self._by_watch)

    # Which folders

    def add(self, root: StorageRoot, names: Path) -> bool:
        """Watch a folder that is about to be read; False if just this folder was watched at this place already.

        Raises:
            NotFound: no folder there.
            Unavailable: the disk is not mounted.
        """
        watch = self._watch(root, names)
        there = self._at(root, names)
        if watch is None:
            return True
        known = self._by_watch.get(watch, {}).get(root.id)
        if known is there:
            return False
        if known is not None and names:
            self._put(known, there)
            return True
        if there.watch is not None and there.parent is not None:
            self._cast_off(there)  # another folder was here
            there = self._at(root, names)
        there.watch = watch
        self._by_watch.setdefault(watch, {})[root.id] = there
        return True

    def forget(self, root: StorageRoot) -> None:
        """Watch nothing of a storage root any more."""
        top = self._tops.pop(root.id, None)
        self.partly.discard(root.id)
        if top is not None:
            self._end(top)

    def _watch(self, root: StorageRoot, names: Path) -> int | None:
        """The watch of a folder; None if it cannot be watched."""
        try:
            watch = root.storage.watch(self.fd, names)
            if watch is not None and watch not in self._by_watch and len(self) >= self._most_watches:
                kernel.unwatch(self.fd, watch)
                raise OutOfWatches
        except OutOfWatches:
            watch = None
            if not self._is_out_told:
                self._is_out_told = True
                log.warning(
                    "no more than %d folders can be watched; changes in the others are found by reading them now and"
                    " then (the system's limit is fs.inotify.max_user_watches)",
                    len(self._by_watch),
                )
        if watch is None:
            self.partly.add(root.id)
        return watch

    def _at(self, root: StorageRoot, names: Path) -> _Folder:
        folder = self._tops.get(root.id)
        if folder is None:
            folder = self._tops[root.id] = _Folder(root)
        for name in names:
            below = folder.members.get(name)
            if below is None:
                below = folder.members[name] = _Folder(root, name, folder)
            folder = below
        return folder

    def _put(self, folder: _Folder, there: _Folder) -> None:
        """A known folder, with all that is in it, is now where another was."""
        parent, name = there.parent, there.name
        if parent is None or any(above is folder for above in _line(there)):
            self.has_lost = True  # the disk has no circles: what was known is too old
            return
        self._cast_off(there)
        self._detach(folder)
        folder.parent, folder.name = parent, name
        parent.members[name] = folder

    @staticmethod
    def _detach(folder: _Folder) -> None:
        if folder.parent is not None:
            folder.parent.members.pop(folder.name, None)
            folder.parent = None

    def _cast_off(self, folder: _Folder) -> None:
        """Not at its place any more; perhaps at another, where it is found before the gathered is handed out."""
        self._detach(folder)
        self._adrift.append(folder)

    def _end(self, top: _Folder) -> None:
        """End the watches of a folder and of those below it."""
        for folder in top.all():
            watch, folder.watch = folder.watch, None
            if watch is not None:
                others = self._by_watch.get(watch, {})
                if others.get(folder.root.id) is folder:
                    del others[folder.root.id]
                if not others:
                    self._by_watch.pop(watch, None)
                    kernel.unwatch(self.fd, watch)

    # What happens

    def read(self, now: float) -> None:
        """Gather what has happened until now (monotonic seconds)."""
        while True:
            try:
                events = os.read(self.fd, _READ)
            except BlockingIOError:
                return
            if self._since is None:
                self._since = now
            for watch, mask, name in kernel.events(events):
                if mask & kernel.IN_Q_OVERFLOW:
                    self.has_lost = True
                if mask & _ENDS:
                    self._ended(watch)
                    continue
                for folder in self._by_watch.get(watch, {}).values():
                    self._happened(folder, mask, os.fsdecode(name), now)
            if len(self._touched) + len(self._written) > self._most_names:
                self.has_lost = True

    @property
    def is_gathering(self) -> bool:
        return self._since is not None

    @property
    def due(self) -> float | None:
        """When to take what is gathered (monotonic seconds); None if there is nothing."""
        times = [] if self._since is None else [self._since + GATHER_SECONDS]
        times += [time + QUIET_SECONDS for time in itertools.islice(self._written.values(), 1)]
        return min(times, default=None)

    def take(self, now: float) -> Gathered:
        """What was gathered, told once."""
        for key, time in list(self._written.items()):
            if time + QUIET_SECONDS > now:
                break
            self._touch(*key)
            del self._written[key]
        came = self._arrive()
        touched, self._touched, self._since = self._touched, {}, None
        return Gathered(
            [(folder.root, path, names) for folder, names in touched.items() if (path := folder.path()) is not None],
            [(folder.root, (*path, name)) for folder, name in came if (path := folder.path()) is not None],
        )

    def _happened(self, folder: _Folder, mask: int, name: str, now: float) -> None:
        if not is_visible(name):
            return
        key = (folder, name)
        if mask & kernel.IN_ISDIR:
            if mask & _COMES_OR_GOES:
                self._folders[key] = None
                self._touch(*key)
            return
        is_written = self._written.pop(key, None) is not None
        # What was made or is written to is still open: its bytes come, until it is closed.
        if mask & (kernel.IN_CREATE | kernel.IN_MODIFY) or (is_written and mask & kernel.IN_ATTRIB):
            self._written[key] = now
            self._touched.get(folder, set()).discard(name)
        else:
            self._touch(*key)

    def _touch(self, folder: _Folder, name: str) -> None:
        self._touched.setdefault(folder, set()).add(name)

    def _ended(self, watch: int) -> None:
        """The kernel has ended a watch, because its folder is gone."""
        for folder in self._by_watch.pop(watch, {}).values():
            folder.watch = None
            if not folder.members:
                self._detach(folder)

    def _arrive(self) -> list[tuple[_Folder, str]]:
        """Find out where folders are to which something happened; returns those that have come to their place."""
        came, left = [], list(self._folders)
        self._folders.clear()
        while left:
            absent = []
            for folder, name in left:
                path = folder.path()
                if path is None:
                    continue
                try:
                    if self.add(folder.root, (*path, name)):
                        came.append((folder, name))
                except NotFound:
                    absent.append((folder, name))
                except Failure as failure:  # not for the server to read, or its disk has gone
                    log.debug("%s cannot be watched: %s", name, failure)
            if len(absent) == len(left):
                break
            left = absent  # the folder that holds it may have been found at its new place since
        for folder, name in left:
            gone = folder.members.get(name)
            if gone is not None:
                self._cast_off(gone)
        for folder in self._adrift:
            if folder.parent is None:
                self._end(folder)
        self._adrift.clear()
        return came


def _line(folder: _Folder) -> "Iterator[_Folder]":
    """A folder and those above it."""
    line: _Folder | None = folder
    while line is not None:
        yield line
        line = line.parent
