"""What was overwritten or deleted: versions that hang on their resource, and the trash.

The bytes lie in the reserved folder of their file system, under a second name or renamed, so keeping them copies
nothing. What lies in the trash keeps its rows, without a parent, and so its id, properties and versions. Functions
here take a connection and touch nothing else.
"""

from typing import NamedTuple, cast

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.sql.expression import ColumnElement

from baludav.db.statements import Statement
from baludav.db.tables import journal, resources, trash, versions
from baludav.tree.disk.storage import Kept
from baludav.tree.paths import Path
from baludav.tree.records import index
from baludav.tree.records.index import Row
from baludav.tree.records.journal import Cause, write_all

_ANY_NUMBER = 1 << 30
START = (1 << 62, 1 << 62)  # a place before everything in a trash, whose newest comes first


class Version(NamedTuple):
    """Bytes that were replaced.

    Attributes:
        kept: where they lie, below the storage root.
        size: bytes.
        mtime_ns: modification time they had.
        kept_ns: when they were replaced.
        device_id: that had written them; None: none, or not known any more.
        reason: `overwritten`, `restored` (by an older version) or `interrupted` (found after a crash).
    """

    id: int
    root_id: int
    resource_id: int
    kept: str
    size: int
    sha256: str | None
    mtime_ns: int
    kept_ns: int
    device_id: int | None
    reason: str


class Deleted(NamedTuple):
    """Something in the trash.

    Attributes:
        resource_id: of its own row, which also names it to clients.
        path: where it was, below the storage root.
        kept: where it lies.
        size: bytes of all its files.
        device_id: that deleted it.
    """

    resource_id: int
    root_id: int
    path: str
    kept: str
    size: int
    deleted_ns: int
    device_id: int | None


class Entry(NamedTuple):
    """A version (`is_version`, with its id) or something in the trash (with its resource id), and since when."""

    is_version: bool
    id: int
    size: int
    since_ns: int


_below = select(resources.c.id).where(index.below(cast("ColumnElement[int]", bindparam("top")), "below"))
_version_columns = [versions.c[name] for name in Version._fields]
_deleted_columns = [trash.c[name] for name in Deleted._fields]
_versions_of = Statement(
    select(*_version_columns)
    .where(versions.c.resource_id == bindparam("resource"), versions.c.root_id == bindparam("root"))
    .order_by(versions.c.id.desc())
    .offset(bindparam("newer"))
)
_writer = select(journal.c.device_id).where(journal.c.number == bindparam("changed")).scalar_subquery()
_add_version = Statement(
    insert(versions).values({name: _writer if name == "device_id" else bindparam(name) for name in Version._fields[1:]})
)
_remove_version = Statement(delete(versions).where(versions.c.id == bindparam("id")))
_trash_of = Statement(
    select(*_deleted_columns)
    .where(
        trash.c.root_id == bindparam("root"),
        tuple_(trash.c.deleted_ns, trash.c.resource_id) < tuple_(bindparam("before_ns"), bindparam("before_id")),
    )
    .order_by(trash.c.deleted_ns.desc(), trash.c.resource_id.desc())
    .limit(bindparam("most"))
)
_one_deleted = select(*_deleted_columns).where(trash.c.resource_id == bindparam("resource"))
_add_to_trash = Statement(insert(trash), Deleted._fields)
_detach = Statement(
    update(resources).where(resources.c.id == bindparam("which")).values(parent_id=None, name=bindparam("kept"))
)
_inherit = Statement(
    update(versions).where(versions.c.resource_id == bindparam("old")).values(resource_id=bindparam("new"))
)
_used_by_versions = select(func.coalesce(func.sum(versions.c.size), 0)).where(versions.c.root_id == bindparam("root"))
_is_left = exists().where(versions.c.resource_id == trash.c.resource_id, versions.c.kept == trash.c.kept)
_used_by_trash = select(func.coalesce(func.sum(trash.c.size), 0)).where(
    trash.c.root_id == bindparam("root"),
    ~_is_left,  # counted as a version
)
_versions_below = Statement(select(*_version_columns).where(versions.c.resource_id.in_(_below)))
_newer = versions.alias("newer")
_newest_below = Statement(
    select(*_version_columns).where(
        versions.c.resource_id.in_(_below),
        ~exists().where(_newer.c.resource_id == versions.c.resource_id, _newer.c.id > versions.c.id),
    )
)
_left_below = Statement(select(trash.c.resource_id, trash.c.kept).where(trash.c.resource_id.in_(_below)))
_withdraw_below = Statement(delete(trash).where(trash.c.resource_id.in_(_below)))
_withdraw = Statement(
    delete(trash).where(trash.c.resource_id == bindparam("resource"), trash.c.kept == bindparam("kept"))
)
_oldest = (
    union_all(
        select(
            literal(True), versions.c.id.label("id"), versions.c.size, versions.c.kept_ns.label("since")
        ).where(versions.c.root_id == bindparam("root")),
        select(literal(False), trash.c.resource_id, trash.c.size, trash.c.deleted_ns).where(
            trash.c.root_id == bindparam("root")
        ),
    )
    .order_by("since", "id")
    .limit(bindparam("most"))
)  # fmt: skip
_all_versions = select(*_version_columns).where(versions.c.root_id == bindparam("root"))
_one_version = select(*_version_columns).where(versions.c.id == bindparam("id"))


