"""What every change of the tree begins with: where it goes, whether it may, and the guard it is made under."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from baludav.errors import Conflict, Forbidden, Locked, NotFound, OverQuota, PathTooLong, PreconditionFailed, TooLarge
from baludav.tree.disk.storage import Identity
from baludav.tree.http.preconditions import ABSENT, State
from baludav.tree.namespaces import Place
from baludav.tree.paths import Path
from baludav.tree.reading import Terms
from baludav.tree.records import history, index, journal, properties
from baludav.tree.records.index import Known, Row
from baludav.tree.records.journal import Cause
from baludav.tree.records.locks import Claim
from baludav.tree.register import Intent, Register
from baludav.tree.roots import StorageRoot

_ATTEMPTS = 10  # at finding a resource as the index says it is, while something outside keeps changing it


class Target(NamedTuple):
    """A place under its guard, as it was found there."""

    place: Place
    root: StorageRoot
    known: Known | None
    chain: list[Row]  # to the resource, or to its parent if there is none


class Guarding(Register):
    """The checks and guards that all changes of one user share."""

    def writable(self, path: Path) -> tuple[Place, StorageRoot]:
        """The place of a path that may be written.

        Raises:
            Forbidden: it may only be read, or it is a mount itself.
        """
        place = self.namespace.place(path, to_write=True)
        if place.root is None:
            raise Forbidden("This collection belongs to the server")
        return place, place.root

    def check_size(self, size: int) -> None:
        most = self.tree.limits.upload
        if most is not None and size > most:
            raise TooLarge(f"This server takes up to {most} bytes at once").at("upload")

    def room_for(self, root: StorageRoot, place: Place, length: int | None, *, freed: int = 0) -> int | None:
        """How many bytes an upload may have under the quota; None without a quota.

        Args:
            freed: bytes stored elsewhere than at `place` that the upload replaces.
        Raises:
            InsufficientStorage: `length` does not fit.
        """
        quota = self.tree.quota_of(root)
        if quota is None:
            return None
        known = self.tree.scan.peek(root, place.names)
        with self.tree.database.reading() as connection:
            room = quota - index.used(connection, root.id) + (known.stat.size if known else 0) + freed
        if (length or 0) > room:
            raise OverQuota()
        return room

    @contextlib.contextmanager
    def guarded(self, *paths: Path) -> Iterator[tuple[Target, ...]]:
        """Hold the guards of some paths; the index agrees with the disk at each of them."""
        places = [self.writable(path) for path in paths]
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._mend(places)
            with self.tree.guards.hold(*((root.id, place.names) for place, root in places)):
                targets = [self._found(place, root, is_mended=attempt > 0) for place, root in places]
                if None not in targets:
                    yield tuple(target for target in targets if target is not None)
                    return
        raise Conflict("This resource keeps changing outside the server; try again")

    def unguarded(self, path: Path) -> Target:
        """The same without a guard, for checks that are made again under one."""
        place, root = self.writable(path)
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._mend([(place, root)])
            target = self._found(place, root, is_mended=attempt > 0)
            if target is not None:
                return target
        raise Conflict("This resource keeps changing outside the server; try again")

    def _mend(self, places: list[tuple[Place, StorageRoot]]) -> None:
        """Bring the index up to date where a change is about to be made; takes guards of its own."""
        for place, root in places:
            self.tree.scan.look(root, place.names[:-1])
            self.tree.scan.look(root, place.names)

    def _found(self, place: Place, root: StorageRoot, *, is_mended: bool) -> Target | None:
        """The place as it is; None if the index does not agree with the disk there.

        Raises:
            Conflict: the parent is no collection (RFC 4918 §9.7.1).
            Forbidden, PathTooLong: nothing is there, and the configuration wants nothing of this name.
        """
        with self.tree.database.reading() as connection:
            chain = index.chain(connection, root.id, place.names)
        stat = root.storage.stat(place.names)
        depth = len(place.names)
        if len(chain) == depth + 1 and stat is not None:
            known = Known(chain[-1], stat)
            return Target(place, root, known, chain) if known.is_right or (is_mended and known.agrees) else None
        if len(chain) == depth and stat is None:
            if not chain[-1].is_collection:
                raise Conflict()
            self._require_permitted(place)
            return Target(place, root, None, chain)
        if is_mended and len(chain) < depth:
            raise Conflict()
        return None

    def _require_permitted(self, place: Place) -> None:
        """Refuse what the configuration wants nothing new to be called."""
        name = place.names[-1]
        self.require_depth(len(place.path))
        most = self.tree.limits.name_bytes
        if len(name.encode()) > most:
            raise PathTooLong(f"A name may have {most} bytes at most").at("name_bytes")
        if self.tree.refused_names.fullmatch(name) is not None:
            raise Forbidden(f"This server takes nothing called {name}")

    def require_depth(self, depth: int) -> None:
        most = self.tree.limits.path_depth
        if depth > most:
            raise PathTooLong(f"A path may have {most} names at most").at("path_depth")

    def require_room_for_properties(
        self, root: StorageRoot, dead: Mapping[str, bytes | None], resource_id: int | None = None
    ) -> None:
        """See whether a storage root may have these dead properties, too."""
        names = {name for name, value in dead.items() if value is not None}
        if names:
            with self.tree.database.reading() as connection:
                if resource_id is not None:
                    names.difference_update(properties.read(connection, resource_id))
                self.tree.properties.require(connection, root.id, len(names))

    def parent_of(self, target: Target) -> Row:
        return target.chain[-1] if target.known is None else target.chain[-2]

    def check_conditions(self, path: Path, terms: Terms, intent: Intent | None = None) -> None:
        """The same as `check`, of a path that may be anywhere."""
        self._check_write(path, self.state(path), terms, intent)
        self.check_if(path, terms)

    def check(self, target: Target, terms: Terms, intent: Intent | None = None) -> None:
        """Preconditions of a request on one resource (RFC 9110 §13, RFC 4918 §10.4). Takes no guard.

        Args:
            intent: what the request does to the resource, if its refusal may mean a conflict.
        """
        known = target.known
        state = ABSENT
        if known is not None:
            stat = known.stat
            etag = self.resource_of(target.place, known).etag
            state = State(True, etag, stat.mtime_ns // 1_000_000_000, stat.is_collection, frozenset())
        self._check_write(target.place.path, state, terms, intent)
        terms.conditions.check_if(lambda tag: self._state_now(target, tag, terms))

    def _check_write(self, path: Path, state: State, terms: Terms, intent: Intent | None) -> None:
        try:
            terms.conditions.check_write(state)
        except PreconditionFailed as failure:
            if intent is not None:
                self.note_refusal(path, state, terms, failure, intent)
            raise

    def _state_now(self, target: Target, tag: str | None, terms: Terms) -> State:
        """What an `If` list is compared with, without taking a guard (one may be held)."""
        path = target.place.path if tag is None else terms.resolve(tag)
        if path is None:
            return ABSENT
        try:
            place = self.namespace.place(path)
        except NotFound:
            return ABSENT
        if place.root is None:
            return ABSENT
        known = self.tree.scan.peek(place.root, place.names)
        with self.tree.database.reading() as connection:
            chain = index.chain(connection, place.root.id, place.names)
            tokens = frozenset(lock.token for lock in self.tree.locks.covering(connection, chain))
        if known is None:
            # An unmapped URL is covered by a depth-infinity lock above it (RFC 4918 §7.4).
            return State(False, None, None, False, tokens)
        stat = known.stat
        return State(
            True, self.resource_of(place, known).etag, stat.mtime_ns // 1_000_000_000, stat.is_collection, tokens
        )

    def require_locks(self, target: Target, terms: Terms, *, is_removal: bool = False) -> None:
        claim = Claim(target.chain, with_parent=is_removal, with_members=is_removal)
        with self.locked_as_seen(target.place), self.tree.database.reading() as connection:
            self.tree.locks.require(connection, claim, user_id=self.principal.id, tokens=terms.tokens)

    @contextlib.contextmanager
    def locked_as_seen(self, place: Place) -> Iterator[None]:
        """Name the lock root in a failure by the user's own path."""
        try:
            yield
        except Locked as failure:
            failure.lock_root = self.shown(place, failure.lock_root)
            raise

    def require_removable(self, target: Target) -> None:
        if target.place.is_mount:
            raise Forbidden("This collection is a mount of the server; it can be neither moved nor deleted")

    @contextlib.contextmanager
    def quota_turn(self, root: StorageRoot, more: int) -> Iterator[None]:
        """Writers that make a storage root with a quota larger go one at a time, so that none slips past it.

        Raises:
            OverQuota: `more` bytes do not fit.
        """
        quota = self.tree.quota_of(root) if more > 0 else None
        if quota is None:
            yield
            return
        with self.tree.guards.hold((-root.id, ())):
            with self.tree.database.reading() as connection:
                used = index.used(connection, root.id)
            if used + more > quota:
                raise OverQuota()
            yield

    def clear(self, connection: Connection, parent: Row, path: Path, cause: Cause) -> None:
        """Remove what the index still holds under a name that is about to be taken.

        Args:
            path: of that name, below the storage root.
        """
        row = index.member(connection, parent.id, path[-1])
        if row is not None:
            journal.drop(connection, row, path, cause)

    def keep_old(self, target: Target, successor: Identity) -> Path | None:
        """Keep the bytes of a file that another is about to replace; says where, None if there is no file.

        What need not be kept is so, too, until the change is committed: it proves what was about to be done, if the
        process dies meanwhile.
        """
        known = target.known
        if known is None or known.stat.is_collection:
            return None
        return target.root.storage.keep(target.place.names, known.row.id, successor)

    def add_version(
        self, connection: Connection, row: Row, kept: Path, sha256: str | None, cause: Cause,
        reason: str = "overwritten",
    ) -> list[Path]:  # fmt: skip
        """Record what `keep_old` kept as a version, unless there is nothing to it.

        Args:
            sha256: of the bytes that are in its place now.
        Returns:
            what to drop once this is committed.
        """
        if not history.is_worth_keeping(row, sha256):
            return [kept]
        most = self.tree.config.settings.history_versions
        return history.add_version(connection, row, kept, cause, most=most, reason=reason)

    def put_in_trash(self, connection: Connection, row: Row, path: Path, kept: Path, cause: Cause) -> None:
        """Record that a resource was put away; its locks end (RFC 4918 §9.6)."""
        self.tree.locks.drop_below(connection, row)
        history.put_in_trash(connection, row, path, kept, cause)

    def cause(self) -> Cause:
        """Why the index changes: this user, now."""
        return Cause(time.time_ns(), self.principal.device_id)
