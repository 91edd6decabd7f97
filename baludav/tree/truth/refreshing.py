"""Brings the index of a whole storage root, or of a folder in it, up to date, folder by folder."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from baludav.errors import Failure, Forbidden, NotFound
from baludav.tree.disk.storage import Stat
from baludav.tree.paths import Path
from baludav.tree.records import index, vanished
from baludav.tree.records.index import Row
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.hashing import ENDLESS, Patience
from baludav.tree.truth.scan import portions

if TYPE_CHECKING:
    from baludav.tree.tree import Tree

log = logging.getLogger(__name__)

_FOLDERS = 50  # read in one step
_WRONG = 200  # names that are mended together
_FORGOTTEN_AT_ONCE = 20

Before = Callable[[StorageRoot, Path], object]


def refresh(
    tree: "Tree",
    root: StorageRoot,
    start: Path = (),
    *,
    patience: Patience = ENDLESS,
    before: Before = lambda root, names: None,
) -> Iterator[int]:
    """Compare every folder with the index and mend what is wrong, in short steps.

    Args:
        start: where to begin; the whole storage root by default.
        before: called with each folder before it is read.
    Yields:
        number of files dealt with in a step.
    Raises:
        Unavailable: the disk is not mounted (any more); nothing is taken for deleted.
        Failure: something else went wrong in a folder; all others have been read.
    """
    gone: list[int] = []
    if start == ():
        _recognise_disk(tree, root)
        with tree.database.reading() as connection:
            gone = vanished.all_of(connection, root.id)
    folders, failures = [start], list[Failure]()
    while folders:
        some: list[_Read] = []
        while folders and len(some) < _FOLDERS and sum(len(read.wrong) for read in some) < _WRONG:
            read = _read(tree, root, folders.pop(), patience, before, failures)
            some += [] if read is None else [read]
        left = sum(read.files for read in some)
        for portion in portions((read.names, name, read.on_disk.get(name)) for read in some for name in read.wrong):
            try:
                tree.scan.mend(root, portion, patience)
            except Failure as failure:
                _require(root, failure, failures)
            done = min(left, sum(map(len, portion.values())))
            left -= done
            yield done
        yield left
        for read in reversed(some):
            folders += read.below
    if failures:
        raise failures[0]
    if start == ():
        _conclude(tree, root, gone)


class _Read(NamedTuple):
    """A folder that was read: what is in it, and the names at which the index is wrong."""

    names: Path
    on_disk: dict[str, Stat]
    wrong: list[str]

    @property
    def files(self) -> int:
        return sum(not stat.is_collection for stat in self.on_disk.values())

    @property
    def below(self) -> list[Path]:
        """The folders in it, the first last."""
        found = sorted(name for name, stat in self.on_disk.items() if stat.is_collection)
        return [(*self.names, name) for name in reversed(found)]


def _read(
    tree: "Tree", root: StorageRoot, names: Path, patience: Patience, before: Before, failures: list[Failure]
) -> _Read | None:
    """Read one folder; None if it is not there or cannot be read."""
    try:
        before(root, names)
        known = tree.scan.look(root, names, patience)
        if known is not None and known.stat.is_collection:
            on_disk, _, wrong = tree.scan.compare(root, names, known.row)
            return _Read(names, on_disk, wrong)
    except NotFound:
        pass  # it was moved or removed since
    except Forbidden:
        log.warning("%s %s: %s may not be read", root.kind, root.name, "/".join(names))
    except Failure as failure:
        _require(root, failure, failures)
    return None


def _require(root: StorageRoot, failure: Failure, failures: list[Failure]) -> None:
    """Go on after a failure, unless it is the whole disk that is not there."""
    root.storage.stat(())
    log.error("%s %s: %s", root.kind, root.name, failure)
    failures.append(failure)


def _recognise_disk(tree: "Tree", root: StorageRoot) -> None:
    """Give the rows the device number that their disk has now; many get another at each mount."""
    row, stat, born_ns = _top(tree, root)
    if row is None or stat is None or row.device == stat.device or born_ns == 0:
        return
    if (row.inode, row.born_ns) == (stat.inode, born_ns):
        old, new = row.device, stat.device
        tree.database.commit(lambda connection: index.renumber(connection, root.id, old, new))


def _conclude(tree: "Tree", root: StorageRoot, gone: list[int]) -> None:
    """After a whole round: what had vanished before it has not turned up; the disk is the one that was seen."""
    for start in range(0, len(gone), _FORGOTTEN_AT_ONCE):
        some = gone[start : start + _FORGOTTEN_AT_ONCE]
        tree.database.commit(lambda connection, some=some: vanished.forget(connection, some))  # type: ignore[misc]
    row, stat, born_ns = _top(tree, root)
    if row is not None and stat is not None and (row.device, row.inode) != (stat.device, stat.inode):
        seen, old = stat, row
        tree.database.commit(
            lambda connection: index.see(connection, old, seen, sha256=None, born_ns=born_ns, is_settled=False)
        )


def _top(tree: "Tree", root: StorageRoot) -> tuple[Row | None, Stat | None, int]:
    """The storage root's own folder: its row, and what the disk says."""
    with tree.database.reading() as connection:
        row = index.top(connection, root.id)
    return row, root.storage.stat(()), root.storage.born_ns(())