def shown(path: Path) -> str:
    """A path as these tables hold it."""
    return "/".join(path)


def parsed(path: str) -> Path:
    """The path that `shown` was given."""
    return tuple(path.split("/"))


def add_version(
    connection: Connection, row: Row, kept: Path, cause: Cause, *, most: int, reason: str = "overwritten"
) -> list[Path]:
    """Record the bytes that `row` told of as a version of its resource.

    Args:
        most: how many versions a resource may have.
    Returns:
        what was too many: bytes to be dropped once this is committed.
    """
    _add_version.insert(
        connection,
        {
            "root_id": row.root_id,
            "resource_id": row.id,
            "kept": shown(kept),
            "size": row.size,
            "sha256": row.sha256,
            "mtime_ns": row.mtime_ns,
            "kept_ns": cause.at_ns,
            "changed": row.changed,
            "reason": reason,
        },
    )
    return remove_versions(connection, versions_of(connection, row.root_id, row.id, newer=most))


def add_interrupted(connection: Connection, row: Row, kept: Kept, cause: Cause) -> None:
    """Record bytes as a version that a request has kept which was interrupted then.

    Args:
        row: as it was when they were kept.
    """
    is_known = (row.size, row.mtime_ns) == (kept.stat.size, kept.stat.mtime_ns)
    before = row._replace(
        size=kept.stat.size, mtime_ns=kept.stat.mtime_ns, sha256=row.sha256 if is_known else None
    )  # fmt: skip
    add_version(connection, before, kept.path, cause, most=_ANY_NUMBER, reason="interrupted")


def is_worth_keeping(row: Row, sha256: str | None) -> bool:
    """False if a file has no bytes, or the same as what takes its place.

    Args:
        sha256: of that.
    """
    return row.size > 0 and (row.sha256 is None or row.sha256 != sha256)


def versions_of(connection: Connection, root_id: int, resource_id: int, newer: int = 0) -> list[Version]:
    """The versions of a resource, newest first, without the `newer` ones."""
    rows = _versions_of.rows(connection, {"resource": resource_id, "root": root_id, "newer": newer})
    return [Version._make(row) for row in rows]


def all_versions(connection: Connection, root_id: int) -> list[Version]:
    """The versions of every resource of a storage root."""
    return [Version._make(row) for row in connection.execute(_all_versions, {"root": root_id})]


def inherit(connection: Connection, old_id: int, new_id: int) -> None:
    """Give a resource the versions of the one that it replaces."""
    _inherit.change(connection, {"old": old_id, "new": new_id})
    _withdraw_below.change(connection, {"top": old_id})


def remove_versions(connection: Connection, gone: list[Version]) -> list[Path]:
    """Forget versions; returns where their bytes lie, to be dropped once this is committed."""
    for version in gone:
        _remove_version.change(connection, {"id": version.id})
        _withdraw.change(connection, {"resource": version.resource_id, "kept": version.kept})
    return [parsed(version.kept) for version in gone]


def put_in_trash(connection: Connection, row: Row, path: Path, kept: Path, cause: Cause) -> None:
    """Record a deletion: the rows lose their place, and the quota is free again.

    Args:
        path: where it was, below the storage root.
        kept: where it lies now.
    """
    size = index.subtree_size(connection, row.id)
    index.use(connection, row.root_id, -size)
    write_all(connection, row, path, "deleted", cause)
    _detach.change(connection, {"which": row.id, "kept": kept[-1]})
    add_to_trash(connection, row, path, kept, size, cause)


