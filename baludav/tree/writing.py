"""What a user can change, each change in the same order whoever asks:

1. find the place, check permission, locks, conditions and quota;
2. bring the new bytes into a temporary file on the same file system, hashing them on the way;
3. under the path's guard check everything *again*, and put the bytes in place with one rename;
4. write index row, journal row, ancestors' numbers and quota use in one transaction; only then answer.

A crash before the rename leaves the old bytes and row; after it, the new bytes with a stale signature, which
the next look mends.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection

from baludav import errors
from baludav.errors import BadRequest, DiskFull, EtagMismatch, Failure, MethodNotAllowed, NotFound, OverQuota
from baludav.tree.disk.storage import Aside, Staged
from baludav.tree.guarding import Target
from baludav.tree.namespaces import Place
from baludav.tree.paths import Path
from baludav.tree.reading import Resource, Terms
from baludav.tree.records import index, journal, properties
from baludav.tree.records.index import Known, Row
from baludav.tree.records.journal import Cause
from baludav.tree.roots import StorageRoot
from baludav.tree.saving import Saving
from baludav.tree.steps import reached
from baludav.tree.truth.hashes import Hashes
from baludav.tree.upkeep.expiry import make_room, require_room

NOTHING: Mapping[str, str] = {}
_RETRY_SECONDS = 2
_LARGE = 1 << 20  # bytes; whether so much fits is asked before it comes


@dataclass(frozen=True)
class Written:
    """The outcome of a write: the resource as it is now, and whether it is new."""

    resource: Resource
    is_created: bool


class Incoming:
    """Bytes on their way in; use it as a context manager, which discards what was not put in place.

    Attributes:
        staged: where they are gathered.
        hashes: of them.
    """

    def __init__(
        self, user: "Writing", place: Place, root: StorageRoot, folder: Path, length: int | None, hashes: Hashes,
        *, freed: int = 0,
    ) -> None:  # fmt: skip
        self._user = user
        self._length = length
        self._room = user.room_for(root, place, length, freed=freed)
        self._root = root
        self._folder = folder
        if length is not None and length >= _LARGE:
            make_room(user.tree, root, folder, length)
        self.hashes = hashes
        self.staged: Staged = root.storage.stage(folder)

    def __enter__(self) -> Self:
        tree = self._user.tree
        if not tree.uploading.enter(self._user.principal.id, tree.limits.uploads):
            self.staged.discard()
            raise errors.TooManyUploads(_RETRY_SECONDS).at("uploads")
        return self

    def __exit__(self, *exc: object) -> None:
        self._user.tree.uploading.leave(self._user.principal.id)
        self.staged.discard()

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self.staged.size

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            InsufficientStorage: quota or disk is full.
            TooLarge: more than the server accepts.
        """
        self._user.check_size(self.size + len(data))
        if self._room is not None and self.size + len(data) > self._room:
            raise OverQuota()
        self.hashes.update(data)
        left = max(len(data), (self._length or 0) - self.size)
        self._user.fill(self.staged, data, self._root, self._folder, left)

    def check_length(self) -> None:
        """Compare what came with the length that was announced.

        Raises:
            BadRequest: they differ.
        """
        if self._length is not None and self._length != self.size:
            raise BadRequest(f"{self._length} bytes were announced, {self.size} came")


class Upload(Incoming):
    """New bytes on their way to one path."""

    def __init__(
        self, user: "Writing", path: Path, terms: Terms, length: int | None, announced: Mapping[str, str]
    ) -> None:
        place, root = user.writable(path)
        super().__init__(user, place, root, place.names[:-1], length, Hashes(user.tree.checksums.beside(announced)))
        self._path = path
        self._terms = terms
        self._announced = announced

    def commit(self, *, modified_ns: int | None = None) -> Written:
        """Make the bytes the resource's, all or nothing.

        Args:
            modified_ns: modification time, by default now.
        Raises:
            BadRequest: length or digest differ from what was announced; nothing was changed.
            PreconditionFailed, Locked, InsufficientStorage, Conflict: as for any write.
        """
        self.check_length()
        digests = self.hashes.digests()
        require_digests(digests, self._announced)
        reached("received")
        self.staged.finish(mtime_ns=modified_ns, sync=self._user.tree.sync)
        reached("synced")
        with self._user.guarded(self._path) as (target,):
            self._user.admit(target, dataclasses.replace(self._terms, sha256=digests["sha256"]))
            written = self._user.install(target, self.staged, digests["sha256"], digests=digests)
        self._user.note_agreement(self._path)
        return written


def require_digests(digests: Mapping[str, str], announced: Mapping[str, str]) -> None:
    """Compare what bytes hash to with what was announced, by the name of the hash."""
    if any(digests[name] != value for name, value in announced.items()):
        raise BadRequest("The bytes received do not have the digest that was announced")


