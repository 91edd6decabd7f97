"""Looks for damage: all that the index says is compared with all that lies on the disk, every byte included.

Nothing is changed, and a server may write meanwhile: what looks wrong is looked at again under the guard of its path,
which holds back whoever is changing it, and for a few seconds, in which changes made outside are noticed. What is
wrong then is told, with what to do about it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select, text

from baludav.db.tables import resources
from baludav.errors import Failure
from baludav.tree.disk.storage import Stat
from baludav.tree.paths import Path
from baludav.tree.records import counting, history, index, vanished
from baludav.tree.records.index import Row
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.checking import Progress, rows_by_path, walk
from baludav.tree.truth.findings import Counted, Finding, after, where
from baludav.tree.truth.hashing import hash_file
from baludav.tree.truth.inspecting_history import kept_files, of_history

if TYPE_CHECKING:
    from baludav.tree.tree import Tree

PATIENCE = 5.0  # seconds in which what is under way comes to its end

_REBUILD = "`baludav index rebuild` takes it as it is"
_BACKUP = "compare it with a backup and with its versions"


class _Seen(NamedTuple):
    """One path of the tree, as index and disk have it in one moment in which nobody changes it."""

    row: Row | None
    stat: Stat | None

    @property
    def agrees(self) -> bool:
        if self.row is None or self.stat is None:
            return self.row is None and self.stat is None
        if self.row.is_collection != self.stat.is_collection:
            return False
        return self.row.is_collection or (self.row.sha256 is not None and self.row.signature == self.stat)


def inspect(tree: "Tree", progress: Progress, *, patience: float = PATIENCE) -> list[Finding]:
    """Everything that is wrong.

    Args:
        patience: seconds, as above.
    """
    found = list(_of_database(tree))
    roots = tree.roots.everything()
    counted = Counted(progress, sum(_count(tree, root) for root in roots))
    for root in roots:
        try:
            found += _of_tree(tree, root, counted, patience)
            found += of_history(tree, root, counted, patience)
            found += _of_rows(tree, root)
        except Failure as failure:
            advice = "mend that, and check again"
            found.append(Finding(f"{root.kind} {root.name}", f"cannot be read: {failure}", advice))
    return found


def _count(tree: "Tree", root: StorageRoot) -> int:
    try:
        in_tree = sum(not stat.is_collection for _, stat in walk(root))
        return in_tree + sum(
            not stat.is_collection for kept in root.storage.kept() for _, stat in kept_files(root, kept.path)
        )
    except Failure:
        return 0


# The database


def _of_database(tree: "Tree") -> Iterator[Finding]:
    advice = "stop the server, put a backup of index.db in its place, and run `baludav index restored`"
    with tree.database.reading() as connection:
        if connection.dialect.name != "sqlite":
            return
        for (problem,) in connection.execute(text("PRAGMA integrity_check")).all():
            if problem != "ok":
                yield Finding("index", f"the database is damaged: {' '.join(str(problem).split())}", advice)
        for table, row, parent, _ in connection.execute(text("PRAGMA foreign_key_check")).all():
            yield Finding("index", f"row {row} of {table} belongs to nothing in {parent}", "no client sees it")


# The tree


def _of_tree(tree: "Tree", root: StorageRoot, counted: Counted, patience: float) -> list[Finding]:
    rows = rows_by_path(tree, root)
    rows.pop((), None)
    suspects: list[Path] = []
    for path, stat in walk(root):
        row = rows.pop(path, None)
        if not _Seen(row, stat).agrees or (row is not None and not row.is_collection and not _has(root, path, row)):
            suspects.append(path)
        if not stat.is_collection:
            counted.one_more()
    suspects += rows
    found = after(patience, suspects, lambda left: _wrong(tree, root, left))
    return [finding for path in found for finding in _told(tree, root, path)]


def _seen(tree: "Tree", root: StorageRoot, path: Path) -> _Seen:
    with tree.guards.hold((root.id, path)):
        with tree.database.reading() as connection:
            chain = index.chain(connection, root.id, path)
        return _Seen(chain[-1] if len(chain) == len(path) + 1 else None, root.storage.stat(path))


def _wrong(tree: "Tree", root: StorageRoot, paths: list[Path]) -> dict[Path, _Seen]:
    """Those of some paths at which index and disk do not agree, as they are there."""
    wrong = {}
    for path in paths:
        seen = _seen(tree, root, path)
        if not seen.agrees or (seen.row is not None and not seen.row.is_collection and not _has(root, path, seen.row)):
            wrong[path] = seen
    return wrong


def _has(root: StorageRoot, path: Path, row: Row) -> bool:
    """Whether a file has the bytes that its row tells of; False too if they cannot be read."""
    try:
        return hash_file(root, path).sha256 == row.sha256
    except Failure:
        return False


def _told(tree: "Tree", root: StorageRoot, path: Path) -> Iterator[Finding]:
    row, stat = _seen(tree, root, path)
    if row is not None or stat is not None:  # else it was deleted just now
        what, advice = _difference(root, path, row, stat)
        if what:
            yield Finding(where(root, path), what, advice)


def _difference(root: StorageRoot, path: Path, row: Row | None, stat: Stat | None) -> tuple[str, str]:
    """What is wrong with a path, and what to do; empty if nothing is any more."""
    if row is None:
        return "on the disk, but not in the index", "`baludav index rebuild` takes it in"
    if stat is None:
        return "in the index, but not on the disk", "restore it from a backup, or `baludav index rebuild` forgets it"
    if row.is_collection != stat.is_collection:
        return "a file on one side, a collection on the other", f"{_BACKUP}; {_REBUILD}"
    if row.is_collection:
        return "", ""
    if row.sha256 is None:
        return "not hashed yet", "start the server, or run `baludav index rebuild`"
    try:
        sha256 = hash_file(root, path).sha256
    except Failure as failure:
        return f"cannot be read: {failure}", "restore it from a version or from a backup"
    if sha256 != row.sha256:
        if row.size != stat.size:
            return f"has {stat.size} bytes instead of {row.size}", f"{_BACKUP}; {_REBUILD}"
        if row.mtime_ns == stat.mtime_ns:
            return (
                "has other bytes than it had, though neither its size nor its time has changed: damaged",
                "restore it from a version or from a backup; `baludav index rebuild` would take the damage for an edit",
            )
        return "has other bytes than it had", f"{_BACKUP}; {_REBUILD}"
    if row.signature != stat:
        return "touched since it was hashed, but the same bytes", "`baludav index rebuild` notes that"
    return "", ""


# Rows by themselves


def _of_rows(tree: "Tree", root: StorageRoot) -> Iterator[Finding]:
    """Rows that lead nowhere, and what the quota counts."""
    place = f"{root.kind} {root.name}"
    with tree.database.snapshot() as connection:
        known = {row.id for row in index.subtree(connection, root.top_id)}
        gone = [one.resource_id for one in history.trash_of(connection, root.id)]
        for number in (*gone, *vanished.all_of(connection, root.id)):
            known |= {row.id for row in index.subtree(connection, number)}
        of_root = select(resources.c.id, resources.c.name).where(resources.c.root_id == root.id)
        names = {row.id: row.name for row in connection.execute(of_root)}
        versions = history.all_versions(connection, root.id)
        held, used = counting.held(connection, root), index.used(connection, root.id)
    for number in sorted(set(names) - known):
        advice = "no client sees it; `baludav index rebuild` takes in its file, if there is one"
        yield Finding(place, f"row {number} ({names[number]}) is in no collection", advice)
    for version in versions:
        if version.resource_id not in names:
            yield Finding(place, f"version {version.id} is of no file", "no client sees it; it expires by itself")
    if used != held:
        what = f"{used} bytes are counted for the quota instead of {held}"
        yield Finding(place, what, "`baludav index rebuild` counts them anew, and so does a server within the hour")
