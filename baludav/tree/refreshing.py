"""Brings the index of a whole storage root, or of a folder in it, up to date, folder by folder."""

import logging
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

from baludav.errors import Failure, Forbidden, NotFound
from baludav.tree import index, vanished
from baludav.tree.hashing import ENDLESS, Patience
from baludav.tree.index import Row
from baludav.tree.paths import Path
from baludav.tree.roots import StorageRoot
from baludav.tree.scan import batches
from baludav.tree.storage import Stat

if TYPE_CHECKING:
    from baludav.tree.tree import Tree

log = logging.getLogger(__name__)

_FORGOTTEN_AT_ONCE = 20


def refresh(
    tree: "Tree",
    root: StorageRoot,
    start: Path = (),
    *,
    patience: Patience = ENDLESS,
    before: Callable[[StorageRoot, Path], object] = lambda root, names: None,
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
    failed: Failure | None = None
    if start == ():
        _recognise_disk(tree, root)
        with tree.database.reading() as connection:
            gone = vanished.all_of(connection, root.id)
    folders = [start]
    while folders:
        names = folders.pop()
        try:
            before(root, names)
            below = yield from _read(tree, root, names, patience)
        except NotFound:
            continue  # it was moved or removed since
        except Forbidden:
            log.warning("%s %s: %s may not be read", root.kind, root.name, "/".join(names))
            continue
        except Failure as failure:
            root.storage.stat(())  # raises if it is the whole disk that is not there
            log.error("%s %s: %s: %s", root.kind, root.name, "/".join(names), failure)
            failed = failure
            continue
        folders += [(*names, name) for name in sorted(below, reverse=True)]
    if failed is not None:
        raise failed
    if start == ():
        _conclude(tree, root, gone)


def _read(tree: "Tree", root: StorageRoot, names: Path, patience: Patience) -> Generator[int, None, list[str]]:
    """One folder; returns the names of the folders in it."""
    known = tree.scan.look(root, names, patience)
    if known is None or not known.stat.is_collection:
        return []
    on_disk, _, wrong = tree.scan.compare(root, names, known.row)
    files = sum(not stat.is_collection for stat in on_disk.values())
    for batch in batches(wrong, on_disk):
        tree.scan.mend(root, names, batch, patience)
        done = sum(name in on_disk and not on_disk[name].is_collection for name in batch)
        files -= done
        yield done
    yield files
    return [name for name, stat in on_disk.items() if stat.is_collection]


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
