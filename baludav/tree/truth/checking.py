"""Checks the whole index against the disk, and rebuilds it: what `baludav index` does."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, delete, update

from baludav.db import audit
from baludav.db.audit import Kind, happened
from baludav.db.tables import meta, resources
from baludav.errors import Failure
from baludav.tree.disk.storage import Stat
from baludav.tree.paths import Path
from baludav.tree.records import counting, index
from baludav.tree.records.index import Row
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.hashing import hash_file
from baludav.tree.truth.refreshing import refresh

if TYPE_CHECKING:
    from baludav.tree.tree import Tree


class Difference(NamedTuple):
    """One disagreement that `check` found."""

    root: StorageRoot
    path: Path
    what: str


Progress = Callable[[int, int], None]  # files done, files in all


def count_files(tree: "Tree") -> int:
    """How many files all storage roots hold."""
    return sum(not stat.is_collection for root in tree.roots.everything() for _, stat in walk(root))


def check(tree: "Tree", progress: Progress) -> list[Difference]:
    """Compare every file's bytes with the index, both ways. Changes nothing."""
    total = count_files(tree)
    done = 0
    found: list[Difference] = []
    for root in tree.roots.everything():
        rows = rows_by_path(tree, root)
        rows.pop((), None)
        for path, stat in walk(root):
            row = rows.pop(path, None)
            found += [Difference(root, path, what) for what in _compare(root, path, stat, row)]
            if not stat.is_collection:
                done += 1
                progress(done, total)
        for path in rows:
            if root.storage.stat(path) is None:
                found.append(Difference(root, path, "in the index, but not on the disk"))
    return found


def rebuild(tree: "Tree", progress: Progress) -> int:
    """Hash every file again and mend the index. Can be interrupted and continued; safe while serving.

    Returns:
        int: number of files.
    """
    if tree.database.note("rebuilding") is None:
        event = happened(Kind.INDEX_REBUILT)

        def begin(connection: Connection) -> None:
            audit.record(connection, event)
            connection.execute(update(resources).values(is_settled=False))
            connection.execute(meta.insert().values(key="rebuilding", value="yes"))

        tree.database.commit(begin)
    total = count_files(tree)
    done = 0
    for root in tree.roots.everything():
        for count in refresh(tree, root):
            done += count
            progress(min(done, total), total)
        counting.set_right(tree.database, root)
    tree.database.commit(lambda connection: connection.execute(delete(meta).where(meta.c.key == "rebuilding")))
    return done


def walk(root: StorageRoot, top: Path = ()) -> Iterator[tuple[Path, Stat]]:
    """Everything below a folder on the disk, as it is when it is come to."""
    folders: list[Path] = [top]
    while folders:
        names = folders.pop()
        for name, stat in root.storage.scan(names):
            if stat.is_collection:
                folders.append((*names, name))
            yield (*names, name), stat


def rows_by_path(tree: "Tree", root: StorageRoot) -> dict[Path, Row]:
    """What the index has of a storage root, its top included."""
    with tree.database.snapshot() as connection:
        rows = index.subtree(connection, root.top_id)
    by_id = {row.id: row for row in rows}

    def path(row: Row) -> Path:
        names: list[str] = []
        while row.parent_id is not None:
            names.append(row.name)
            row = by_id[row.parent_id]
        return tuple(reversed(names))

    return {path(row): row for row in rows}


def _compare(root: StorageRoot, path: Path, stat: Stat, row: Row | None) -> Iterator[str]:
    if row is None:
        yield "on the disk, but not in the index"
    elif row.is_collection != stat.is_collection:
        yield "a file on one side, a collection on the other"
    elif not stat.is_collection:
        if row.sha256 is None:
            yield "not hashed yet"
            return
        try:
            hashed = hash_file(root, path)
        except Failure as error:
            yield f"cannot be read: {error}"
            return
        if hashed.sha256 is not None and hashed.sha256 != row.sha256:
            yield "the bytes are not those of the index"
        elif hashed.stat != row.signature:
            yield "touched since it was hashed"
