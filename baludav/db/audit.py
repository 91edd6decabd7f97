"""The audit trail: who did what, from where, and when.

A row holds names and no ids, so that it stays what it was when the user, the device or the file is gone. What is to
be seen once is written in the transaction that does it; what clients repeat is counted in one row. Nothing secret
comes in, and nothing that could pass for another row: control characters are escaped before it is stored. Functions
here take a connection and touch nothing else.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from baludav import origin
from baludav.db.tables import audit
from baludav.log.text import one_line

MOST_GATHERED = 50_000  # rows of what anybody can cause without signing in, or again and again
_LONGEST = {"user_name": 255, "device": 255, "address": 64, "client": 255, "path": 4096, "detail": 1000}  # characters


class Kind(StrEnum):
    """What happened."""

    SIGN_IN = "sign-in"
    SIGN_IN_FAILED = "sign-in-failed"
    SIGN_IN_THROTTLED = "sign-in-throttled"
    REFUSED = "refused"
    ACCESS_GRANTED = "access-granted"
    USER_ADDED = "user-added"
    USER_DELETED = "user-deleted"
    USER_DISABLED = "user-disabled"
    USER_ENABLED = "user-enabled"
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - the name of what happened
    QUOTA_CHANGED = "quota-changed"
    GROUPS_CHANGED = "groups-changed"
    APP_PASSWORD_ADDED = "app-password-added"  # noqa: S105
    APP_PASSWORD_REVOKED = "app-password-revoked"  # noqa: S105
    DEVICE_ADDED = "device-added"
    DEVICE_REMOVED = "device-removed"
    SHARE_ADDED = "share-added"
    SHARE_CHANGED = "share-changed"
    SHARE_REMOVED = "share-removed"
    VERSION_RESTORED = "version-restored"
    TRASH_RESTORED = "trash-restored"
    TRASH_REMOVED = "trash-removed"
    HOME_DELETED = "home-deleted"
    CONFLICT_RESOLVED = "conflict-resolved"
    LOCK_BROKEN = "lock-broken"
    INDEX_RESTORED = "index-restored"
    INDEX_LOST = "index-lost"
    INDEX_REBUILT = "index-rebuilt"


# What clients do again and again, so that old rows of it may go before their time.
_FREQUENT = (Kind.SIGN_IN_FAILED, Kind.SIGN_IN_THROTTLED, Kind.REFUSED)


class Event(NamedTuple):
    """Something that happened.

    Attributes:
        user: name of the account that it is about; empty if there is none.
        device: name of the device, or label of the app password, that it was done with.
        address: of the client; empty for a command.
        client: what the client calls itself, or the command.
        path: as the user sees it.
        first_at: seconds since the epoch, as is `last_at`.
    """

    kind: Kind
    user: str
    device: str
    address: str
    client: str
    path: str
    detail: str
    times: int
    first_at: float
    last_at: float


_columns = [audit.c[name] for name in ("kind", "user_name", *Event._fields[2:])]
_insert = insert(audit)
# The upsert is spelled alike in SQLite and PostgreSQL.
_see = _insert.on_conflict_do_update(index_elements=[audit.c.gathered], set_={"last_at": _insert.excluded.last_at})
_count = _insert.on_conflict_do_update(
    index_elements=[audit.c.gathered],
    set_={"last_at": _insert.excluded.last_at, "times": audit.c.times + _insert.excluded.times},
)
_surplus = (
    select(audit.c.id)
    .where(audit.c.kind.in_(_FREQUENT))
    .order_by(audit.c.last_at.desc(), audit.c.id.desc())
    .offset(bindparam("most"))
)


def happened(
    kind: Kind, user: str = "", *, device: str = "", path: str = "", detail: str = "", at: float | None = None
) -> Event:
    """An event that comes from where this thread's work does. Call it before `commit`, whose work may run elsewhere.

    Args:
        at: seconds since the epoch; None for now.
    """
    now, source = time.time() if at is None else at, origin.current()
    return Event(kind, user, device, source.address, _decoded(source.client), path, detail, 1, now, now)


def record(connection: Connection, *events: Event) -> None:
    """Write events, each in a row of its own."""
    for event in events:
        connection.execute(_insert, {**_row(event), "gathered": None})


def gather(connection: Connection, event: Event, key: str) -> None:
    """Write an event, or count it in the row that has the same key, whichever transaction has written that.

    How often somebody signed in is not counted, as it is mostly remembered: only that they still do.
    """
    hashed = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    connection.execute(_see if event.kind is Kind.SIGN_IN else _count, {**_row(event), "gathered": hashed})


def find(
    connection: Connection, *, user: str | None = None, kinds: Iterable[Kind] = (), since: float | None = None
) -> Iterator[Event]:
    """Events, those first that happened last longest ago.

    Args:
        since: seconds since the epoch.
    """
    statement = select(*_columns).order_by(audit.c.last_at, audit.c.id)
    if user is not None:
        statement = statement.where(audit.c.user_name == user)
    if kinds := tuple(kinds):
        statement = statement.where(audit.c.kind.in_(kinds))
    if since is not None:
        statement = statement.where(audit.c.last_at >= since)
    for row in connection.execute(statement):
        yield _event(row)


def prune(connection: Connection, before: float, *, most_gathered: int = MOST_GATHERED) -> int:
    """Forget what last happened before a time in seconds, and the oldest of what is too many; how many rows."""
    gone = connection.execute(delete(audit).where(audit.c.last_at < before)).rowcount
    surplus = connection.scalars(_surplus, {"most": most_gathered}).all()
    for number in surplus:
        connection.execute(delete(audit).where(audit.c.id == number))
    return gone + len(surplus)


def _row(event: Event) -> dict[str, Any]:
    values = event._asdict()
    values["user_name"] = values.pop("user")
    for name, longest in _LONGEST.items():
        values[name] = one_line(values[name])[:longest]
    return values


def _event(row: Sequence[Any]) -> Event:
    kind, *rest = row
    return Event(Kind(kind), *rest)


def _decoded(client: str) -> str:
    """A field of a request is given as Latin-1 (PEP 3333), and often meant as UTF-8."""
    return client.encode("latin-1", "replace").decode("utf-8", "replace")
