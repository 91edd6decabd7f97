"""The history as a user sees it: versions of a file, the trash, and restoring from both.

A restore is a write like any other: conditions, locks, quota and journal apply, and what it replaces becomes a
version. Who may read a place may see its history; who may write there may restore.
"""

import itertools
import os
import secrets
import time
from typing import NamedTuple

from sqlalchemy import Connection

from baludav.db import audit
from baludav.db.audit import Event, Kind, happened
from baludav.errors import Conflict, Failure, Forbidden, NotFound
from baludav.tree.guarding import Target
from baludav.tree.paths import Path, stored
from baludav.tree.reading import NO_TERMS, Resource, Terms
from baludav.tree.records import history, index, journal
from baludav.tree.records.history import START, Deleted, Version
from baludav.tree.records.index import Known
from baludav.tree.records.locks import path_of
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.hashing import hash_descriptor
from baludav.tree.writing import Writing, Written

_BATCH = 200


class TrashEntry(NamedTuple):
    """Something in the trash, with the path it had in the user's namespace."""

    path: Path
    is_collection: bool
    modified_ns: int
    deleted: Deleted


class Restoring(Writing):
    """Looking at the history, and restoring from it."""

    def find(self, resource_id: int) -> Path:
        """Where a resource is that is known by its id.

        Raises:
            NotFound: there is none, or the user may not see it.
        """
        with self.tree.database.reading() as connection:
            row = index.by_id(connection, resource_id)
            names = path_of(connection, resource_id)
        for mount, root in self.namespace.roots():
            if row is not None and root.id == row.root_id and self.look((*mount, *names)).id == resource_id:
                return (*mount, *names)
        raise NotFound()

    def versions(self, path: Path) -> list[Version]:
        """Earlier bytes of a file, newest first.

        Raises:
            NotFound: no file there.
        """
        resource, root = self._file(path)
        if resource.id is None:
            return []
        with self.tree.database.reading() as connection:
            return history.versions_of(connection, root.id, resource.id)

    def open_version(self, path: Path, version_id: int) -> int:
        """A descriptor for reading the bytes of a version, which the caller closes."""
        _, root = self._file(path)
        return root.storage.open(history.parsed(self._version(path, version_id).kept))

    def restore_version(self, path: Path, version_id: int, terms: Terms = NO_TERMS) -> Written:
        """Make the bytes of a version those of the file again; its present bytes become a version.

        Raises:
            NotFound: no such file or version.
            Locked, Forbidden, InsufficientStorage, PreconditionFailed: as for any write.
        """
        version = self._version(path, version_id)
        event = self._told(Kind.VERSION_RESTORED, path, f"replaced {_moment(version.kept_ns)}")
        place, root = self.writable(path)
        self.admit(self.unguarded(path), terms)
        self.room_for(root, place, version.size)
        fd = root.storage.open(history.parsed(version.kept))
        try:
            staged = root.storage.stage(place.names[:-1])
            try:
                staged.copy_from(fd, version.size)
                sha256 = version.sha256 or hash_descriptor(staged.fd)
                assert sha256 is not None
                staged.finish(mtime_ns=version.mtime_ns, sync=self.tree.sync)
                with self.guarded(path) as (target,):
                    self.admit(target, terms)
                    return self.install(
                        target, staged, sha256, reason="restored",
                        along=lambda connection, _: audit.record(connection, event),
                    )  # fmt: skip
            finally:
                staged.discard()
        finally:
            os.close(fd)

    def trash(self, *, most: int = START[0], before: tuple[int, int] = START) -> list[TrashEntry]:
        """What lies in the trash wherever the user may write, newest first.

        Args:
            before: when the one that came last was deleted, and its resource id.
        """
        found: dict[int, TrashEntry] = {}
        for mount, root in self.namespace.roots():
            if not self.namespace.place(mount).can_write:
                continue
            with self.tree.database.reading() as connection:
                for entry in history.trash_of(connection, root.id, before=before, most=most):
                    row = index.by_id(connection, entry.resource_id)
                    if row is not None:
                        path = (*mount, *history.parsed(entry.path))
                        # An admin sees the own home twice.
                        trashed = TrashEntry(path, row.is_collection, row.mtime_ns, entry)
                        found.setdefault(entry.resource_id, trashed)
        newest_first = sorted(found.values(), key=lambda entry: (-entry.deleted.deleted_ns, -entry.deleted.resource_id))
        return newest_first[:most]

    def trashed(self, trash_id: int) -> TrashEntry:
        """One thing in the trash.

        Raises:
            NotFound: no such thing in the user's trash.
        """
        entry, _, mount = self._deleted(trash_id)
        with self.tree.database.reading() as connection:
            row = index.by_id(connection, trash_id)
        if row is None:
            raise NotFound("There is no such thing in the trash")
        return TrashEntry((*mount, *history.parsed(entry.path)), row.is_collection, row.mtime_ns, entry)

    def open_trashed(self, trash_id: int) -> int:
        """A descriptor for reading the bytes of a file in the trash, which the caller closes."""
        entry, root, _ = self._deleted(trash_id)
        return root.storage.open(history.parsed(entry.kept))

    def remove_trashed(self, trash_id: int) -> None:
        """Remove something from the trash for good, with its versions.

        Raises:
            NotFound: no such thing in the user's trash.
            Unavailable: its disk is not mounted.
        """
        entry, root, mount = self._deleted(trash_id)
        path = (*mount, *history.parsed(entry.path))
        event = self._told(Kind.TRASH_REMOVED, path, f"deleted {_moment(entry.deleted_ns)}, {entry.size} bytes")
        self._remove(root, [entry], event, secrets.token_hex())

    def empty_trash(self) -> None:
        """Remove everything for good that lies in the trash where the user may write.

        Raises:
            Unavailable: a disk is not mounted; what lies on those before it is gone.
        """
        for mount, root in self.namespace.roots():
            before = START if self.namespace.place(mount).can_write else (0, 0)
            event, key = self._told(Kind.TRASH_REMOVED, mount, "everything"), secrets.token_hex()
            while entries := self._trash_of(root, before):
                self._remove(root, entries, event, key)
                before = entries[-1].deleted_ns, entries[-1].resource_id

    def restore_deleted(self, trash_id: int) -> Written:
        """Bring something back from the trash to where it was, or beside it if another has taken its place.

        Collections above it that are gone are made again.

        Raises:
            NotFound: no such thing in the user's trash.
            Locked, Forbidden, InsufficientStorage: as for any write.
        """
        entry, root, mount = self._deleted(trash_id)
        names = history.parsed(entry.path)
        for depth in range(len(mount) + 1, len(mount) + len(names)):
            self._require_collection((*mount, *names)[:depth])
        for name in _names(names[-1]):
            path = (*mount, *names[:-1], name)
            with self.guarded(path) as (target,):
                if target.known is None:
                    self.require_locks(target, NO_TERMS)
                    return self._bring_back(target, entry, root)
        raise AssertionError("there is always another name")

    def _bring_back(self, target: Target, entry: Deleted, root: StorageRoot) -> Written:
        place, _, _, _ = target
        parent, cause = self.parent_of(target), self.cause()
        event = self._told(Kind.TRASH_RESTORED, place.path, f"deleted {_moment(entry.deleted_ns)}")
        kept = history.parsed(entry.kept)
        with self.quota_turn(root, entry.size):

            def work(connection: Connection) -> Known:
                row = index.by_id(connection, entry.resource_id)
                if row is None or not history.take_from_trash(connection, entry):
                    raise NotFound()
                self.clear(connection, parent, place.names, cause)
                index.move(connection, row, root_id=root.id, parent_id=parent.id, name=place.names[-1])
                left = history.take_left(connection, entry)
                sha256 = row.sha256 if left is None else left.sha256
                is_settled_now = row.is_settled and is_settled and sha256 is not None and left is None
                index.see(connection, row, stat, sha256=sha256, born_ns=born_ns, is_settled=is_settled_now)
                index.use(connection, root.id, index.subtree_size(connection, row.id))
                now = index.by_id(connection, row.id)
                assert now is not None
                number = journal.write_all(connection, now, place.names, "created", cause)
                audit.record(connection, event)
                return Known(now._replace(changed=number), now.signature)

            stat = root.storage.move(kept, root.storage, place.names)
            try:
                born_ns = root.storage.born_ns(place.names)
                is_settled = self.tree.scan.is_settled(root, place.names, stat, time.time_ns())
                known = self.tree.database.commit(work)
            except Failure:
                root.storage.move(place.names, root.storage, kept)
                raise
        return Written(self.resource_of(place, known), is_created=True)

    def _told(self, kind: Kind, path: Path, detail: str) -> Event:
        principal, shown = self.principal, f"/{'/'.join(path)}"
        return happened(kind, principal.name, device=principal.device, path=shown, detail=detail)

    def _trash_of(self, root: StorageRoot, before: tuple[int, int]) -> list[Deleted]:
        with self.tree.database.reading() as connection:
            return history.trash_of(connection, root.id, before=before, most=_BATCH)

    def _remove(self, root: StorageRoot, entries: list[Deleted], event: Event, key: str) -> None:
        """Remove things for good; how many is counted in one row of the audit trail for each key."""
        root.storage.free()  # the disk is there: else the rows would go, and the bytes stay

        def work(connection: Connection) -> list[Path]:
            removed = [found for entry in entries if (found := history.remove_from_trash(connection, entry))]
            if removed:  # else somebody was faster
                audit.gather(connection, event._replace(times=len(removed)), key)
            return [kept for found in removed for kept in found]

        for kept in self.tree.database.commit(work):
            root.storage.drop(kept)

    def _require_collection(self, path: Path) -> None:
        try:
            resource = self.look(path)
        except NotFound:
            self.make_collection(path, NO_TERMS)
            return
        if not resource.is_collection:
            raise Conflict("A file is now where the collection was that held it")

    def _file(self, path: Path) -> tuple[Resource, StorageRoot]:
        resource = self.look(path)
        if resource.is_collection or resource.place.root is None:
            raise NotFound()
        return resource, resource.place.root

    def _version(self, path: Path, version_id: int) -> Version:
        for version in self.versions(path):
            if version.id == version_id:
                return version
        raise NotFound("There is no such version")

    def _deleted(self, trash_id: int) -> tuple[Deleted, StorageRoot, Path]:
        with self.tree.database.reading() as connection:
            entry = history.deleted(connection, trash_id)
        for mount, root in self.namespace.roots():
            if entry is not None and entry.root_id == root.id:
                if not self.namespace.place(mount).can_write:
                    raise Forbidden("You may read here, but not write")
                return entry, root, mount
        raise NotFound("There is no such thing in the trash")


def _moment(ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ns // 1_000_000_000))


def _names(name: str) -> "itertools.chain[str]":
    """A name, and others beside it for when it is taken."""
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    numbered = (stored(f"{stem} (restored{'' if n == 1 else f' {n}'}){dot}{suffix}") for n in itertools.count(1))
    return itertools.chain((name,), numbered)
