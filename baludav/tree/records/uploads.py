"""Uploads that come in parts: what the index knows of them.

Functions here take a connection and touch nothing else. The bytes of an upload lie in one file in the reserved folder
of its storage root and count as stored there, so a quota holds for them too.
"""

import re
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from baludav.db.statements import Statement
from baludav.db.tables import upload_parts, uploads
from baludav.tree.paths import Path
from baludav.tree.records import index
from baludav.tree.records.history import shown

MOST_PARTS = 20_000  # of one upload
SECONDS = 86_400  # without a new part, until an upload is given up; a finished one is forgotten


class Begun(NamedTuple):
    """An upload; the columns of `uploads`.

    Attributes:
        name: the client's own.
        begun: where the bytes lie, below the storage root.
        length: announced size of the whole in bytes, None if unknown.
        revision: rises with each part.
        touched_at: when the last part came, in seconds since the epoch.
        path: in the user's tree, where the bytes are to go, if that is known, or once finished have gone.
        sha256: of the whole, once finished; None before.
        note: what else was said at its beginning.
    """

    id: int
    user_id: int
    name: str
    root_id: int
    begun: str
    length: int | None
    revision: int
    touched_at: float
    path: str | None
    sha256: str | None
    note: str | None

    @property
    def ends_at(self) -> float:
        """When it expires, in seconds since the epoch."""
        return self.touched_at + SECONDS


class Part(NamedTuple):
    """A part that has come: where it lies in the file, and how large it is (bytes)."""

    name: str
    offset: int
    size: int


_columns = [uploads.c[name] for name in Begun._fields]
_insert = Statement(insert(uploads), Begun._fields[1:])
_by_name = Statement(
    select(*_columns).where(uploads.c.user_id == bindparam("user"), uploads.c.name == bindparam("name"))
)
_unfinished = Statement(
    select(uploads.c.name)
    .where(uploads.c.user_id == bindparam("user"), uploads.c.sha256.is_(None))
    .order_by(uploads.c.id)
)
_of_root = Statement(select(*_columns).where(uploads.c.root_id == bindparam("root")))
_parts = Statement(
    select(upload_parts.c.name, upload_parts.c.offset, upload_parts.c.size).where(
        upload_parts.c.upload_id == bindparam("upload")
    )
)
_size = Statement(
    select(func.coalesce(func.sum(upload_parts.c.size), 0)).where(upload_parts.c.upload_id == bindparam("upload"))
)
_add_part = Statement(insert(upload_parts), ("upload_id", *Part._fields))
_remove_part = Statement(
    delete(upload_parts).where(
        upload_parts.c.upload_id == bindparam("upload"), upload_parts.c.name == bindparam("part")
    )
)
_remove_parts = Statement(delete(upload_parts).where(upload_parts.c.upload_id == bindparam("upload")))
_touch = Statement(
    update(uploads)
    .where(uploads.c.id == bindparam("upload"))
    .values(revision=uploads.c.revision + 1, touched_at=bindparam("now"))
)
_finish = Statement(
    update(uploads)
    .where(uploads.c.id == bindparam("upload"))
    .values(path=bindparam("where"), sha256=bindparam("hash"), touched_at=bindparam("now"))
)
_remove = Statement(delete(uploads).where(uploads.c.id == bindparam("upload")))


def add(
    connection: Connection, *, user_id: int, name: str, root_id: int, begun: Path, length: int | None,
    target: Path | None, note: str | None, now: float,
) -> Begun:  # fmt: skip
    """Record a new upload."""
    path = None if target is None else shown(target)
    new = Begun(0, user_id, name, root_id, shown(begun), length, 0, now, path, None, note)
    values = new._asdict()
    del values["id"]
    return new._replace(id=_insert.insert(connection, values))


def find(connection: Connection, user_id: int, name: str) -> Begun | None:
    """The upload that a user calls so."""
    row = _by_name.row(connection, {"user": user_id, "name": name})
    return None if row is None else Begun._make(row)


def unfinished(connection: Connection, user_id: int) -> list[str]:
    """Names of the uploads of a user that are not finished, the oldest first."""
    return [row[0] for row in _unfinished.rows(connection, {"user": user_id})]


def of_root(connection: Connection, root_id: int) -> list[Begun]:
    """All uploads whose bytes lie in a storage root, or lay there."""
    return [Begun._make(row) for row in _of_root.rows(connection, {"root": root_id})]


def parts(connection: Connection, upload: Begun) -> list[Part]:
    """The parts that have come, in the order in which they make the whole."""
    found = [Part._make(row) for row in _parts.rows(connection, {"upload": upload.id})]
    return sorted(found, key=lambda part: _order(part.name))


def place(connection: Connection, upload: Begun, part: Part, now: float) -> None:
    """Record a part that has come, instead of what had its name."""
    before = size(connection, upload)
    _remove_part.change(connection, {"upload": upload.id, "part": part.name})
    _add_part.change(connection, {"upload_id": upload.id, **part._asdict()})
    _touch.change(connection, {"upload": upload.id, "now": now})
    index.use(connection, upload.root_id, size(connection, upload) - before)


def size(connection: Connection, upload: Begun) -> int:
    """Bytes of all parts that have come."""
    return int(_size.scalar(connection, {"upload": upload.id}) or 0)


def finish(connection: Connection, upload: Begun, path: Path, sha256: str, now: float) -> None:
    """Record what became of an upload, for a client that did not get the answer."""
    _release(connection, upload)
    _finish.change(connection, {"upload": upload.id, "where": shown(path), "hash": sha256, "now": now})


def remove(connection: Connection, upload: Begun) -> None:
    """Forget an upload."""
    _release(connection, upload)
    _remove.change(connection, {"upload": upload.id})


def _release(connection: Connection, upload: Begun) -> None:
    index.use(connection, upload.root_id, -size(connection, upload))
    _remove_parts.change(connection, {"upload": upload.id})


def _order(name: str) -> tuple[list[int], str]:
    """Parts are called 1, 2, …, 10, or by their first byte, or `first-last`, with or without leading zeros."""
    return [int(number) for number in re.findall("[0-9]{1,18}", name)], name
