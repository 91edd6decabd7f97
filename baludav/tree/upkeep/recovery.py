"""After a crash: what was put away or kept without having been recorded finds its place in the history again."""

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, func, select

from baludav.db.tables import journal
from baludav.errors import Failure
from baludav.tree.disk.storage import Kept, Stat
from baludav.tree.paths import Path
from baludav.tree.records import history, index, uploads
from baludav.tree.records.history import Deleted, Version
from baludav.tree.records.index import Row
from baludav.tree.records.journal import Cause
from baludav.tree.roots import StorageRoot

if TYPE_CHECKING:
    from baludav.tree.tree import Tree

log = logging.getLogger(__name__)

_last_path = select(journal.c.path).where(
    journal.c.number
    == select(func.max(journal.c.number)).where(journal.c.resource_id == bindparam("resource")).scalar_subquery()
)


def recover(tree: "Tree", root: StorageRoot) -> int:
    """Make the history of a storage root agree with what lies on its disk; returns how many entries did not.

    Call it while no request runs. Nothing is removed but second names of bytes that are in the tree.
    """
    found = {entry.path: entry for entry in root.storage.kept()}
    with tree.database.snapshot() as connection:
        versions = history.all_versions(connection, root.id)
        trash = history.trash_of(connection, root.id)
    entries: list[Version | Deleted] = [*versions, *trash]
    known = {history.parsed(entry.kept) for entry in entries}
    missing = [entry for entry in entries if history.parsed(entry.kept) not in found]
    orphans = [entry for path, entry in found.items() if path not in known]
    if missing:
        tree.database.commit(lambda connection: _forget(connection, missing))
    for orphan in orphans:
        _adopt(tree, root, orphan)
    return len(missing) + len(orphans) + _recover_uploads(tree, root)


def _recover_uploads(tree: "Tree", root: StorageRoot) -> int:
    """Make the uploads in parts agree with their files; returns how many did not."""
    found = set(root.storage.begun())
    with tree.database.reading() as connection:
        known = {history.parsed(upload.begun): upload for upload in uploads.of_root(connection, root.id)}
    lost = [upload for begun, upload in known.items() if begun not in found and upload.sha256 is None]
    for upload in lost:
        tree.database.commit(lambda connection, upload=upload: uploads.remove(connection, upload))  # type: ignore[misc]
    left = [begun for begun in found if begun not in known or known[begun].sha256 is not None]
    for begun in left:
        root.storage.drop(begun)
    return len(lost) + len(left)


def _forget(connection: Connection, missing: list[Version | Deleted]) -> None:
    for entry in missing:
        if isinstance(entry, Version):
            history.remove_versions(connection, [entry])
        else:
            history.remove_from_trash(connection, entry)


def _adopt(tree: "Tree", root: StorageRoot, orphan: Kept) -> None:
    """Record something put away, as what the interrupted request would have recorded it."""
    cause = Cause(time.time_ns())
    with tree.database.reading() as connection:
        row = index.by_id(connection, orphan.owner)
        place = None if row is None or row.root_id != root.id else _place_of(connection, row)
    now = None if place is None else root.storage.stat(place)
    if now is not None and _is_same_file(now, orphan.stat):
        root.storage.drop(orphan.path)  # it was about to be replaced, and was not
        return
    log.warning("%s %s: an interrupted request had put something away; it is in the history", root.kind, root.name)

    def work(connection: Connection) -> None:
        if row is None or place is None or row.is_collection != orphan.stat.is_collection:
            _add_to_trash(connection, root, orphan, cause)
        elif now is not None and not now.is_collection and not orphan.stat.is_collection:
            history.add_version(
                connection, _as_kept(row, orphan.stat), orphan.path, cause, most=1 << 30, reason="interrupted"
            )
        else:
            history.put_in_trash(connection, row, place, orphan.path, cause)

    with contextlib.suppress(Failure):
        tree.database.commit(work)


def _place_of(connection: Connection, row: Row) -> Path | None:
    """Where a resource lies; None for what lies in the trash."""
    top, path = index.climb(connection, row)
    return path if top.name == "" else None


def _is_same_file(a: Stat, b: Stat) -> bool:
    return (a.device, a.inode) == (b.device, b.inode)


def _as_kept(row: Row, stat: Stat) -> Row:
    """The row of a file as its kept bytes are; whether they are those it was hashed of is not known."""
    is_same = (row.size, row.mtime_ns) == (stat.size, stat.mtime_ns)
    return row._replace(size=stat.size, mtime_ns=stat.mtime_ns, sha256=row.sha256 if is_same else None)


def _add_to_trash(connection: Connection, root: StorageRoot, orphan: Kept, cause: Cause) -> None:
    """Something whose row is gone: it gets a new one, and is hashed when it is restored."""
    path = connection.scalar(_last_path, {"resource": orphan.owner}) or f"recovered {orphan.path[-1]}"
    row = index.add(connection, root_id=root.id, parent_id=None, name=orphan.path[-1], stat=orphan.stat)
    history.add_to_trash(connection, row, history.parsed(path), orphan.path, orphan.stat.size, cause)
