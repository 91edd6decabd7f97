"""Where in a storage root bytes of a given SHA-256 lie: as files, as versions, in the trash.

Asked is one storage root at a time, by an index that begins with it, so that neither the answer nor the time it takes
has to do with what others have. Functions here take a connection and touch nothing else.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from baludav.db.statements import Statement
from baludav.db.tables import resources, versions
from baludav.tree.paths import Path
from baludav.tree.records import history, index
from baludav.tree.records.history import Version
from baludav.tree.records.index import Row
from baludav.tree.records.vanished import whereabouts

_MOST = 20  # of each kind; who has more copies than that is served by these


class Held(NamedTuple):
    """A place where bytes lie that had the SHA-256 when they were looked at.

    Attributes:
        kept: where they lie, below the storage root.
        path: of the resource that has them or had them before; None: it is in the trash.
        row: of the resource that has them.
    """

    kept: Path
    path: Path | None
    row: Row | None = None


_files = Statement(
    select(*(resources.c[name] for name in Row._fields))
    .where(
        resources.c.root_id == bindparam("root"),
        resources.c.size == bindparam("bytes"),
        resources.c.sha256 == bindparam("hash"),
    )
    .limit(_MOST)
)
_versions = Statement(
    select(*(versions.c[name] for name in Version._fields))
    .where(
        versions.c.root_id == bindparam("root"),
        versions.c.size == bindparam("bytes"),
        versions.c.sha256 == bindparam("hash"),
    )
    .limit(_MOST)
)


def held(connection: Connection, root_id: int, sha256: str, size: int) -> Iterator[Held]:
    """Where bytes lie in a storage root; those first that need the least work."""
    values = {"root": root_id, "hash": sha256, "bytes": size}
    for found in _files.rows(connection, values):
        row = Row._make(found)
        where = whereabouts(connection, row.id)
        if where is None:
            kept = _in_trash(connection, row)
            if kept is not None:
                yield Held(kept, None)
        elif not where.is_vanished:
            yield Held(where.path, where.path, row)
    for found in _versions.rows(connection, values):
        version = Version._make(found)
        where = whereabouts(connection, version.resource_id)
        is_there = where is not None and not where.is_vanished
        yield Held(history.parsed(version.kept), where.path if where is not None and is_there else None)


def _in_trash(connection: Connection, row: Row) -> Path | None:
    """Where something lies that is in the trash, or below what is."""
    top, names = index.climb(connection, row)
    gone = history.deleted(connection, top.id)
    return None if gone is None else (*history.parsed(gone.kept), *names)
