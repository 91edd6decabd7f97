"""Locks (RFC 4918 §6, §7), kept in the database so that every process sees the same.

A lock hangs on a resource's id, never on a URL. Expired locks do not count; they are deleted by the
next LOCK in their storage root.
"""

import html
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, func, select, update

from baludav.config import Limits
from baludav.db.statements import Statement
from baludav.db.tables import locks, resources, storage_roots, users
from baludav.errors import Forbidden, Locked, LockTokenMismatch, PreconditionFailed
from baludav.tree.paths import Path
from baludav.tree.records import facts, index
from baludav.tree.records.index import Row


class Lock(NamedTuple):
    """One lock; the columns of `locks`. Times are seconds since the epoch."""

    token: str
    root_id: int
    resource_id: int
    user_id: int
    is_exclusive: bool
    is_infinite: bool
    owner_xml: str
    timeout: int
    created_at: float
    expires_at: float
    client: str


class Held(NamedTuple):
    """A lock, as people know it.

    Attributes:
        holder: name of the user.
        root: kind and name of the storage root.
        names: of what is locked, below it.
    """

    lock: Lock
    holder: str
    root: tuple[str, str]
    names: Path

    @property
    def owner(self) -> str:
        """What the client says of who it is (§14.17), without the elements around it."""
        return " ".join(html.unescape(_TAG.sub(" ", self.lock.owner_xml)).split())


_TAG = re.compile(r"<[^>]*>")
_CLIENT = 200  # characters kept of its name
_columns = [locks.c[name] for name in Lock._fields]
_is_live = locks.c.expires_at > bindparam("now")
_any = Statement(select(locks.c.token).where(locks.c.root_id == bindparam("root"), _is_live).limit(1))
_on = Statement(select(*_columns).where(locks.c.resource_id == bindparam("on"), _is_live))
_held = Statement(
    select(*_columns, users.c.name, storage_roots.c.kind, storage_roots.c.name)
    .join(users, users.c.id == locks.c.user_id)
    .join(storage_roots, storage_roots.c.id == locks.c.root_id)
    .where(_is_live)
    .order_by(locks.c.created_at, locks.c.token)
)
_of_user = Statement(select(func.count()).where(locks.c.user_id == bindparam("user"), _is_live))


def _lying_below() -> "Select[Any]":
    """Locks below a resource, found by looking for it above each lock: a collection may hold far more than that."""
    line = select(locks.c.token, locks.c.resource_id.label("id")).where(locks.c.root_id == bindparam("root"), _is_live)
    up = line.cte("up", recursive=True)
    up = up.union_all(
        select(up.c.token, resources.c.parent_id)
        .join(up, resources.c.id == up.c.id)
        .where(resources.c.parent_id.is_not(None))
    )
    found = select(up.c.token).where(up.c.id == bindparam("top"))
    return select(*_columns).where(locks.c.token.in_(found), locks.c.resource_id != bindparam("top"))


_below = Statement(_lying_below())


def new_token() -> str:
    """A lock token: a URI nobody can guess (§6.5).

    Shorter than a urn:uuid: an `If` header that holds it beside two entity-tags of 64 digits stays below 200
    bytes, which is all that the header buffers of some clients take (litmus 0.13 is one).
    """
    return f"baludav:{secrets.token_urlsafe(16)}"


class Claim(NamedTuple):
    """What a request wants to change, in terms of locks.

    Attributes:
        chain: rows from the storage root's top to the resource, or to the parent of a resource yet to come.
        with_parent: a member is added to or removed from the parent (RFC 4918 §7.4).
        with_members: everything below the resource is touched as well.
    """

    chain: Sequence[Row]
    with_parent: bool = False
    with_members: bool = False


