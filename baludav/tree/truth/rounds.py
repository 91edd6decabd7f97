"""Keeps the index in step with what happens on the disks, while the server runs.

Each storage root is read once from top to bottom, in short steps and with every folder watched before it is read;
from then on what the watches tell is looked at. Where they cannot tell everything, on a network file system or
without watches to spare, the storage root is read again and again, with a small share of the time; elsewhere that
is done seldom, since a write through a memory map raises no event.
"""

import collections
import itertools
import logging
import select
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from baludav import metrics
from baludav.errors import Failure, Unavailable
from baludav.tree.disk.storage import Stat
from baludav.tree.paths import Path
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.hashing import Patience
from baludav.tree.truth.refreshing import refresh
from baludav.tree.truth.watching import Gathered, Watcher

if TYPE_CHECKING:
    from baludav.tree.tree import Tree

log = logging.getLogger(__name__)

_PORTION = 200  # names looked at in one step
_HASHED_AT_ONCE = 16 << 20  # bytes of a file; a larger one is hashed in the background
_SHARE_AFTER_LOSS = 0.5
_BUSY = 0.05  # share of the time of a step that requests have used, from which on they come first
_GIVE_WAY = 1.0  # times as long as the step took


class Pace(NamedTuple):
    """How often what is done; seconds, and a share of the time.

    Attributes:
        meeting: between two looks at which storage roots there are.
        told: between two rounds of a storage root whose changes are told.
        untold: the same where they are not, or not all.
        share: that such a round takes of the time.
    """

    meeting: float = 2.0
    told: float = 86_400.0
    untold: float = 900.0
    share: float = 0.1


class Stop(NamedTuple):
    """How a thread is asked to end: a descriptor that becomes readable, and whether it is asked."""

    fd: int
    is_asked: Callable[[], bool]


@dataclass(eq=False)
class _Kept:
    """A storage root that is there.

    Attributes:
        top: device and inode of its folder.
        read_at: when the last round ended (monotonic seconds); None while one is under way.
        is_known: a round was completed.
        is_missed: since its begin something could not be read, or could not be written into the index.
    """

    root: StorageRoot
    top: tuple[int, int]
    read_at: float | None = None
    is_known: bool = False
    is_missed: bool = False


@dataclass(eq=False)
class _Task:
    """Something done in short steps: a round of a storage root, a folder in it, or what was gathered.

    Attributes:
        share: of the time that it may take.
        kept: of a round.
    """

    steps: Iterator[int]
    share: float = 1.0
    root: StorageRoot | None = None
    kept: _Kept | None = None
    files: int = 0
    not_before: float = 0.0


