"""Locks (RFC 4918 §6, §7), kept in the database so that every process sees the same.

A lock hangs on a resource's id, never on a URL. Expired locks do not count; they are deleted by the next LOCK.
"""

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update

from baludav.db.statements import Statement
from baludav.db.tables import locks
from baludav.errors import Forbidden, Locked, LockTokenMismatch, PreconditionFailed
from baludav.tree.paths import Path
from baludav.tree.records import facts, index
from baludav.tree.records.index import Row

MAX_LOCKS_OF_USER = 1_000


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


_columns = [locks.c[name] for name in Lock._fields]
_live = Statement(select(*_columns).where(locks.c.root_id == bindparam("root"), locks.c.expires_at > bindparam("now")))
_of_user = select(locks.c.token).where(locks.c.user_id == bindparam("user"), locks.c.expires_at > bindparam("now"))


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
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def covering(self, connection: Connection, chain: Sequence[Row]) -> list[Lock]:
        """Locks on the last resource of the chain: its own, and those of depth infinity above it."""
        return [lock for lock in self._live(connection, chain) if _covers(lock, chain)]

    def require(self, connection: Connection, claim: Claim, *, user_id: int, tokens: frozenset[str]) -> None:
        """Check that every lock in the way is the user's own and that its token was submitted (§7.5).

        Raises:
            Locked: names the lock root, below the storage root.
        """
        live = self._live(connection, claim.chain)
        if not live:
            return
        in_the_way = [lock for lock in live if _covers(lock, claim.chain)]
        if claim.with_parent and len(claim.chain) > 1:
            in_the_way += [lock for lock in live if _covers(lock, claim.chain[:-1])]
        if claim.with_members:
            target = claim.chain[-1].id
            in_the_way += [lock for lock in live if _lies_below(connection, lock.resource_id, target)]
        by_root: dict[int, list[Lock]] = defaultdict(list)
        for lock in in_the_way:
            by_root[lock.resource_id].append(lock)
        for resource_id, found in by_root.items():
            if not any(lock.token in tokens and lock.user_id == user_id for lock in found):
                raise Locked(lock_root=path_of(connection, resource_id))

    def take(
        self, connection: Connection, chain: Sequence[Row], *, user_id: int, is_exclusive: bool,
        is_infinite: bool, owner_xml: str, timeout: int,
    ) -> Lock:  # fmt: skip
        """Create a lock.

        Raises:
            Locked: another lock conflicts (§6.2, §9.10.5).
            Forbidden: the user holds too many locks.
        """
        now = self._clock()
        facts.changed(connection)
        connection.execute(delete(locks).where(locks.c.expires_at <= now))
        target = chain[-1]
        for lock in self._live(connection, chain):
            overlaps = _covers(lock, chain) or (is_infinite and _lies_below(connection, lock.resource_id, target.id))
            if overlaps and (is_exclusive or lock.is_exclusive):
                raise Locked(lock_root=path_of(connection, lock.resource_id), conflicting=True)
        held = connection.scalars(_of_user, {"user": user_id, "now": now}).all()
        if len(held) >= MAX_LOCKS_OF_USER:
            raise Forbidden(f"You hold {len(held)} locks; unlock some first")
        lock = Lock(
            new_token(), target.root_id, target.id, user_id, is_exclusive, is_infinite,
            owner_xml, timeout, now, now + timeout,
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

    def drop_below(self, connection: Connection, row: Row) -> None:
        """Remove all locks at and below a resource: a MOVE takes none along (§7.5)."""
        for lock in self._live(connection, (row,)):
            if lock.resource_id == row.id or _lies_below(connection, lock.resource_id, row.id):
                connection.execute(delete(locks).where(locks.c.token == lock.token))

    def all_live(self, connection: Connection, root_id: int) -> dict[int, list[Lock]]:
        """Every lock of a storage root, by resource id."""
        found: dict[int, list[Lock]] = defaultdict(list)
        for lock in self._of_root(connection, root_id):
            found[lock.resource_id].append(lock)
        return found

    def seconds_left(self, lock: Lock) -> int:
        return max(0, round(lock.expires_at - self._clock()))

    def _live(self, connection: Connection, chain: Sequence[Row]) -> list[Lock]:
        if not chain:
            return []
        return self._of_root(connection, chain[-1].root_id)

    def _of_root(self, connection: Connection, root_id: int) -> list[Lock]:
        return [Lock._make(row) for row in _live.rows(connection, {"root": root_id, "now": self._clock()})]


def _covers(lock: Lock, chain: Sequence[Row]) -> bool:
    if lock.resource_id == chain[-1].id:
        return True
    return lock.is_infinite and any(lock.resource_id == row.id for row in chain[:-1])


def _lies_below(connection: Connection, resource_id: int, ancestor_id: int) -> bool:
    row = index.by_id(connection, resource_id)
    while row is not None and row.parent_id is not None:
        if row.parent_id == ancestor_id:
            return True
        row = index.by_id(connection, row.parent_id)
    return False


def path_of(connection: Connection, resource_id: int) -> Path:
    """Names of a resource below its storage root."""
    names: list[str] = []
    row = index.by_id(connection, resource_id)
    while row is not None and row.parent_id is not None:
        names.append(row.name)
        row = index.by_id(connection, row.parent_id)
    return tuple(reversed(names))
