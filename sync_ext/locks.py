"""Locks that clients have taken over WebDAV: whose they are, and how to be rid of one that a client left behind."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from baludav.errors import NotFound
from baludav.tree.paths import Path
from baludav.tree.records.locks import Held
from sync_ext.endpoints import Call, endpoint
from sync_ext.types import Answer, Body, PathText, Time, parsed, shown, time_of


class LocksQuery(Body):
    """Which locks."""

    path: Annotated[
        PathText | UnsetType, Meta(description="Those that keep others from changing this, whoever holds them.")
    ] = UNSET


class LockOfUser(Answer):
    """A lock (RFC 4918 §6)."""

    lock_token: Annotated[str, Meta(description="Names the lock; for its holder alone it opens it.")]
    path: Annotated[PathText | None, Meta(description="What is locked; null if the user does not see it any more.")]
    user: Annotated[str, Meta(description="Who holds it.")]
    is_own: bool
    is_exclusive: bool
    depth: Annotated[Literal["0", "infinity"], Meta(description="infinity: with everything below the path.")]
    owner: Annotated[str, Meta(description="What the client says of who it is; empty if it says nothing.")]
    client: Annotated[str, Meta(description="The User-Agent that took it.")]
    created_at: Time
    expires_at: Annotated[Time, Meta(description="When it ends by itself, unless the client refreshes it.")]


class LocksOfUser(Answer):
    """Locks."""

    locks: list[LockOfUser]


@endpoint("GET", "/locks", failures=(NotFound,))
def locks(call: Call, query: LocksQuery) -> LocksOfUser:
    """List the user's own locks, oldest first; with a path, those of everybody that are in the way there."""
    if isinstance(query.path, UnsetType):
        found = call.user.own_locks()
    else:
        found = call.user.locks_in_the_way(parsed(query.path))
    return LocksOfUser(locks=[_lock(call, held, path) for held, path in found])


@endpoint("DELETE", "/locks/{lock_token}", failures=(NotFound,))
def end(call: Call, lock_token: str) -> None:
    """End one of the user's own locks. The client that took it is told when it next tries to write: 412."""
    call.user.end_own_lock(lock_token)


def _lock(call: Call, held: Held, path: Path | None) -> LockOfUser:
    lock = held.lock
    return LockOfUser(
        lock_token=lock.token,
        path=None if path is None else shown(path),
        user=held.holder,
        is_own=lock.user_id == call.principal.id,
        is_exclusive=bool(lock.is_exclusive),
        depth="infinity" if lock.is_infinite else "0",
        owner=held.owner,
        client=lock.client,
        created_at=time_of(lock.created_at),
        expires_at=time_of(lock.expires_at),
    )
