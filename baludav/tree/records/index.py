"""Rows of the index: what we know about the bytes.

Functions here take a connection and touch nothing else, so that callers decide what is one transaction. A row
is right while its signature equals the file's; `baludav.tree.truth.scan` mends those that are not.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, literal, literal_column, select, update
from sqlalchemy.sql.expression import ColumnElement

from baludav.db.statements import Statement
from baludav.db.tables import properties, resources, storage_roots
from baludav.tree.disk.storage import Stat
from baludav.tree.paths import Path
from baludav.tree.records import facts


class Row(NamedTuple):
    """One resource as the index knows it; the columns of `resources`."""

    id: int
    root_id: int
    parent_id: int | None
    name: str
    is_collection: bool
    size: int
    sha256: str | None
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    born_ns: int
    is_settled: bool
    created_ns: int
    changed: int

    @property
    def signature(self) -> Stat:
        return Stat(self.is_collection, self.device, self.inode, self.size, self.mtime_ns, self.ctime_ns)


class Known(NamedTuple):
    """One resource: what the index says, and what the disk says now."""

    row: Row
    stat: Stat

    @property
    def agrees(self) -> bool:
        """True if the row was made of what is on the disk now."""
        if self.stat.is_collection:
            # The marker says which one the top is; after a restore onto another disk its inode is new.
            return self.row.is_collection and (self.row.parent_id is None or self.is_same_inode)
        return self.row.signature == self.stat

    @property
    def is_same_inode(self) -> bool:
        return (self.row.device, self.row.inode) == (self.stat.device, self.stat.inode)

    @property
    def is_right(self) -> bool:
        """True if the row may be used without looking at the bytes again."""
        return self.agrees and (self.stat.is_collection or (self.row.is_settled and self.row.sha256 is not None))


_columns = [resources.c[name] for name in Row._fields]
# What lies in the trash has no parent either, but keeps its name. A parameter instead of '' would hide from the
# database that there is an index of just these.
_is_top = and_(
    resources.c.root_id == bindparam("root"), resources.c.parent_id.is_(None), resources.c.name == literal_column("''")
)
_top = Statement(select(*_columns).where(_is_top))
_member = Statement(
    select(*_columns).where(resources.c.parent_id == bindparam("parent"), resources.c.name == bindparam("name"))
)
_members = Statement(select(*_columns).where(resources.c.parent_id == bindparam("parent")))
_named = select(*_columns).where(
    resources.c.parent_id == bindparam("parent"), resources.c.name.in_(bindparam("names", expanding=True))
)
_by_id = Statement(select(*_columns).where(resources.c.id == bindparam("id")))
_by_inodes = select(*_columns).where(
    resources.c.device == bindparam("device"), resources.c.inode.in_(bindparam("inodes", expanding=True))
)


def below(start: ColumnElement[int], name: str) -> "ColumnElement[bool]":
    """Condition: the resource is `start` or lies below it."""
    tree = select(resources.c.id).where(resources.c.id == start).cte(name, recursive=True)
    tree = tree.union_all(select(resources.c.id).join(tree, resources.c.parent_id == tree.c.id))
    return resources.c.id.in_(select(tree.c.id))


_subtree = Statement(select(*_columns).where(below(cast("ColumnElement[int]", bindparam("id")), "below")))
_subtree_size = Statement(
    select(func.coalesce(func.sum(resources.c.size), literal(0))).where(
        below(cast("ColumnElement[int]", bindparam("id")), "below")
    )
)
_levels = select(resources.c.id, literal(0).label("level")).where(resources.c.id == bindparam("id"))
_levels_cte = _levels.cte("levels", recursive=True)
_levels_cte = _levels_cte.union_all(
    select(resources.c.id, _levels_cte.c.level + 1).join(_levels_cte, resources.c.parent_id == _levels_cte.c.id)
)
_subtree_depth = Statement(select(func.max(_levels_cte.c.level)))
_delete_subtree = Statement(delete(resources).where(below(cast("ColumnElement[int]", bindparam("gone")), "below")))
_change_root = Statement(
    update(resources)
    .where(below(cast("ColumnElement[int]", bindparam("moved")), "below"))
    .values(root_id=bindparam("new_root"))
)
_move = Statement(
    update(resources)
    .where(resources.c.id == bindparam("moved"))
    .values(parent_id=bindparam("new_parent"), name=bindparam("new_name"))
)
_see = Statement(
    update(resources)
    .where(resources.c.id == bindparam("which"))
    .values({name: bindparam(name) for name in (*Stat._fields, "sha256", "born_ns", "is_settled")})
)
_renumber = Statement(
    update(resources)
    .where(resources.c.root_id == bindparam("root"), resources.c.device == bindparam("old"))
    .values(device=bindparam("new"))
)
_set_created = Statement(
    update(resources).where(resources.c.id == bindparam("which")).values(created_ns=bindparam("created_ns"))
)
_last_id = Statement(select(func.max(resources.c.id)))
_insert = Statement(insert(resources), Row._fields[1:])
_use = Statement(
    update(storage_roots)
    .where(storage_roots.c.id == bindparam("root"))
    .values(used=storage_roots.c.used + bindparam("bytes"))
)
_used = Statement(select(storage_roots.c.used).where(storage_roots.c.id == bindparam("root")))
_copy_properties = Statement(
    insert(properties).from_select(
        ["resource_id", "name", "value"],
        select(bindparam("to_id", type_=properties.c.resource_id.type), properties.c.name, properties.c.value).where(
            properties.c.resource_id == bindparam("from_id")
        ),
    )
)
_drop_properties = Statement(delete(properties).where(properties.c.resource_id == bindparam("of")))
_newest = Statement(select(resources.c.changed).where(_is_top))
_FEW = 8
_newest_of_all = Statement(
    select(resources.c.root_id, resources.c.changed).where(
        resources.c.parent_id.is_(None), resources.c.name == literal_column("''")
    )
)
_members_after = Statement(
    select(*_columns)
    .where(resources.c.parent_id == bindparam("parent"), resources.c.name > bindparam("after"))
    .order_by(resources.c.name)
    .limit(bindparam("most"))
)
_AT_ONCE = 200  # members that are read at a time


def _row(found: Sequence[object]) -> Row:
    return Row._make(found)._replace(is_collection=bool(found[4]), is_settled=bool(found[12]))


def _row_or_none(found: Sequence[object] | None) -> Row | None:
    return None if found is None else _row(found)


def top(connection: Connection, root_id: int) -> Row | None:
    """The row of a storage root's own folder."""
    return _row_or_none(_top.row(connection, {"root": root_id}))


