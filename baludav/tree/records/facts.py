"""A number that changes with what the journal does not tell: dead properties, locks, times of creation.

Together with the number of the last change below a collection it says whether an answer made earlier still holds.
"""

from collections.abc import Iterable

from sqlalchemy import BigInteger, Connection, Text, bindparam, cast, select
from sqlalchemy.dialects.sqlite import insert

from baludav.db.engine import Database
from baludav.db.statements import Statement
from baludav.db.tables import meta, resources

_KEY = "facts"
_count = Statement(
    # The upsert is spelled alike in SQLite and PostgreSQL.
    insert(meta)
    .values(key=_KEY, value="1")
    .on_conflict_do_update(index_elements=[meta.c.key], set_={"value": cast(cast(meta.c.value, BigInteger) + 1, Text)})
)
_number = Statement(select(meta.c.value).where(meta.c.key == _KEY))
_changed = Statement(select(resources.c.changed).where(resources.c.id == bindparam("id")))

Moment = tuple[int, ...]


def changed(connection: Connection) -> None:
    """Say that such a thing is being changed."""
    _count.change(connection)


def moment(database: Database, resource_ids: Iterable[int]) -> Moment:
    """The number of the facts, and those of the last changes at or below some resources."""
    facts = database.glance.rows(_number, {})
    changed = (database.glance.rows(_changed, {"id": resource_id}) for resource_id in resource_ids)
    return int(facts[0][0]) if facts else 0, *(int(rows[0][0]) if rows else -1 for rows in changed)
