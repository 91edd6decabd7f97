"""How long what was overwritten or deleted is kept, and what changed: the oldest goes first."""

import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from baludav.db import audit
from baludav.db.engine import Database
from baludav.errors import DiskFull, Failure
from baludav.tree.disk.storage import Staged
from baludav.tree.paths import Path
from baludav.tree.records import history, index, journal, uploads
from baludav.tree.roots import StorageRoot

if TYPE_CHECKING:
    from baludav.tree.tree import Tree

log = logging.getLogger(__name__)

_DAY_NS = 86_400_000_000_000
_RESERVE = 64 << 20  # bytes that an upload leaves free on a disk, or history makes room
_SPARE = 4 << 20  # bytes that new bytes never take: the index needs some to record what is deleted
_BATCH = 200


def expire(tree: "Tree", root: StorageRoot, now_ns: int) -> int:
    """Remove from the history of a storage root what is too old or too much; returns how many entries.

    What may be kept is a share of the room that is left: of the quota of a home that has one, else of the disk.
    """
    settings = tree.config.settings
    oldest_ns = now_ns - settings.history_days * _DAY_NS
    with tree.database.reading() as connection:
        live, kept = index.used(connection, root.id), history.used(connection, root.id)
    free = root.storage.free()
    quota = tree.quota_of(root)
    room = free + kept if quota is None else min(free + kept, max(0, quota - live))
    return _shrink(tree.database, root, room * settings.history_percent // 100, oldest_ns)


def forget_changes(tree: "Tree", root: StorageRoot, now_ns: int) -> int:
    """Forget the changes of a storage root that are older than `journal_days`; returns how many."""
    before_ns = now_ns - tree.config.settings.journal_days * _DAY_NS
    count = 0
    while gone := tree.database.commit(lambda connection: journal.forget(connection, root.id, before_ns, _BATCH)):
        count += gone
    return count


def forget_uploads(tree: "Tree", root: StorageRoot, now_ns: int) -> int:
    """Give up the uploads in parts that got none for a day; returns how many."""
    with tree.database.reading() as connection:
        stale = [upload for upload in uploads.of_root(connection, root.id) if upload.ends_at * 1e9 < now_ns]
    for upload in stale:
        tree.database.commit(lambda connection, upload=upload: uploads.remove(connection, upload))  # type: ignore[misc]
        root.storage.drop(history.parsed(upload.begun))
    return len(stale)


def require_room(tree: "Tree", root: StorageRoot, folder: Path, staged: Staged, size: int) -> None:
    """Refuse new bytes that would fill a disk to its last; the history gives way before.

    Raises:
        DiskFull: there is no room for `size` bytes.
    """
    if staged.free() - size >= _SPARE:
        return
    make_room(tree, root, folder, size)
    if staged.free() - size < _SPARE:
        raise DiskFull()


def make_room(tree: "Tree", root: StorageRoot, folder: Path, size: int) -> None:
    """Before an upload of `size` bytes that its disk cannot take: the history gives way, the oldest first.

    If this root's is not enough, what those of others hold beyond their share goes before it: else who deletes much
    could keep a disk full for everybody until the next look at them.
    """
    wanted = size + _RESERVE - root.storage.free(folder)
    if wanted <= 0:
        return
    with tree.database.reading() as connection:
        kept = history.used(connection, root.id)
    if kept < wanted:
        for other in tree.roots.everything():
            with contextlib.suppress(Failure):  # its disk is not mounted
                if count := expire(tree, other, time.time_ns()):
                    log.info("%s %s: %d old versions and deleted resources made room", other.kind, other.name, count)
        wanted = size + _RESERVE - root.storage.free(folder)
    if kept and wanted > 0 and (count := _shrink(tree.database, root, max(0, kept - wanted), 0)):
        log.info("%s %s: %d old versions and deleted resources made room", root.kind, root.name, count)


def _shrink(database: Database, root: StorageRoot, most: int, oldest_ns: int) -> int:
    """Remove the oldest entries until all are younger than `oldest_ns` and take `most` bytes together."""
    count = 0

    def work(connection: Connection) -> list[Path] | None:
        surplus = history.used(connection, root.id) - most
        gone: list[Path] = []
        for entry in history.oldest(connection, root.id, _BATCH):
            if entry.since_ns >= oldest_ns and surplus <= 0:
                return gone or None
            surplus -= entry.size
            gone += history.remove(connection, entry)
        return gone or None

    while gone := database.commit(work):
        count += len(gone)
        for path in gone:
            root.storage.drop(path)
    return count


def forget_events(tree: "Tree", now_ns: int) -> None:
    """Let old events of the audit trail go."""
    before = now_ns / 1e9 - tree.config.settings.audit_days * 86_400.0
    tree.commit(lambda connection: audit.prune(connection, before))


def expire_all(tree: "Tree", clock: Callable[[], int] = time.time_ns) -> int:
    """Let history and journal of every storage root that is there expire; returns how many entries of the history.

    Args:
        clock: nanoseconds since the epoch.
    """
    count = 0
    forget_events(tree, clock())
    for root in tree.roots.everything():
        forget_changes(tree, root, clock())
        tree.checksums.forget_unused(root)
        try:
            forget_uploads(tree, root, clock())
            count += expire(tree, root, clock())
        except Failure:
            continue  # its disk is not mounted
    return count
