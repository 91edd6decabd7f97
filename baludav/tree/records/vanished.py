"""What has vanished from its place on the disk, without a request having deleted it, and may turn up at another.

Whoever looks at the old name of something that was moved outside sees only that it is gone. So its rows leave the
tree, which is journalled as their deletion, but stay in the index for a while: without a parent, and with the old
path behind a slash as name, which no name on a disk can be. When the same inode is seen somewhere else, it takes up
its rows again; what has not turned up in a whole round of the storage root is forgotten. The versions of files can
be had back from the trash meanwhile, and stay there.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from baludav.db.statements import Statement
from baludav.db.tables import resources
from baludav.tree.paths import Path
from baludav.tree.records import history, index, journal
from baludav.tree.records.index import Row
from baludav.tree.records.journal import Cause
from baludav.tree.records.locks import Locks

_MARK = "/"
_PAST_MARK = "0"  # the character after it

_detach = Statement(
    update(resources).where(resources.c.id == bindparam("which")).values(parent_id=None, name=bindparam("mark"))
)
_all = Statement(
    select(resources.c.id).where(
        resources.c.parent_id.is_(None),
        resources.c.name >= _MARK,
        resources.c.name < _PAST_MARK,
        resources.c.root_id == bindparam("root"),
    )
)


class Whereabouts(NamedTuple):
    """Where a resource is, below its storage root, or was when it vanished (or what it lay in did)."""

    path: Path
    is_vanished: bool


def whereabouts(connection: Connection, resource_id: int) -> Whereabouts | None:
    """Where a resource is; None for what lies in the trash, or is not known."""
    row = index.by_id(connection, resource_id)
    if row is None:
        return None
    top, path = index.climb(connection, row)
    if top.name == "":
        return Whereabouts(path, is_vanished=False)
    if top.name.startswith(_MARK):
        return Whereabouts((*top.name[1:].split("/"), *path), is_vanished=True)
    return None


def last_place(connection: Connection, resource_id: int) -> Whereabouts | None:
    """The same; what lies in the trash itself has vanished from where it was deleted."""
    place = whereabouts(connection, resource_id)
    if place is not None:
        return place
    gone = history.deleted(connection, resource_id)
    return None if gone is None else Whereabouts(history.parsed(gone.path), is_vanished=True)


def take_out(connection: Connection, locks: Locks, row: Row, path: Path, cause: Cause) -> None:
    """Take a resource, with all below it, out of the tree as a change; its locks end."""
    index.use(connection, row.root_id, -index.subtree_size(connection, row.id))
    locks.drop_below(connection, row)
    journal.write_all(connection, row, path, "deleted", cause)
    history.leave(connection, row, path, cause)
    _detach.change(connection, {"which": row.id, "mark": _MARK + "/".join(path)})


def put_in(connection: Connection, row: Row, parent: Row, path: Path, cause: Cause, *, moved_from: Path) -> None:
    """Put what was taken out, or vanished with what held it, into a collection as a change.

    Args:
        path: where it is now.
    """
    index.move(connection, row, root_id=parent.root_id, parent_id=parent.id, name=path[-1])
    index.use(connection, parent.root_id, index.subtree_size(connection, row.id))
    history.withdraw(connection, row)
    now = index.by_id(connection, row.id)
    assert now is not None
    journal.write_all(connection, now, path, "created", cause, moved_from=None if moved_from == path else moved_from)


def is_gone(connection: Connection, row: Row) -> bool:
    """True if a resource that was taken out has not been put in again."""
    now = index.by_id(connection, row.id)
    return now is not None and now.parent_id is None


def all_of(connection: Connection, root_id: int) -> list[int]:
    """Resource ids of what has vanished from a storage root."""
    return [int(found[0]) for found in _all.rows(connection, {"root": root_id})]


def forget(connection: Connection, resource_ids: Iterable[int]) -> None:
    """Forget for good what has vanished, if it has not turned up."""
    for resource_id in resource_ids:
        row = index.by_id(connection, resource_id)
        if row is None or row.parent_id is not None or not row.name.startswith(_MARK):
            continue
        if not history.outlive(connection, row):
            index.remove(connection, row.id)