class Rounds:
    """What one process does for all; used by one thread.

    Args:
        make_watcher: as `Watcher`.
    """

    def __init__(self, tree: "Tree", pace: Pace, stop: Stop, make_watcher: Callable[[], Watcher] = Watcher) -> None:
        self._tree = tree
        self._pace = pace
        self._stop = stop
        self._make_watcher = make_watcher
        self._patience = Patience(stop.is_asked, _HASHED_AT_ONCE)
        self._watcher: Watcher | None = None
        self._kept: dict[int, _Kept] = {}
        self._absent: set[int] = set()
        self._tasks: collections.deque[_Task] = collections.deque()
        self._meeting_at = 0.0
        self._give_way_until = 0.0
        self._is_loss_told = False
        self._watch()

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        metrics.show("pending_scans", 0)
        metrics.show("compared_roots", 0)

    def turn(self, until: float) -> None:
        """Do the next thing there is to do, or wait for one, at most until then (monotonic seconds)."""
        now = time.monotonic()
        if now >= self._meeting_at:
            self._meet(now)
        self._listen(now)
        self._show()
        task = self._next_task(now)
        if task is None:
            self._wait(min([until, self._meeting_at, *self._times()]))
            return
        used, own = time.process_time(), time.thread_time()
        self._step(task)
        spent = time.monotonic() - now
        task.not_before = now + spent / task.share
        # Requests share the interpreter with this thread.
        if (time.process_time() - used) - (time.thread_time() - own) > _BUSY * spent:
            self._give_way_until = now + spent + _GIVE_WAY * spent

    def _show(self) -> None:
        metrics.show("pending_scans", len(self._tasks))
        metrics.show("compared_roots", sum(kept.is_known for kept in self._kept.values()))

    def _times(self) -> Iterator[float]:
        """When there is something to do."""
        if self._watcher is not None and self._watcher.due is not None:
            yield self._watcher.due
        for task in self._tasks:
            yield max(task.not_before, self._give_way_until)

    def _wait(self, until: float) -> None:
        poll = select.poll()
        poll.register(self._stop.fd, select.POLLIN)
        if self._watcher is not None and not self._watcher.is_gathering:
            poll.register(self._watcher.fd, select.POLLIN)
        poll.poll(max(0.0, until - time.monotonic()) * 1000)

    # Which storage roots

    def _meet(self, now: float) -> None:
        """Find out which storage roots are there, and which are due for a round."""
        self._meeting_at = now + self._pace.meeting
        roots = {root.id: root for root in self._tree.roots.everything()}
        for root_id in self._kept.keys() - roots.keys():
            self._leave(self._kept[root_id].root)
        for root in roots.values():
            top, kept = _top(root), self._kept.get(root.id)
            if kept is not None and top != kept.top:
                self._leave(root)
                kept = None
            if top is None:
                if root.id not in self._absent:
                    self._absent.add(root.id)
                    log.warning("%s %s: not mounted", root.kind, root.name)
            elif kept is None:
                self._absent.discard(root.id)
                self._kept[root.id] = _Kept(root, top)
                self._begin_round(self._kept[root.id], share=1.0)
            elif kept.read_at is not None and now - kept.read_at >= self._between_rounds(kept):
                self._begin_round(kept, share=self._pace.share)

    def _between_rounds(self, kept: _Kept) -> float:
        is_told = self._watcher is not None and kept.root.id not in self._watcher.partly and not kept.is_missed
        return self._pace.told if is_told else self._pace.untold

    def _leave(self, root: StorageRoot) -> None:
        """The storage root is not there any more."""
        self._kept.pop(root.id, None)
        self._tasks = collections.deque(task for task in self._tasks if task.root is not root)
        if self._watcher is not None:
            self._watcher.forget(root)

    # Reading

    def _begin_round(self, kept: _Kept, *, share: float) -> None:
        kept.read_at, kept.is_missed = None, False
        if self._watcher is not None:
            self._watcher.partly.discard(kept.root.id)
        self._tasks.append(_Task(self._read(kept.root, ()), share, kept.root, kept))

    def _read(self, root: StorageRoot, start: Path) -> Iterator[int]:
        return refresh(self._tree, root, start, patience=self._patience, before=self._before)

    def _before(self, root: StorageRoot, names: Path) -> None:
        if self._watcher is not None:
            self._watcher.add(root, names)

    def _next_task(self, now: float) -> _Task | None:
        """The tasks take turns."""
        if now < self._give_way_until:
            return None
        for _ in range(len(self._tasks)):
            task = self._tasks[0]
            self._tasks.rotate(-1)
            if task.not_before <= now:
                return task
        return None

    def _step(self, task: _Task) -> None:
        try:
            task.files += next(task.steps)
        except StopIteration:
            self._end(task)
        except Unavailable:
            self._end(task)
            if task.root is not None:
                self._leave(task.root)  # until the next meeting
        except Failure as failure:
            if task.root is not None:
                self._miss(task.root, failure)
            self._end(task)

    def _end(self, task: _Task) -> None:
        self._tasks.remove(task)
        kept = task.kept
        if kept is None:
            return
        kept.read_at = time.monotonic()
        if not kept.is_known and not kept.is_missed:
            kept.is_known = True
            log.info("%s %s: %d files in the index", kept.root.kind, kept.root.name, task.files)

    def _miss(self, root: StorageRoot, failure: Failure) -> None:
        """Something was not taken into the index: the next round is not far."""
        log.error("%s %s: %s", root.kind, root.name, failure)
        kept = self._kept.get(root.id)
        if kept is not None:
            kept.is_missed = True

    # Watching

    def _watch(self) -> None:
        try:
            self._watcher = self._make_watcher()
        except OSError as error:
            self._watcher = None
            log.warning(
                "nothing can be watched (%s); changes made outside are found by reading everything every %d minutes"
                " (the system's limit is fs.inotify.max_user_instances)", error.strerror, self._pace.untold // 60,
            )  # fmt: skip

    def _listen(self, now: float) -> None:
        """Take over what the watches tell."""
        watcher = self._watcher
        if watcher is None:
            return
        watcher.read(now)
        if watcher.has_lost:
            self._begin_again()
        elif watcher.due is not None and watcher.due <= now:
            self._tasks.appendleft(_Task(self._attend(watcher.take(now))))

    def _begin_again(self) -> None:
        """More has happened than could be told: read everything, with new watches."""
        if not self._is_loss_told:
            self._is_loss_told = True
            log.warning("too much has happened at once to be told; all folders are compared with the index again")
        self.close()
        self._watch()
        self._tasks.clear()
        for kept in self._kept.values():
            self._begin_round(kept, share=_SHARE_AFTER_LOSS)

    def _attend(self, gathered: Gathered) -> Iterator[int]:
        """Look at what has happened: first at what is there, so that what has moved is not taken for deleted."""
        gone: list[tuple[StorageRoot, dict[Path, list[str]]]] = []
        for root, names in _portions(gathered):
            try:
                found = {folder: root.storage.find(folder, names[folder]) for folder in names}
            except Failure:
                continue  # not mounted any more; the next meeting sees to it
            self._notice(root, found)
            gone.append((root, {f: [name for name in names[f] if name not in found[f]] for f in names}))
            yield 0
        for root, names in gone:
            self._notice(root, {folder: dict.fromkeys(names[folder]) for folder in names})
            yield 0
        for root, start in gathered.fresh:
            self._tasks.append(_Task(self._read(root, start), root=root))

    def _notice(self, root: StorageRoot, found: Mapping[Path, Mapping[str, Stat | None]]) -> None:
        try:
            self._tree.scan.notice(root, found, self._patience)
        except Failure as failure:
            self._miss(root, failure)


def _top(root: StorageRoot) -> tuple[int, int] | None:
    """Device and inode of a storage root's folder; None if it is not mounted."""
    try:
        stat = root.storage.stat(())
    except Failure:
        return None
    return None if stat is None else (stat.device, stat.inode)


def _portions(gathered: Gathered) -> Iterator[tuple[StorageRoot, dict[Path, list[str]]]]:
    """Names by folder that are looked at in one step."""
    for _, touched in itertools.groupby(gathered.touched, key=lambda found: found[0].id):
        names = ((root, folder, name) for root, folder, found in touched for name in sorted(found))
        while some := list(itertools.islice(names, _PORTION)):
            portion: dict[Path, list[str]] = {}
            for _, folder, name in some:
                portion.setdefault(folder, []).append(name)
            yield some[0][0], portion
