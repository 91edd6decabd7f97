"""The register of conflicts: what a device and the server both changed since they last had the same.

A conflict is open until its user resolves it, or until it is seen that both sides have become equal or can be made
so: then its row goes, as there is nothing left to decide. A device has one open conflict at a path; what is found
later only changes what it says. Resolved ones are kept for a while, so that an answer which came late is told from
one that never was. Functions here take a connection and touch nothing else.
"""

import secrets
from collections.abc import Iterable, Sequence, Set
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, or_, select, update

from baludav.db.tables import conflicts, devices
from baludav.tree.conflictcopy import conflict_copy, is_conflict_copy
from baludav.tree.paths import Path

_REMEMBER_SECONDS = 30 * 86_400.0


class Kind(StrEnum):
    """What the device (here) and the server (there) did since they last had the same."""

    BOTH_EDITED = "both_edited"
    DELETED_THERE = "edited_here_deleted_there"
    DELETED_HERE = "deleted_here_edited_there"
    BOTH_CREATED = "both_created"
    FILE_AND_COLLECTION = "file_and_collection"
    NAME_COLLISION = "name_collision"


class Found(NamedTuple):
    """A conflict, as it is found.

    Attributes:
        path: in the user's namespace, as the device spells it.
        base_sha256: what both had in common; as the two others None if nothing, a collection, or not known.
        other: path of what the server has under a name that some systems do not tell from `path`; `server_sha256`
            is of it.
    """

    path: Path
    kind: Kind
    base_sha256: str | None
    local_sha256: str | None
    server_sha256: str | None
    other: Path | None = None


class Conflict(NamedTuple):
    """A conflict of the register.

    Attributes:
        public_id: names it to clients.
        device: public id of its device.
        detected_at: seconds since the epoch, as is `resolved_at`.
        resolution: how its user resolved it; None: it is open.
    """

    id: int
    public_id: str
    device: str
    device_name: str
    found: Found
    detected_at: float
    resolution: str | None

    @property
    def copy(self) -> Path:
        """Where the bytes of the device go if they lose."""
        return conflict_copy(self.found.path, self.detected_at, self.device_name)

    @property
    def may_copy(self) -> bool:
        """Whether they may stay there: a conflict copy is never copied again."""
        return not is_conflict_copy(self.found.path[-1])


_columns = [
    conflicts.c.id, conflicts.c.public_id, devices.c.public_id, devices.c.name, conflicts.c.path, conflicts.c.kind,
    conflicts.c.base_sha256, conflicts.c.local_sha256, conflicts.c.server_sha256, conflicts.c.other,
    conflicts.c.detected_at, conflicts.c.resolution,
]  # fmt: skip
_of_user = (
    select(*_columns)
    .join(devices, devices.c.id == conflicts.c.device_id)
    .where(conflicts.c.user_id == bindparam("user"), devices.c.user_id == bindparam("user"))
)
_one = _of_user.where(conflicts.c.public_id == bindparam("public_id"))
_open = _of_user.where(conflicts.c.resolution.is_(None)).order_by(conflicts.c.path, conflicts.c.id)
_open_of_device = _open.where(conflicts.c.device_id == bindparam("device"))
_open_at = _open_of_device.where(conflicts.c.path == bindparam("path"))
_is_open = and_(conflicts.c.device_id == bindparam("device"), conflicts.c.resolution.is_(None))
# "0" is the character after "/".
_at_or_below = or_(
    conflicts.c.path == bindparam("at"),
    and_(conflicts.c.path > bindparam("first"), conflicts.c.path < bindparam("last")),
)
_settle = delete(conflicts).where(_is_open, _at_or_below)
_has_open = select(exists().where(_is_open, _at_or_below))
_owns = select(exists().where(devices.c.id == bindparam("device"), devices.c.user_id == bindparam("user")))
_change = (
    update(conflicts)
    .where(conflicts.c.id == bindparam("which"))
    .values({name: bindparam(name) for name in ("kind", "base_sha256", "local_sha256", "server_sha256", "other")})
)
_end = delete(conflicts).where(conflicts.c.id == bindparam("which"))
_resolve = (
    update(conflicts)
    .where(conflicts.c.id == bindparam("which"), conflicts.c.resolution.is_(None))
    .values(resolution=bindparam("how"), resolved_at=bindparam("now"))
)
_forget = delete(conflicts).where(
    conflicts.c.device_id == bindparam("device"), conflicts.c.resolved_at < bindparam("before")
)


