"""The conflicts of one user's devices: found in plans and in refused requests, looked at, resolved."""

import logging
import time
from collections.abc import Iterable, Set
from typing import Literal

from sqlalchemy import Connection

from baludav.db import audit
from baludav.db.audit import Kind as EventKind
from baludav.db.audit import happened
from baludav.errors import AlreadyResolved, AlreadyThere, EtagMismatch, Failure, NotFound, PreconditionFailed
from baludav.tree.http.preconditions import State
from baludav.tree.paths import Path
from baludav.tree.reading import Reading, Resource, Terms
from baludav.tree.records import conflicts
from baludav.tree.records.conflicts import Conflict, Found, Kind

log = logging.getLogger(__name__)

Intent = Literal["write", "copy", "remove"]


class Register(Reading):
    """The register of conflicts, as one user sees it."""

    def conflicts(self, device_id: int | None = None) -> list[Conflict]:
        """The open conflicts of all devices of the user, or of one, by path."""
        with self.tree.database.reading() as connection:
            return conflicts.open_of(connection, self.principal.id, device_id)

    def conflict(self, public_id: str) -> Conflict:
        """One conflict that is open.

        Raises:
            NotFound: this user has no such conflict (any more).
            AlreadyResolved: it is not open any more.
        """
        with self.tree.database.reading() as connection:
            found = conflicts.one(connection, self.principal.id, public_id)
        if found is None:
            raise NotFound("There is no such conflict; it may have settled itself")
        if found.resolution is not None:
            raise AlreadyResolved(f"This conflict was resolved already: {found.resolution}")
        return found

    def record_conflicts(self, device_id: int, found: Iterable[Found], undecided: Set[Path]) -> list[Conflict]:
        """Record all conflicts that a device has, as its whole list shows; others that are open settle.

        Args:
            undecided: paths of which nothing can be said now: what is open there stays open.
        Returns:
            the open conflicts of the device, by path.
        """
        found, user_id, now = list(found), self.principal.id, time.time()
        if found or self.conflicts(device_id):
            self.tree.commit(
                lambda connection: conflicts.record_all(connection, user_id, device_id, found, undecided, now)
            )
        return self.conflicts(device_id)

    def resolve_conflict(self, conflict: Conflict, resolution: str) -> None:
        """End a conflict as its user wants; what the device does then is decided elsewhere.

        Raises:
            AlreadyResolved: somebody was quicker.
        """
        principal, path = self.principal, f"/{'/'.join(conflict.found.path)}"
        event = happened(
            EventKind.CONFLICT_RESOLVED, principal.name, device=principal.device, path=path, detail=resolution
        )

        def work(connection: Connection) -> None:
            if not conflicts.resolve(connection, conflict, resolution, time.time()):
                raise AlreadyResolved()
            audit.record(connection, event)

        self.tree.commit(work)

    def note_refusal(self, path: Path, state: State, terms: Terms, failure: PreconditionFailed, intent: Intent) -> None:
        """Record the conflict behind a refused request of a device; whatever happens, the request stays refused.

        Args:
            state: what the conditions were compared with.
        """
        device_id = self.principal.device_id
        found = None if device_id is None else _behind(path, state, terms, failure, intent)
        if device_id is None or found is None:
            return

        def work(connection: Connection) -> None:
            conflicts.record(connection, self.principal.id, device_id, found, time.time())

        try:
            self.tree.commit(work)
        except Failure as error:
            log.warning("a conflict could not be recorded: %s", error)

    def note_copy(self, path: Path, base_sha256: str | None, copy: Resource) -> None:
        """Record the conflict at a path that a device has kept a copy of beside it.

        Args:
            base_sha256: of the bytes that both had before, if known.
        """
        device_id = self.principal.device_id
        if device_id is None:
            return
        state = self.state(path)
        kind = Kind.BOTH_EDITED if state.exists else Kind.DELETED_THERE
        server = None if state.is_collection else state.etag
        found = Found(path, kind, base_sha256, copy.sha256, server)

        def work(connection: Connection) -> None:
            conflicts.record(connection, self.principal.id, device_id, found, time.time())

        try:
            self.tree.commit(work)
        except Failure as error:
            log.warning("a conflict could not be recorded: %s", error)

    def note_agreement(self, path: Path) -> None:
        """A device has just changed the server at a path to what it has itself: no conflict is left at or below it."""
        device_id = self.principal.device_id
        if device_id is None:
            return
        try:
            with self.tree.database.reading() as connection:
                if not conflicts.has_open(connection, device_id, path):
                    return
            self.tree.commit(lambda connection: conflicts.settle(connection, device_id, path))
        except Failure as error:
            log.warning("a conflict could not be settled: %s", error)


def _behind(path: Path, state: State, terms: Terms, failure: PreconditionFailed, intent: Intent) -> Found | None:
    """The conflict behind a refusal; None if there is none.

    An outdated If-Match is one, and so is the upload of a new file (`If-None-Match: *`) where there is one already.
    Nothing else is: Overwrite and lock tokens say nothing of what the device had in common with the server.
    """
    server = None if state.is_collection else state.etag
    base = None
    match failure:
        case EtagMismatch() if state.exists or intent != "remove":  # else both have deleted it
            kind = Kind.BOTH_EDITED if state.exists else Kind.DELETED_THERE
            if intent == "remove":
                kind = Kind.DELETED_HERE
            expected = terms.conditions.if_match
            if isinstance(expected, frozenset) and len(expected) == 1:
                (base,) = expected
        case AlreadyThere() if intent == "write" and terms.conditions.if_none_match == "*":
            kind = Kind.BOTH_CREATED
        case _:
            return None
    if intent == "write" and state.is_collection:
        kind = Kind.FILE_AND_COLLECTION
    if intent == "write" and terms.sha256 is not None and terms.sha256 == server:
        return None  # these very bytes are there; the answer to their upload was lost
    return Found(path, kind, base if base and len(base) == 64 else None, terms.sha256, server)