def by_id(connection: Connection, resource_id: int) -> Row | None:
    return _row_or_none(_by_id.row(connection, {"id": resource_id}))


def chain(connection: Connection, root_id: int, path: Path) -> list[Row]:
    """Rows from the storage root down to `path`, ending early where the index knows no more."""
    row = top(connection, root_id)
    rows = []
    for name in (*path, None):
        if row is None:
            break
        rows.append(row)
        if name is not None:
            row = member(connection, row.id, name)
    return rows


def member(connection: Connection, parent_id: int, name: str) -> Row | None:
    return _row_or_none(_member.row(connection, {"parent": parent_id, "name": name}))


def members(connection: Connection, parent_id: int) -> dict[str, Row]:
    """Rows of a collection's members, by name."""
    return {found[3]: _row(found) for found in _members.rows(connection, {"parent": parent_id})}


def members_after(connection: Connection, parent_id: int, name: str, most: int) -> Iterator[Row]:
    """Members of a collection by name, after a name (which need not be there); read in portions.

    Args:
        most: how many are about to be taken.
    """
    portion = min(most, _AT_ONCE)
    is_last = False
    while not is_last:
        found = _members_after.rows(connection, {"parent": parent_id, "after": name, "most": portion})
        is_last = len(found) < portion
        for row in map(_row, found):
            name = row.name
            yield row


def named(connection: Connection, parent_id: int, names: Collection[str]) -> dict[str, Row]:
    """Rows of some of a collection's members, by name."""
    rows = connection.execute(_named, {"parent": parent_id, "names": list(names)})
    return {row[3]: Row._make(row) for row in rows}


def by_inodes(connection: Connection, root_id: int, device: int, inodes: Collection[int]) -> list[Row]:
    """Rows of a storage root, wherever in it, that were made of one of some inodes."""
    rows = connection.execute(_by_inodes, {"device": device, "inodes": list(inodes)})
    # Were it part of the query, SQLite would rather go through all rows of the storage root.
    return [row for row in map(Row._make, rows) if row.root_id == root_id]


def newest(connection: Connection, root_ids: Collection[int]) -> int:
    """Number of the last change in some storage roots."""
    if len(root_ids) > _FEW:  # what an admin sees
        wanted = set(root_ids)
        return max((changed for root_id, changed in _newest_of_all.rows(connection) if root_id in wanted), default=0)
    return max((_newest.scalar(connection, {"root": root_id}) or 0 for root_id in root_ids), default=0)


def subtree(connection: Connection, resource_id: int) -> list[Row]:
    """The resource and everything below it, parents before members."""
    return [_row(found) for found in _subtree.rows(connection, {"id": resource_id})]


def subtree_size(connection: Connection, resource_id: int) -> int:
    """Bytes of all files at and below a resource."""
    return int(_subtree_size.scalar(connection, {"id": resource_id}) or 0)