def add_to_trash(connection: Connection, row: Row, path: Path, kept: Path, size: int, cause: Cause) -> None:
    """Record that something, whose row has no place (any more), lies in the trash."""
    _add_to_trash.insert(
        connection,
        {
            "resource_id": row.id,
            "root_id": row.root_id,
            "path": shown(path),
            "kept": shown(kept),
            "size": size,
            "deleted_ns": cause.at_ns,
            "device_id": cause.device_id,
        },
    )


def trash_of(
    connection: Connection, root_id: int, *, before: tuple[int, int] = START, most: int = START[0]
) -> list[Deleted]:
    """What lies in the trash of a storage root, newest first.

    Args:
        before: `deleted_ns` and resource id of the one that came last.
    """
    values = {"root": root_id, "before_ns": before[0], "before_id": before[1], "most": most}
    return [Deleted._make(row) for row in _trash_of.rows(connection, values)]


def deleted(connection: Connection, resource_id: int) -> Deleted | None:
    """One thing in the trash."""
    row = connection.execute(_one_deleted, {"resource": resource_id}).first()
    return None if row is None else Deleted._make(row)


def take_from_trash(connection: Connection, gone: Deleted) -> bool:
    """Forget that something lies in the trash, leaving its rows; False if it does not (any more)."""
    return connection.execute(delete(trash).where(trash.c.resource_id == gone.resource_id)).rowcount > 0


def remove_from_trash(connection: Connection, gone: Deleted) -> list[Path]:
    """Forget something in the trash for good, with its versions; returns what bytes to drop afterwards."""
    if not take_from_trash(connection, gone):
        return []
    found = _versions_below.rows(connection, {"top": gone.resource_id})
    dropped = remove_versions(connection, [Version._make(row) for row in found])
    index.remove(connection, gone.resource_id)
    return list(dict.fromkeys([parsed(gone.kept), *dropped]))


def leave(connection: Connection, row: Row, path: Path, cause: Cause) -> None:
    """Something was deleted outside: of each file, the newest version is all that is left, and is in the trash.

    Args:
        path: where it was, below the storage root.
    """
    for found in _newest_below.rows(connection, {"top": row.id}):
        version = Version._make(found)
        file = index.by_id(connection, version.resource_id)
        assert file is not None  # it is below
        names = (*path, *_names_below(connection, row, file))
        add_to_trash(connection, file, names, parsed(version.kept), version.size, cause)


def withdraw(connection: Connection, row: Row) -> None:
    """What was taken for deleted outside has turned up again, with its versions."""
    _withdraw_below.change(connection, {"top": row.id})


def outlive(connection: Connection, row: Row) -> bool:
    """What is left of the files in something that will not turn up again keeps its rows; False if nothing is left."""
    left = _left_below.rows(connection, {"top": row.id})
    for resource_id, kept in left:
        _detach.change(connection, {"which": resource_id, "kept": parsed(kept)[-1]})
    return any(resource_id == row.id for resource_id, _ in left)


def take_left(connection: Connection, gone: Deleted) -> Version | None:
    """The version that something in the trash is, if it is one: it is about to have its bytes back, and ends."""
    for found in versions_of(connection, gone.root_id, gone.resource_id):
        if found.kept == gone.kept:
            _remove_version.change(connection, {"id": found.id})
            return found
    return None


def _names_below(connection: Connection, top: Row, row: Row) -> Path:
    """The path of a resource below another."""
    names: Path = ()
    while row.id != top.id:
        names = (row.name, *names)
        parent = None if row.parent_id is None else index.by_id(connection, row.parent_id)
        assert parent is not None
        row = parent
    return names


def oldest(connection: Connection, root_id: int, most: int) -> list[Entry]:
    """The oldest versions and deletions of a storage root."""
    rows = connection.execute(_oldest, {"root": root_id, "most": most}).all()
    return [Entry(bool(is_version), *row) for is_version, *row in rows]


def remove(connection: Connection, entry: Entry) -> list[Path]:
    """Forget an entry for good; returns what bytes to drop once this is committed."""
    if entry.is_version:
        version_found = version(connection, entry.id)
        return [] if version_found is None else remove_versions(connection, [version_found])
    gone = deleted(connection, entry.id)
    return [] if gone is None else remove_from_trash(connection, gone)


def version(connection: Connection, version_id: int) -> Version | None:
    """One version."""
    row = connection.execute(_one_version, {"id": version_id}).first()
    return None if row is None else Version._make(row)


def used(connection: Connection, root_id: int) -> int:
    """Bytes of all versions and of the trash of a storage root."""
    return int(connection.scalar(_used_by_versions, {"root": root_id}) or 0) + int(
        connection.scalar(_used_by_trash, {"root": root_id}) or 0
    )
