"""A save that replaces a file by another one keeps what belongs to the name: id, versions, dead properties, locks.

Few programs write into the file they have opened. They write a new one beside it and move it over the old; or move the
old away, the new to its place, and delete the old; or delete the old and write it anew. To their users, and to clients
that know files by id, it is the same file all the time. Such a save is known by its shape and by how quickly its steps
follow: the bytes of the new file, and what has become of the old one, are no older than a minute.

Functions here take a connection and touch nothing else.
"""

from typing import NamedTuple, cast

from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, update

from baludav.db.statements import Statement
from baludav.db.tables import journal, locks, properties, resources, trash
from baludav.tree.paths import Path
from baludav.tree.records import facts, history, index
from baludav.tree.records.history import Deleted
from baludav.tree.records.index import Row
from baludav.tree.records.journal import Cause
from baludav.tree.records.locks import path_of

WINDOW_NS = 60_000_000_000
_FEW = 8

_when = trash.c.deleted_ns + 0  # no index has this: SQLite would look at all that was deleted of late, not at one path
_deleted_here = Statement(
    select(*(trash.c[name] for name in Deleted._fields))
    .where(
        trash.c.root_id == bindparam("root"),
        trash.c.path == bindparam("path"),
        _when.between(bindparam("since"), bindparam("until")),
    )
    .order_by(_when.desc())
    .limit(1)
)
_change = Statement(
    select(journal.c.moved_from).where(
        journal.c.number == bindparam("number"),
        journal.c.action == "created",
        journal.c.at_ns.between(bindparam("since"), bindparam("until")),
    )
)
_below = index.below(cast("ColumnElement[int]", bindparam("top")), "below")
_few_below = Statement(select(resources.c.id).where(_below, ~resources.c.is_collection).limit(bindparam("most")))
_merged = select(properties.c.name).where(properties.c.resource_id == bindparam("new"))
_any_property = Statement(_merged.limit(1))
_drop_merged = Statement(
    properties.delete().where(properties.c.resource_id == bindparam("old"), properties.c.name.in_(_merged))
)
_take_properties = Statement(
    insert(properties).from_select(
        ["resource_id", "name", "value"],
        select(bindparam("old", type_=properties.c.resource_id.type), properties.c.name, properties.c.value).where(
            properties.c.resource_id == bindparam("new")
        ),
    )
)
_take_locks = Statement(
    update(locks).where(locks.c.resource_id == bindparam("new")).values(resource_id=bindparam("old"))
)


class Gone(NamedTuple):
    """A file that was deleted a moment ago: its row, and what the trash says of it."""

    row: Row
    deleted: Deleted


def is_fresh(row: Row, now_ns: int) -> bool:
    """True if a file has got its bytes a moment ago, so that they may be those of a save."""
    return not row.is_collection and 0 <= now_ns - row.born_ns < WINDOW_NS


def is_save(old: Row, new: Row, now_ns: int) -> bool:
    """True if a file that is moved over another is a save of that."""
    return is_fresh(new, now_ns) and not old.is_collection and old.id < new.id


def _window(now_ns: int) -> dict[str, int]:
    """When what belongs to a save that ends now has happened; not later either, if the clock was set back."""
    return {"since": now_ns - WINDOW_NS + 1, "until": now_ns}


def deleted_here(connection: Connection, root_id: int, path: Path, now_ns: int) -> Gone | None:
    """The file that was deleted at a path a moment ago."""
    values = {"root": root_id, "path": history.shown(path), **_window(now_ns)}
    found = _deleted_here.row(connection, values)
    if found is None:
        return None
    deleted = Deleted._make(found)
    row = index.by_id(connection, deleted.resource_id)
    return None if row is None or row.is_collection or row.parent_id is not None else Gone(row, deleted)


def few_below(connection: Connection, top: int) -> list[tuple[int, Path]]:
    """The files below a collection, with their paths in it; none if they are many, which is no save."""
    ids = [row[0] for row in _few_below.rows(connection, {"top": top, "most": _FEW + 1})]
    if len(ids) > _FEW:
        return []
    above = len(path_of(connection, top))
    return [(id, path_of(connection, id)[above:]) for id in ids]


def moved_from(connection: Connection, row: Row, now_ns: int) -> Path | None:
    """Where a file was moved from a moment ago, if that is the last that happened to it."""
    found = _change.row(connection, {"number": row.changed, **_window(now_ns)})
    return None if found is None or found[0] is None or row.is_collection else history.parsed(found[0])


def revive(connection: Connection, gone: Gone, sha256: str | None, cause: Cause, most: int) -> list[Path]:
    """Take a file out of the trash again, to get other bytes; those that it had become a version.

    Args:
        sha256: of the new bytes.
        most: how many versions a file may have.
    Returns:
        what bytes to drop once this is committed.
    """
    row, deleted = gone
    history.take_from_trash(connection, deleted)
    kept = history.parsed(deleted.kept)
    if any(version.kept == deleted.kept for version in history.versions_of(connection, row.root_id, row.id)):
        return []  # it was deleted outside: a version is all that was left
    if not history.is_worth_keeping(row, sha256):
        return [kept]
    return history.add_version(connection, row, kept, cause, most=most)


def absorb(connection: Connection, old: Row, new: Row) -> None:
    """Give the old file what hangs on the new one, whose row goes: its versions, locks and, by name, properties."""
    history.inherit(connection, new.id, old.id)
    if _any_property.row(connection, {"new": new.id}) is not None:
        facts.changed(connection)
        _drop_merged.change(connection, {"old": old.id, "new": new.id})
        _take_properties.change(connection, {"old": old.id, "new": new.id})
    _take_locks.change(connection, {"old": old.id, "new": new.id})
    index.remove(connection, new.id)