def open_of(connection: Connection, user_id: int, device_id: int | None = None) -> list[Conflict]:
    """The open conflicts of a user, or of one device of theirs, by path."""
    if device_id is None:
        return [_conflict(row) for row in connection.execute(_open, {"user": user_id})]
    return [_conflict(row) for row in connection.execute(_open_of_device, {"user": user_id, "device": device_id})]


def one(connection: Connection, user_id: int, public_id: str) -> Conflict | None:
    """One conflict of a user, open or resolved."""
    row = connection.execute(_one, {"user": user_id, "public_id": public_id}).first()
    return None if row is None else _conflict(row)


def record(connection: Connection, user_id: int, device_id: int, found: Found, now: float) -> None:
    """Record a conflict that one request ran into; what it does not know of it stays as it was known before.

    Args:
        now: seconds since the epoch.
    """
    if not connection.scalar(_owns, {"device": device_id, "user": user_id}):
        return  # it was removed meanwhile
    row = connection.execute(_open_at, {"user": user_id, "device": device_id, "path": _text(found.path)}).first()
    if row is None:
        _add(connection, user_id, device_id, [found], now)
        return
    before = _conflict(row)
    base, local = found.base_sha256 or before.found.base_sha256, found.local_sha256 or before.found.local_sha256
    connection.execute(_change, _said(before, found._replace(base_sha256=base, local_sha256=local)))


def record_all(
    connection: Connection, user_id: int, device_id: int, found: Iterable[Found], undecided: Set[Path], now: float
) -> None:
    """Record all conflicts that a device has; what is open beside them has settled itself.

    Args:
        undecided: paths of which nothing can be said now: what is open there stays open.
    """
    if not connection.scalar(_owns, {"device": device_id, "user": user_id}):
        return
    before = {conflict.found.path: conflict for conflict in open_of(connection, user_id, device_id)}
    now_found = {one.path: one for one in found}
    over = [old.id for path, old in before.items() if path not in now_found and path not in undecided]
    changed = [_said(before[p], new) for p, new in now_found.items() if p in before and before[p].found != new]
    if over:
        connection.execute(_end, [{"which": conflict_id} for conflict_id in over])
    if changed:
        connection.execute(_change, changed)
    _add(connection, user_id, device_id, [new for path, new in now_found.items() if path not in before], now)


def resolve(connection: Connection, conflict: Conflict, resolution: str, now: float) -> bool:
    """End a conflict as its user wants; False if it is not open (any more)."""
    return connection.execute(_resolve, {"which": conflict.id, "how": resolution, "now": now}).rowcount > 0


def has_open(connection: Connection, device_id: int, path: Path) -> bool:
    """Whether a device has an open conflict at or below a path."""
    return bool(connection.scalar(_has_open, _reach(device_id, path)))


def settle(connection: Connection, device_id: int, path: Path) -> None:
    """The device and the server have the same at and below a path now."""
    connection.execute(_settle, _reach(device_id, path))


def _add(connection: Connection, user_id: int, device_id: int, found: Sequence[Found], now: float) -> None:
    connection.execute(_forget, {"device": device_id, "before": now - _REMEMBER_SECONDS})
    if found:
        common = {"user_id": user_id, "device_id": device_id, "detected_at": now}
        rows = [{"public_id": secrets.token_hex(16), **_stored(new), **common} for new in found]
        connection.execute(insert(conflicts), rows)


def _said(conflict: Conflict, found: Found) -> dict[str, Any]:
    said = _stored(found)
    del said["path"]
    return {"which": conflict.id, **said}


def _stored(found: Found) -> dict[str, Any]:
    return {
        **found._asdict(), "path": _text(found.path), "kind": found.kind.value,
        "other": None if found.other is None else _text(found.other),
    }  # fmt: skip


def _conflict(row: Sequence[Any]) -> Conflict:
    number, public_id, device, name, path, kind, base, local, server, other, detected_at, resolution = row
    found = Found(
        tuple(path.split("/")), Kind(kind), base, local, server, None if other is None else tuple(other.split("/"))
    )
    return Conflict(number, public_id, device, name, found, detected_at, resolution)


def _reach(device_id: int, path: Path) -> dict[str, Any]:
    text = _text(path)
    return {"device": device_id, "at": text, "first": text + "/", "last": text + "0"}


def _text(path: Path) -> str:
    return "/".join(path)
