"""What a storage root holds, counted anew.

What a quota is compared with is only ever added to and taken from, so once it is wrong, by whatever fault, it stays so.
"""

from sqlalchemy import Connection, bindparam, func, select, update

from baludav.db.engine import Database
from baludav.db.tables import storage_roots, upload_parts, uploads
from baludav.tree.records import index
from baludav.tree.roots import StorageRoot

_of_uploads = (
    select(func.coalesce(func.sum(upload_parts.c.size), 0))
    .join(uploads, uploads.c.id == upload_parts.c.upload_id)
    .where(uploads.c.root_id == bindparam("root"))
)
_set = update(storage_roots).where(storage_roots.c.id == bindparam("root")).values(used=bindparam("bytes"))


def held(connection: Connection, root: StorageRoot) -> int:
    """Bytes of all files in a storage root, and of what has come of uploads in parts.

    Args:
        connection: its statements must see one moment.
    """
    return index.subtree_size(connection, root.top_id) + int(connection.scalar(_of_uploads, {"root": root.id}) or 0)


def set_right(database: Database, root: StorageRoot) -> tuple[int, int] | None:
    """Correct what is counted as stored; what was counted, and what there is, or None if that was right.

    Nobody who writes meanwhile is held up, unless there is something to correct.
    """
    with database.snapshot() as connection:
        if index.used(connection, root.id) == held(connection, root):
            return None

    def work(connection: Connection) -> tuple[int, int] | None:
        counted, is_held = index.used(connection, root.id), held(connection, root)
        if counted == is_held:
            return None
        connection.execute(_set, {"root": root.id, "bytes": is_held})
        return counted, is_held

    return database.commit(work, spares_accounts=True)
