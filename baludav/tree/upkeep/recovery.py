"""After a crash: what was put away or kept without having been recorded finds its place in the history again."""

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, func, select

from baludav.db.tables import journal
from baludav.errors import Failure
from baludav.tree.disk.storage import Identity, Kept, Stat
from baludav.tree.paths import Path
from baludav.tree.records import history, index, uploads
from baludav.tree.records.history import Deleted, Version
from baludav.tree.records.index import Row
from baludav.tree.records.journal import Cause
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.hashing import hash_descriptor

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
    missing = [entry for entry in missing if isinstance(entry, Version) or not _is_back(tree, root, entry)]
    if missing:
        tree.database.commit(lambda connection: _forget(connection, missing))
    recorded = {found[path].stat[:3] for path in known & found.keys()}
    for orphan in orphans:
        if orphan.stat[:3] in recorded:
            root.storage.drop(orphan.path)  # of an attempt to replace the file; then another one did so
        else:
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


def _is_back(tree: "Tree", root: StorageRoot, gone: Deleted) -> bool:
    """True if a request has put back what was deleted, but was interrupted; who looks there next records it."""
    with tree.database.reading() as connection:
        row = index.by_id(connection, gone.resource_id)
    now = root.storage.stat(history.parsed(gone.path))
    return row is not None and now is not None and _is_same_file(now, row.signature)


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
    if _is_proof(root, row, place, now, orphan):
        return  # for who looks at the file next, and records it then
    if (row is None or now is not None) and _adds_nothing(root, row, orphan):
        root.storage.drop(orphan.path)  # that it was replaced is recorded, and that it is not worth keeping
        return
    log.warning("%s %s: an interrupted request had put something away; it is in the history", root.kind, root.name)

    def work(connection: Connection) -> None:
        if row is None or place is None or row.is_collection != orphan.stat.is_collection:
            _add_to_trash(connection, root, orphan, cause)
        elif now is not None and not now.is_collection and not orphan.stat.is_collection:
            history.add_interrupted(connection, row, orphan, cause)
        else:
            history.put_in_trash(connection, row, place, orphan.path, cause)

    with contextlib.suppress(Failure):
        tree.database.commit(work)


def _place_of(connection: Connection, row: Row) -> Path | None:
    """Where a resource lies; None for what lies in the trash."""
    top, path = index.climb(connection, row)
    return path if top.name == "" else None


def _is_proof(root: StorageRoot, row: Row | None, place: Path | None, now: Stat | None, orphan: Kept) -> bool:
    """True if it proves that a request has put a file in the place of another, which is not recorded yet."""
    if row is None or place is None or now is None or _is_same_file(now, row.signature):
        return False
    kept = root.storage.kept_from(place, row.id, Identity.of(now, root.storage.born_ns(place)))
    return kept is not None and kept.path == orphan.path


def _adds_nothing(root: StorageRoot, row: Row | None, orphan: Kept) -> bool:
    """True for a file without bytes, or with those of the resource as it is."""
    if orphan.stat.is_collection:
        return False
    if row is None or orphan.stat.size == 0 or row.sha256 is None or row.size != orphan.stat.size:
        return orphan.stat.size == 0
    with contextlib.suppress(Failure):  # it cannot be read, but it may be tomorrow
        fd = root.storage.open(orphan.path)
        try:
            return hash_descriptor(fd) == row.sha256
        finally:
            os.close(fd)
    return False


def _is_same_file(a: Stat, b: Stat) -> bool:
    return (a.device, a.inode) == (b.device, b.inode)


def _add_to_trash(connection: Connection, root: StorageRoot, orphan: Kept, cause: Cause) -> None:
    """Something whose row is gone: it gets a new one, and is hashed when it is restored."""
    path = connection.scalar(_last_path, {"resource": orphan.owner}) or f"recovered {orphan.path[-1]}"
    row = index.add(connection, root_id=root.id, parent_id=None, name=orphan.path[-1], stat=orphan.stat)
    history.add_to_trash(connection, row, history.parsed(path), orphan.path, orphan.stat.size, cause)