class Writing(Saving):
    """Writing bytes, making collections, deleting, and what else changes one resource."""

    def open_write(
        self, path: Path, terms: Terms, *, length: int | None = None, announced: Mapping[str, str] = NOTHING
    ) -> Upload:
        """Begin to replace or create the bytes of one resource.

        Everything that can fail is checked here, before the client sends its bytes, and again at commit.

        Args:
            length: announced size in bytes, None if unknown.
            announced: what the client says the bytes hash to, lower-case hex by the name of the hash.
        Raises:
            Conflict: the parent is no collection (RFC 4918 §9.7.1).
            MethodNotAllowed: `path` is a collection (§9.7.2).
            PreconditionFailed, Locked, Forbidden, InsufficientStorage.
        """
        if length is not None:
            self.check_size(length)
        target = self.unguarded(path)
        terms = dataclasses.replace(terms, sha256=announced.get("sha256", terms.sha256))
        self.admit(target, terms)
        return Upload(self, path, terms, length, announced)

    def replace(
        self, path: Path, terms: Terms, data: bytes | bytearray, *, modified_ns: int | None = None,
        announced: Mapping[str, str] = NOTHING,
    ) -> Written:  # fmt: skip
        """The same for bytes that are all here: everything is checked once, where `open_write` must check twice."""
        self.check_size(len(data))
        hashes = Hashes(self.tree.checksums.beside(announced))
        hashes.update(data)
        digests = hashes.digests()
        with self.guarded(path) as (target,):
            self.admit(target, dataclasses.replace(terms, sha256=digests["sha256"]))
            require_digests(digests, announced)
            folder = target.place.names[:-1]
            staged = target.root.storage.stage(folder)
            try:
                self.fill(staged, data, target.root, folder, len(data))
                reached("received")
                staged.finish(mtime_ns=modified_ns, sync=self.tree.sync)
                reached("synced")
                written = self.install(target, staged, digests["sha256"], digests=digests)
            finally:
                staged.discard()
        self.note_agreement(path)
        return written

    def fill(
        self, staged: Staged, data: bytes | bytearray | memoryview, root: StorageRoot, folder: Path, left: int
    ) -> None:
        """Write to a temporary file; the history gives way before a full disk ends an upload.

        Args:
            left: bytes that are still to come, these included.
        """
        require_room(self.tree, root, folder, staged, left)
        try:
            staged.write(data)
        except DiskFull:
            make_room(self.tree, root, folder, left)
            staged.write(data)

    def admit(self, target: Target, terms: Terms) -> None:
        """Check that a file may be written here: kind, conditions, locks.

        If the bytes that the request brings are there already, the write has been made, by a request whose answer was
        lost or by another device, and what If-Match expects is no condition any more (RFC 9110 §13.1.1).
        """
        try:
            self.check(target, terms, "write")
        except EtagMismatch:
            known = target.known
            if terms.sha256 is None or known is None or known.row.sha256 != terms.sha256:
                raise
        if target.known is not None and target.known.stat.is_collection:
            raise MethodNotAllowed("A collection has no bytes of its own")
        self.require_locks(target, terms)

    def install(
        self, target: Target, staged: Staged, sha256: str, *, properties_from: int | None = None,
        along: Callable[[Connection, Row], None] | None = None, replaces: Aside | None = None,
        reason: str = "overwritten", digests: Mapping[str, str] = NOTHING, reserved: int = 0,
    ) -> Written:  # fmt: skip
        """Put finished bytes in place and commit; the caller holds the guard and has checked everything.

        Args:
            along: what else is to be committed in the same transaction.
            replaces: the collection that was in this place, taken aside.
            reason: why what is replaced becomes a version.
            digests: other hashes of the bytes, to be kept.
            reserved: of these bytes, how many the storage root counts as stored already.
        """
        place, root, known, _ = target
        cause = self.cause()
        old_size = known.stat.size if known else 0
        with self.quota_turn(root, staged.size - old_size - reserved):
            reached("admitted")
            kept = self.keep_old(target, staged.identity)

            def work(connection: Connection) -> tuple[Row, list[Path]]:
                surplus: list[Path] = []
                row = self._row_to_write(connection, target, away, cause)
                action, old = ("created", 0) if row is None else ("modified", row.size)
                if row is None:
                    row, surplus = self.revived(connection, target, sha256, cause)
                elif kept is not None:
                    surplus = self.add_version(connection, row, kept, sha256, cause, reason)
                if row is None:
                    row = index.add(
                        connection, root_id=root.id, parent_id=self.parent_of(target).id, name=place.names[-1],
                        stat=stat, sha256=sha256, born_ns=born_ns, is_settled=is_settled, created_ns=cause.at_ns,
                    )  # fmt: skip
                else:
                    row = index.see(connection, row, stat, sha256=sha256, born_ns=born_ns, is_settled=is_settled)
                if properties_from is not None:
                    index.copy_properties(connection, properties_from, row.id)
                if along is not None:
                    along(connection, row)
                index.use(connection, root.id, stat.size - old)
                self.tree.checksums.add(connection, root.id, digests)
                return row._replace(changed=journal.write(connection, row, place.names, action, cause)), surplus

            try:
                stat = root.storage.put(staged, place.names)
                away = None if replaces is None else replaces.put_away()
                born_ns = staged.born_ns
                is_settled = self.tree.scan.is_settled(root, place.names, stat, time.time_ns())
                row, surplus = self.tree.commit(work)
            except BaseException:
                root.storage.take_back(staged, place.names, kept, has_replaced=known is not None)
                raise
        reached("committed")
        for path in surplus:
            root.storage.drop(path)
        self.tree.scan.trust(root, place.names, row)
        return Written(self.resource_of(place, Known(row, row.signature)), is_created=known is None)

    def _row_to_write(self, connection: Connection, target: Target, away: Path | None, cause: Cause) -> Row | None:
        """The row of the file that is replaced; None for a new one. That of a collection makes way.

        Args:
            away: where the collection lies that was in this place.
        """
        # Whoever changes a row holds the guard of its path, as we do.
        row = (
            target.known.row
            if target.known
            else index.member(connection, self.parent_of(target).id, target.place.names[-1])
        )
        if row is None or not row.is_collection:
            return row
        if away is not None:
            self.put_in_trash(connection, row, target.place.names, away, cause)
        else:
            journal.drop(connection, row, target.place.names, cause)
        return None

    def make_collection(self, path: Path, terms: Terms, dead: Mapping[str, bytes | None] | None = None) -> Written:
        """MKCOL (RFC 4918 §9.3), with dead properties to begin with (RFC 5689).

        Raises:
            MethodNotAllowed: something is there already.
            Conflict: the parent is no collection.
        """
        with self.guarded(path) as (target,):
            place, root, known, _ = target
            self.check(target, terms)
            if known is not None:
                raise MethodNotAllowed("Something is at this path already")
            self.require_locks(target, terms)
            self.require_room_for_properties(root, dead or {})
            parent = self.parent_of(target)
            cause = self.cause()

            def work(connection: Connection) -> Row:
                self.clear(connection, parent, place.names, cause)
                row = index.add(
                    connection, root_id=root.id, parent_id=parent.id, name=place.names[-1], stat=stat,
                    born_ns=born_ns, created_ns=cause.at_ns,
                )  # fmt: skip
                properties.write(connection, row.id, dead or {}, self.tree.properties.of_resource)
                number = journal.write(connection, row, place.names, "created", cause)
                return row._replace(changed=number)

            stat = root.storage.make_folder(place.names)
            try:
                reached("made")
                born_ns = root.storage.born_ns(place.names)
                row = self.tree.commit(work)
            except Failure:
                root.storage.drop(place.names)
                raise
            return Written(self.resource_of(place, Known(row, row.signature)), is_created=True)

    def delete(self, path: Path, terms: Terms) -> None:
        """DELETE (RFC 4918 §9.6), all or nothing, into the trash.

        Raises:
            Locked: a lock is in the way, possibly on a member.
        """
        resource = self.look(path)
        if self.finish_saves(resource, terms):
            self.note_agreement(path)
            return
        with self.guarded(path) as (target,):
            place, root, known, chain = target
            self.check(target, terms, "remove")
            if known is None:
                raise NotFound()
            self.require_removable(target)
            self.require_locks(target, terms, is_removal=True)
            kept = root.storage.put_away(place.names, known.row.id)
            try:
                self.tree.commit(
                    lambda connection: self.put_in_trash(connection, chain[-1], place.names, kept, self.cause())
                )
            except Failure:
                root.storage.move(kept, root.storage, place.names)
                raise
            reached("committed")
        self.note_agreement(path)

    def patch(
        self, path: Path, terms: Terms, dead: Mapping[str, bytes | None], *, modified_ns: int | None = None,
        created_ns: int | None = None,
    ) -> Resource:  # fmt: skip
        """Set (or, with None, remove) dead properties and set times, all or nothing (RFC 4918 §9.2)."""
        with self.guarded(path) as (target,):
            place, root, known, _ = target
            self.check(target, terms)
            if known is None:
                raise NotFound()
            self.require_locks(target, terms)
            self.require_room_for_properties(root, dead, known.row.id)
            row, stat = known
            is_settled = row.is_settled

            def work(connection: Connection) -> None:
                properties.write(connection, row.id, dead, self.tree.properties.of_resource)
                if created_ns is not None:
                    index.set_created(connection, row.id, created_ns)
                if stat != known.stat:
                    index.see(connection, row, stat, sha256=row.sha256, born_ns=row.born_ns, is_settled=is_settled)

            try:
                if modified_ns is not None:
                    stat = root.storage.set_mtime(place.names, modified_ns)
                    is_settled &= self.tree.scan.is_settled(root, place.names, stat, time.time_ns())
                self.tree.commit(work)
            except Failure:
                if modified_ns is not None:
                    root.storage.set_mtime(place.names, known.stat.mtime_ns)
                raise
        return self.look(path)