class Locks:
    """The locks of every storage root.

    Args:
        most: of one user.
        clock: seconds since the epoch.
    """

    def __init__(self, most: int = Limits().locks, clock: Callable[[], float] = time.time) -> None:
        self._most = most
        self._clock = clock

    def has_any(self, connection: Connection, root_id: int) -> bool:
        """Whether anything is locked in a storage root; mostly nothing is."""
        return _any.row(connection, {"root": root_id, "now": self._clock()}) is not None

    def covering(self, connection: Connection, chain: Sequence[Row]) -> list[Lock]:
        """Locks on the last resource of the chain: its own, and those of depth infinity above it."""
        if not chain or not self.has_any(connection, chain[0].root_id):
            return []
        above = (lock for row in chain[:-1] for lock in self._on(connection, row) if lock.is_infinite)
        return [*above, *self._on(connection, chain[-1])]

    def require(self, connection: Connection, claim: Claim, *, user_id: int, tokens: frozenset[str]) -> None:
        """Check that every lock in the way is the user's own and that its token was submitted (§7.5).

        Raises:
            Locked: names the lock root, below the storage root.
        """
        chain = claim.chain
        if not self.has_any(connection, chain[-1].root_id):
            return
        in_the_way = self.covering(connection, chain)
        if claim.with_parent:
            in_the_way += self.covering(connection, chain[:-1])
        if claim.with_members:
            in_the_way += self._below(connection, chain[-1])
        by_root: dict[int, list[Lock]] = defaultdict(list)
        for lock in in_the_way:
            by_root[lock.resource_id].append(lock)
        for resource_id, found in by_root.items():
            if not any(lock.token in tokens and lock.user_id == user_id for lock in found):
                raise Locked(lock_root=path_of(connection, resource_id))

    def take(
        self, connection: Connection, chain: Sequence[Row], *, user_id: int, is_exclusive: bool,
        is_infinite: bool, owner_xml: str, timeout: int, client: str,
    ) -> Lock:  # fmt: skip
        """Create a lock.

        Raises:
            Locked: another lock conflicts (§6.2, §9.10.5).
            Forbidden: the user holds too many locks.
        """
        now = self._clock()
        facts.changed(connection)
        target = chain[-1]
        connection.execute(delete(locks).where(locks.c.root_id == target.root_id, locks.c.expires_at <= now))
        overlapping = self.covering(connection, chain)
        if is_infinite:
            overlapping += self._below(connection, target)
        for lock in overlapping:
            if is_exclusive or lock.is_exclusive:
                raise Locked(lock_root=path_of(connection, lock.resource_id), conflicting=True)
        held = _of_user.scalar(connection, {"user": user_id, "now": now})
        if held >= self._most:
            raise Forbidden(f"You hold {held} locks; unlock some first").at("locks")
        lock = Lock(
            new_token(), target.root_id, target.id, user_id, is_exclusive, is_infinite,
            owner_xml, timeout, now, now + timeout, client[:_CLIENT],
        )  # fmt: skip
        connection.execute(locks.insert(), lock._asdict())
        return lock

    def refresh(
        self, connection: Connection, chain: Sequence[Row], *, user_id: int, tokens: frozenset[str], timeout: int
    ) -> Lock:
        """Start the timeout of one submitted lock again (§9.10.2).

        Raises:
            PreconditionFailed: no submitted token is of a lock on this resource.
        """
        for lock in self.covering(connection, chain):
            if lock.token in tokens and lock.user_id == user_id:
                facts.changed(connection)
                lock = lock._replace(timeout=timeout, expires_at=self._clock() + timeout)
                connection.execute(
                    update(locks)
                    .where(locks.c.token == lock.token)
                    .values(timeout=lock.timeout, expires_at=lock.expires_at)
                )
                return lock
        raise PreconditionFailed("The lock to be refreshed is not there (any more)")

    def release(self, connection: Connection, chain: Sequence[Row], *, token: str, user_id: int) -> bool:
        """Remove a lock that covers the resource (§9.11); False if nothing is locked there (any more).

        Raises:
            Forbidden: it is another user's.
            LockTokenMismatch: there is a lock, but another one (§9.11.1).
        """
        found = self.covering(connection, chain)
        for lock in found:
            if lock.token == token:
                if lock.user_id != user_id:
                    raise Forbidden("This lock belongs to another user")
                facts.changed(connection)
                connection.execute(delete(locks).where(locks.c.token == token))
                return True
        if found:
            raise LockTokenMismatch()
        return False

    def held(self, connection: Connection) -> list[Held]:
        """Every lock, the oldest first."""
        found = []
        for *values, holder, kind, name in _held.rows(connection, {"now": self._clock()}):
            lock = Lock._make(values)
            found.append(Held(lock, holder, (kind, name), path_of(connection, lock.resource_id)))
        return found

    def end(self, connection: Connection, token: str, *, user_id: int | None = None) -> bool:
        """Remove a lock, that of anybody or only of one user; False if there is none (any more)."""
        facts.changed(connection)
        which = locks.c.token == token, locks.c.expires_at > self._clock()
        whose = () if user_id is None else (locks.c.user_id == user_id,)
        return bool(connection.execute(delete(locks).where(*which, *whose)).rowcount)

    def drop_below(self, connection: Connection, row: Row) -> None:
        """Remove all locks at and below a resource: a MOVE takes none along (§7.5)."""
        if self.has_any(connection, row.root_id):
            for lock in (*self._on(connection, row), *self._below(connection, row)):
                connection.execute(delete(locks).where(locks.c.token == lock.token))

    def seconds_left(self, lock: Lock) -> int:
        left = max(0, round(lock.expires_at - self._clock()))
        return min(left, lock.timeout)  # a clock that was set back gives a lock longer than its owner asked for

    def _on(self, connection: Connection, row: Row) -> list[Lock]:
        return [Lock._make(found) for found in _on.rows(connection, {"on": row.id, "now": self._clock()})]

    def _below(self, connection: Connection, row: Row) -> list[Lock]:
        if not row.is_collection:
            return []
        values = {"root": row.root_id, "top": row.id, "now": self._clock()}
        return [Lock._make(found) for found in _below.rows(connection, values)]


def path_of(connection: Connection, resource_id: int) -> Path:
    """Names of a resource below its storage root."""
    row = index.by_id(connection, resource_id)
    return () if row is None else index.climb(connection, row)[1]
