"""The journal: one numbered row for each path that changed, and the newest number in every collection above it.

The number is the row id: SQLite hands it out inside the one write transaction, so no reader can see a number
before all smaller ones. Another database needs a row lock here. A change of a collection that takes its members
along writes a row for each of them, so that readers need no other source to know which paths changed.
"""

from collections.abc import Iterable
from typing import NamedTuple, cast

from sqlalchemy import Connection, Insert, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.sql.expression import ColumnElement

from baludav.db.statements import Statement
from baludav.db.tables import journal, meta, resources
from baludav.tree.paths import Path
from baludav.tree.records import index
from baludav.tree.records.index import Row


class Cause(NamedTuple):
    """When a change was made (nanoseconds since the epoch), and by which device (None: none, or from outside)."""

    at_ns: int
    device_id: int | None = None


def _above(start: ColumnElement[int]) -> "ColumnElement[bool]":
    """Condition: the resource is `start` or one of its ancestors."""
    line = select(resources.c.id, resources.c.parent_id).where(resources.c.id == start)
    up = line.cte("up", recursive=True)
    up = up.union_all(select(resources.c.id, resources.c.parent_id).join(up, resources.c.id == up.c.parent_id))
    return resources.c.id.in_(select(up.c.id))


_COLUMNS = (
    "root_id", "resource_id", "path", "action", "is_collection", "size", "sha256", "moved_from", "device_id", "at_ns",
)  # fmt: skip
_insert = Statement(insert(journal), _COLUMNS)
_newest = Statement(select(func.max(journal.c.number)))
_oldest = Statement(
    select(journal.c.number, journal.c.at_ns)
    .where(journal.c.root_id == bindparam("root"))
    .order_by(journal.c.number)
    .limit(bindparam("most"))
)
_FLOOR = "journal_floor"  # with the id of a storage root, a key of `meta`
_floor = Statement(select(meta.c.value).where(meta.c.key == bindparam("key")))
_touch = Statement(
    update(resources).where(_above(cast("ColumnElement[int]", bindparam("start")))).values(changed=bindparam("number"))
)


def _insert_below() -> Insert:
    moved_from = bindparam("moved_from", type_=journal.c.moved_from.type)
    tree = select(
        resources.c.id,
        bindparam("path", type_=journal.c.path.type).label("path"),
        moved_from.label("moved_from"),
    ).where(resources.c.id == bindparam("start")).cte("moved", recursive=True)  # fmt: skip
    tree = tree.union_all(
        select(
            resources.c.id,
            tree.c.path + literal("/") + resources.c.name,
            tree.c.moved_from + literal("/") + resources.c.name,
        ).join(tree, resources.c.parent_id == tree.c.id)
    )
    rows = select(
        resources.c.root_id, resources.c.id, tree.c.path, bindparam("action", type_=journal.c.action.type),
        resources.c.is_collection, resources.c.size, resources.c.sha256, tree.c.moved_from,
        bindparam("device_id", type_=journal.c.device_id.type), bindparam("at_ns", type_=journal.c.at_ns.type),
    ).join(tree, resources.c.id == tree.c.id).order_by(tree.c.path)  # fmt: skip
    return insert(journal).from_select(_COLUMNS, rows)


_all_below = Statement(_insert_below())
_all_added = Statement(
    insert(journal).from_select(
        ("root_id", "resource_id", "path", "action", "is_collection", "size", "sha256", "at_ns"),
        select(
            resources.c.root_id, resources.c.id,
            bindparam("folder", type_=journal.c.path.type) + resources.c.name,
            literal("created"), resources.c.is_collection, resources.c.size, resources.c.sha256,
            bindparam("at_ns", type_=journal.c.at_ns.type),
        ).where(resources.c.id > bindparam("after")).order_by(resources.c.id),
    )
)  # fmt: skip
_set_changed = Statement(
    update(resources).where(resources.c.id > bindparam("after")).values(changed=bindparam("number"))
)
_arrived = Statement(
    update(resources)
    .where(
        resources.c.id.in_(
            select(journal.c.resource_id).where(journal.c.number > bindparam("before"), journal.c.is_collection)
        )
    )
    .values(changed=bindparam("number"))
)