def subtree_depth(connection: Connection, resource_id: int) -> int:
    """How many names the path of the deepest resource below a resource has more than its own."""
    return int(_subtree_depth.scalar(connection, {"id": resource_id}) or 0)


def climb(connection: Connection, row: Row) -> tuple[Row, Path]:
    """The topmost row above one, which may be itself, and the names from there."""
    names: list[str] = []
    while row.parent_id is not None:
        names.append(row.name)
        parent = by_id(connection, row.parent_id)
        assert parent is not None  # a foreign key
        row = parent
    return row, tuple(reversed(names))


def add(
    connection: Connection,
    *,
    root_id: int,
    parent_id: int | None,
    name: str,
    stat: Stat,
    sha256: str | None = None,
    born_ns: int = 0,
    is_settled: bool = False,
    created_ns: int = 0,
) -> Row:
    """Insert a row; the time of creation defaults to what the file system knows."""
    values = new_values(
        root_id=root_id, parent_id=parent_id, name=name, stat=stat, sha256=sha256, born_ns=born_ns,
        is_settled=is_settled, created_ns=created_ns,
    )  # fmt: skip
    return add_row(connection, values)


def add_row(connection: Connection, values: Mapping[str, object]) -> Row:
    """Insert a row of `new_values`."""
    return Row(id=_insert.insert(connection, values), **values)  # type: ignore[arg-type]  # values hold the columns of Row


def new_values(
    *,
    root_id: int,
    parent_id: int | None,
    name: str,
    stat: Stat,
    sha256: str | None = None,
    born_ns: int = 0,
    is_settled: bool = False,
    created_ns: int = 0,
) -> dict[str, object]:
    """The columns of a row to be inserted."""
    return {
        "root_id": root_id,
        "parent_id": parent_id,
        "name": name,
        **_seen(stat, sha256, born_ns, is_settled=is_settled),
        "created_ns": created_ns or min(born_ns or stat.mtime_ns, stat.mtime_ns),
        "changed": 0,
    }


def add_all(connection: Connection, rows: Sequence[Mapping[str, object]]) -> int:
    """Insert many rows of `new_values` at once; all their ids are above the one returned."""
    before = int(_last_id.scalar(connection) or 0)
    if rows:
        connection.execute(insert(resources), rows)
    return before


def set_created(connection: Connection, resource_id: int, created_ns: int) -> None:
    """Set DAV:creationdate of one resource."""
    facts.changed(connection)
    _set_created.change(connection, {"which": resource_id, "created_ns": created_ns})


def see(connection: Connection, row: Row, stat: Stat, *, sha256: str | None, born_ns: int, is_settled: bool) -> Row:
    """Replace what a row says of the bytes; returns it as it is then."""
    values = _seen(stat, sha256, born_ns, is_settled=is_settled)
    _see.change(connection, {"which": row.id, **values})
    return row._replace(**values)


def _seen(stat: Stat, sha256: str | None, born_ns: int, *, is_settled: bool) -> dict[str, Any]:
    """The columns that say what the bytes are, and how they were when they were hashed."""
    return {
        "is_collection": stat.is_collection,
        "size": stat.size,
        "sha256": sha256,
        "device": stat.device,
        "inode": stat.inode,
        "mtime_ns": stat.mtime_ns,
        "ctime_ns": stat.ctime_ns,
        "born_ns": born_ns,
        "is_settled": is_settled,
    }


def renumber(connection: Connection, root_id: int, old: int, new: int) -> None:
    """Replace a device number in the rows of a storage root."""
    _renumber.change(connection, {"root": root_id, "old": old, "new": new})


def remove(connection: Connection, resource_id: int) -> None:
    """Delete a resource and all below it, with their properties and locks."""
    _delete_subtree.change(connection, {"gone": resource_id})


def move(connection: Connection, row: Row, *, root_id: int, parent_id: int, name: str) -> None:
    """Give a resource, and so all below it, another place."""
    _move.change(connection, {"moved": row.id, "new_parent": parent_id, "new_name": name})
    if root_id != row.root_id:
        _change_root.change(connection, {"moved": row.id, "new_root": root_id})


def use(connection: Connection, root_id: int, size: int) -> None:
    """Count `size` more (or fewer) bytes as stored in a storage root."""
    if size:
        _use.change(connection, {"root": root_id, "bytes": size})


def used(connection: Connection, root_id: int) -> int:
    """Bytes stored in a storage root."""
    return int(_used.scalar(connection, {"root": root_id}) or 0)


def copy_properties(connection: Connection, from_id: int, to_id: int) -> None:
    """Give a resource the dead properties of another, and only those."""
    _drop_properties.change(connection, {"of": to_id})
    _copy_properties.change(connection, {"from_id": from_id, "to_id": to_id})