def write(connection: Connection, row: Row, path: Path, action: str, cause: Cause) -> int:
    """Write the change of one resource, `row` as it is after the change.

    Args:
        action: created or modified.
    Returns:
        int: the number of the change.
    """
    number = _insert.insert(
        connection,
        {
            "root_id": row.root_id,
            "resource_id": row.id,
            "path": "/".join(path),
            "action": action,
            "is_collection": row.is_collection,
            "size": row.size,
            "sha256": row.sha256,
            "moved_from": None,
            "device_id": cause.device_id,
            "at_ns": cause.at_ns,
        },
    )
    _touch.change(connection, {"start": row.id, "number": number})
    return number


def write_all(
    connection: Connection, row: Row, path: Path, action: str, cause: Cause, *, moved_from: Path | None = None
) -> int:
    """Write that a resource, with all below it, came to a path or (`deleted`) is about to leave it.

    At the new path of each collection something has changed, though nothing in it has.

    Returns:
        int: the number of the last of the changes.
    """
    before = int(_newest.scalar(connection) or 0)
    _all_below.change(
        connection,
        {
            "start": row.id,
            "path": "/".join(path),
            "action": action,
            "moved_from": None if moved_from is None else "/".join(moved_from),
            "device_id": cause.device_id,
            "at_ns": cause.at_ns,
        },
    )
    number = int(_newest.scalar(connection) or 0)
    start = row.parent_id if action == "deleted" else row.id
    if action != "deleted" and row.is_collection:
        _arrived.change(connection, {"before": before, "number": number})
    if start is not None:
        _touch.change(connection, {"start": start, "number": number})
    return number


def write_added(connection: Connection, after: int, parent: Row, folder: Path, cause: Cause) -> None:
    """Write that members came to a collection from outside: those whose resource id is above `after`.

    Args:
        folder: path of the collection.
    """
    _all_added.change(connection, {"folder": "/".join((*folder, "")), "at_ns": cause.at_ns, "after": after})
    number = int(_newest.scalar(connection) or 0)
    _set_changed.change(connection, {"after": after, "number": number})
    _touch.change(connection, {"start": parent.id, "number": number})


def drop(connection: Connection, row: Row, path: Path, cause: Cause) -> None:
    """Remove a resource and all below it from the index, as a change."""
    index.use(connection, row.root_id, -index.subtree_size(connection, row.id))
    write_all(connection, row, path, "deleted", cause)
    index.remove(connection, row.id)


def forget(connection: Connection, root_id: int, before_ns: int, most: int) -> int:
    """Forget the oldest changes of a storage root; who has not read them must compare everything.

    Args:
        before_ns: only those that are older.
        most: changes at once.
    Returns:
        how many.
    """
    # Of the first only: this is a moment of everybody's turn to write, and the journal may be long.
    oldest = _oldest.rows(connection, {"root": root_id, "most": most})
    numbers = [number for number, at_ns in oldest if at_ns < before_ns]
    if not numbers:
        return 0
    key = f"{_FLOOR}.{root_id}"
    connection.execute(delete(meta).where(meta.c.key == key))
    connection.execute(insert(meta), {"key": key, "value": str(numbers[-1])})
    gone = delete(journal).where(journal.c.root_id == root_id, journal.c.number <= numbers[-1])
    return connection.execute(gone).rowcount


def floor(connection: Connection, root_ids: Iterable[int]) -> int:
    """The number up to which changes of these storage roots are forgotten."""
    return max((int(_floor.scalar(connection, {"key": f"{_FLOOR}.{root_id}"}) or 0) for root_id in root_ids), default=0)
