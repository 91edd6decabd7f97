"""COPY and MOVE (RFC 4918 §9.8, §9.9), all or nothing.

A copy is complete among the temporary files before it appears; a move is one rename. What stood at the
destination is taken aside first, with a record that brings it back if the process dies in between.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from baludav.errors import Failure, Forbidden, NotFound, OverQuota, PreconditionFailed
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.storage import Aside, CrossDevice, Filling, Identity, Staged, Stat
from baludav.tree.guarding import Target
from baludav.tree.namespaces import Place
from baludav.tree.paths import Path
from baludav.tree.reading import Resource, Terms
from baludav.tree.records import history, index, journal, properties, saves
from baludav.tree.records.index import Known, Row
from baludav.tree.records.journal import Cause
from baludav.tree.roots import StorageRoot
from baludav.tree.steps import reached
from baludav.tree.truth.hashing import hash_descriptor
from baludav.tree.writing import Writing, Written


class _Copied(NamedTuple):
    """One member of a copied collection: path within it, the id of what was copied, what the copy is."""

    path: Path
    source_id: int
    stat: Stat
    born_ns: int
    sha256: str | None


def _below(place: Place, names: Path) -> Place:
    for name in names:
        place = place.below(name)
    return place


class Copying(Writing):
    """Copying and moving whole resources."""

    def copy(self, source: Path, target: Path, terms: Terms, *, overwrite: bool, is_infinite: bool) -> Written:
        """COPY (RFC 4918 §9.8), all or nothing: the copy is complete before it appears.

        Args:
            is_infinite: with the members (Depth: infinity); otherwise a collection is copied alone.
        Raises:
            Forbidden: source and target are the same or lie in each other.
            PreconditionFailed: the target exists and `overwrite` is not set.
        """
        self.check_conditions(source, terms, "copy")
        resource = self.look(source)
        from_root = resource.place.root
        if from_root is None:
            raise Forbidden("The collection of all homes cannot be copied")
        place, root = self.writable(target)
        self._require_apart(resource.place, place)
        if not resource.is_collection:
            return self._copy_file(resource, target, terms, overwrite=overwrite)
        self._admit_replacement(self.unguarded(target), terms, overwrite=overwrite)
        staged, copied = self._stage_collection(resource, root, place, is_infinite=is_infinite)
        try:
            with self.guarded(target) as (under_guard,):
                self._admit_replacement(under_guard, terms, overwrite=overwrite)
                return self._install_collection(under_guard, staged, copied)
        finally:
            root.storage.drop(staged)

    def move(self, source: Path, target: Path, terms: Terms, *, overwrite: bool) -> Written:
        """MOVE (RFC 4918 §9.9): one rename on one file system, a copy and a deletion between two.

        Raises: as `copy`.
        """
        self._require_apart(self.writable(source)[0], self.writable(target)[0])
        self.look(source)
        try:
            with self.guarded(source, target) as (origin, goal):
                self.check(origin, terms, "remove")
                if origin.known is None:
                    raise NotFound()
                self.require_removable(origin)
                self.require_locks(origin, terms, is_removal=True)
                self._admit_replacement(goal, terms, overwrite=overwrite, leaves=origin)
                self._require_shallow(origin, goal)
                written = self._rename(origin, origin.known, goal)
        except CrossDevice:
            written = self.copy(source, target, terms, overwrite=overwrite, is_infinite=True)
            self.delete(source, terms)
        for path in (source, target):
            self.note_agreement(path)
        return written

    def _require_apart(self, source: Place, target: Place) -> None:
        if source.root is None or target.root is None:
            raise Forbidden("The collection of all homes belongs to the server")
        if target.is_mount:
            raise Forbidden("This collection is a mount of the server; it cannot be replaced")
        if source.root.id != target.root.id:
            return
        shorter = min(len(source.names), len(target.names))
        if source.names[:shorter] == target.names[:shorter]:
            raise Forbidden("Source and destination are the same, or one lies in the other")

    def _admit_replacement(
        self, target: Target, terms: Terms, *, overwrite: bool, leaves: Target | None = None
    ) -> None:
        """Check that the destination of a COPY or MOVE may be created or replaced."""
        if target.known is not None and not overwrite:
            raise PreconditionFailed("The destination exists, and Overwrite is F")
        self.require_locks(target, terms, is_removal=target.known is not None)
        if leaves is not None and leaves.root.id == target.root.id:
            return  # what moves within a storage root uses no more of its quota
        size = 0
        if leaves is not None:
            with self.tree.database.reading() as connection:
                size = index.subtree_size(connection, leaves.chain[-1].id)
        self.room_for(target.root, target.place, size)

    def _require_shallow(self, origin: Target, goal: Target) -> None:
        """What moves may become so deep that its path is none any more.

        Raises:
            PathTooLong: it would.
        """
        depth, known = len(goal.place.path), origin.known
        if known is not None and known.stat.is_collection and depth > len(origin.place.path):
            with self.tree.database.reading() as connection:
                self.require_depth(depth + index.subtree_depth(connection, known.row.id))

    def _copy_file(self, resource: Resource, path: Path, terms: Terms, *, overwrite: bool) -> Written:
        place, root = self.writable(path)
        self._admit_replacement(self.unguarded(path), terms, overwrite=overwrite)
        room = self.room_for(root, place, resource.size)
        source = self.open(resource.path)
        staged: Staged | None = None
        try:
            if room is not None and source.resource.size > room:
                raise OverQuota()
            staged = root.storage.stage(place.names[:-1])
            self._require_room_for_copies(root, [] if resource.id is None else [resource.id])
            sha256 = self._fill(staged, source.fd, source.resource)
            staged.finish(mtime_ns=resource.modified_ns, sync=self.tree.sync)
            reached("synced")
            with self.guarded(path) as (target,):
                self._admit_replacement(target, terms, overwrite=overwrite)
                if target.known is None or not target.known.stat.is_collection:
                    return self.install(target, staged, sha256, properties_from=resource.id)
                with self._aside(target) as aside:
                    freed = target._replace(known=None, chain=target.chain[:-1])
                    written = self.install(freed, staged, sha256, properties_from=resource.id, replaces=aside)
                return Written(written.resource, is_created=False)
        finally:
            source.close()
            if staged is not None:
                staged.discard()

    def _fill(self, staged: Staged, fd: int, resource: Resource) -> str:
        """Copy a file's bytes; returns their SHA-256, taken again only if the source changed meanwhile."""
        staged.copy_from(fd, resource.size)
        if resource.sha256 is not None and resource.place.root is not None:
            now = self.tree.scan.peek(resource.place.root, resource.place.names)
            if now is not None and now.row.sha256 == resource.sha256 and now.row.signature == now.stat:
                return resource.sha256
        digest = hash_descriptor(staged.fd)
        assert digest is not None
        return digest

    def _stage_collection(
        self, resource: Resource, root: StorageRoot, place: Place, *, is_infinite: bool
    ) -> tuple[Path, list["_Copied"]]:
        """Build the copy of a collection among the temporary files."""
        assert resource.id is not None
        staged, stat = root.storage.stage_folder(place.names[:-1])
        try:
            copied = [_Copied((), resource.id, stat, root.storage.born_ns(staged), None)]
            left: list[Path] = [()] if is_infinite else []
            size = 0
            while left:
                below = left.pop()
                collection = _below(resource.place, below)
                members = self._own_members(collection)
                size += sum(known.stat.size for _, known in members if not known.stat.is_collection)
                self.room_for(root, place, size)
                if members:
                    self.require_depth(len(place.path) + len(below) + 1)
                with root.storage.filling((*staged, *below)) as folder:
                    for name, known in members:
                        relative = (*below, name)
                        if not known.stat.is_collection:
                            with contextlib.suppress(NotFound):  # it was deleted meanwhile
                                copied.append(self._copy_member(collection.below(name), known, folder, relative))
                            continue
                        made = (*staged, *relative)
                        stat = root.storage.make_folder(made)
                        copied.append(_Copied(relative, known.row.id, stat, root.storage.born_ns(made), None))
                        left.append(relative)
            self._require_room_for_copies(root, [item.source_id for item in copied])
            if self.tree.sync:
                root.storage.sync_all(staged)
            root.storage.set_mtime(staged, resource.modified_ns)
        except BaseException:
            root.storage.drop(staged)
            raise
        reached("synced")
        return staged, copied

    def _require_room_for_copies(self, root: StorageRoot, sources: Sequence[int]) -> None:
        """See whether a storage root may have the dead properties of copies, too.

        Args:
            sources: ids of the resources that are copied.
        """
        with self.tree.database.reading() as connection:
            dead = properties.read_many(connection, sources)
            self.tree.properties.require(connection, root.id, sum(map(len, dead.values())))

    def _own_members(self, place: Place) -> list[tuple[str, Known]]:
        """What lies in a collection itself: a share that appears within the home is not part of it."""
        assert place.root is not None
        folder = self.tree.scan.look(place.root, place.names)
        if folder is None:
            raise NotFound()
        hidden = {mount.path[-1] for mount in self.namespace.mounts(place.path)}
        members = self.tree.scan.members(place.root, place.names, folder.row)
        return [(name, known) for name, known in members if name not in hidden]

    @staticmethod
    def _copy_member(place: Place, known: Known, folder: Filling, relative: Path) -> "_Copied":
        assert place.root is not None
        storage, row = place.root.storage, known.row
        source = storage.open_known(place.names, known.stat) if known.is_right else None
        is_known = source is not None
        if source is None:
            source = storage.open(place.names)
        try:
            copied = folder.copy(relative[-1], source, known.stat.size, known.stat.mtime_ns)
            try:
                with translated():
                    is_known = is_known and Stat.of(os.fstat(source)) == row.signature
                sha256 = row.sha256 if is_known else hash_descriptor(copied.fd)
            finally:
                os.close(copied.fd)
        finally:
            os.close(source)
        return _Copied(relative, row.id, copied.stat, copied.born_ns, sha256)

    def _install_collection(self, target: Target, staged: Path, copied: list["_Copied"]) -> Written:
        place, root, known, _ = target
        parent, cause = self.parent_of(target), self.cause()
        size = sum(item.stat.size for item in copied)
        with self.quota_turn(root, size), self._aside(target) as aside:

            def work(connection: Connection) -> Row:
                self._clear(connection, target, away, cause)
                top = self._add_copied(connection, root, parent, place.names, copied, settled, cause)
                index.use(connection, root.id, size)
                return top._replace(changed=journal.write_all(connection, top, place.names, "created", cause))

            root.storage.move(staged, root.storage, place.names)
            try:
                away = None if aside is None else aside.put_away()
                settled = {
                    item.path: self.tree.scan.is_settled(root, (*place.names, *item.path), item.stat, time.time_ns())
                    for item in copied
                }
                row = self.tree.commit(work)
            except Failure:
                root.storage.drop(place.names)
                raise
        reached("committed")
        return Written(self.resource_of(place, Known(row, row.signature)), is_created=known is None)

    @staticmethod
    def _add_copied(
        connection: Connection, root: StorageRoot, parent: Row, names: Path, copied: list["_Copied"],
        settled: Mapping[Path, bool], cause: Cause,
    ) -> Row:  # fmt: skip
        """Add the rows of a copied collection, with the dead properties of what was copied; returns that of its top."""
        folders: dict[Path, Row] = {}
        files = []
        for item in copied:
            values = index.new_values(
                root_id=root.id, name=item.path[-1] if item.path else names[-1],
                parent_id=folders[item.path[:-1]].id if item.path else parent.id, stat=item.stat, sha256=item.sha256,
                born_ns=item.born_ns, created_ns=cause.at_ns, is_settled=settled[item.path],
            )  # fmt: skip
            if item.stat.is_collection:
                folders[item.path] = index.add_row(connection, values)
            else:
                files.append(values)
        index.add_all(connection, files)
        having = properties.read_many(connection, (item.source_id for item in copied))
        for item in copied:
            if item.source_id in having:
                row = folders.get(item.path) or index.member(connection, folders[item.path[:-1]].id, item.path[-1])
                assert row is not None
                index.copy_properties(connection, item.source_id, row.id)
        return folders[()]

    def _rename(self, origin: Target, moved: Known, goal: Target) -> Written:
        """Rename, then give the row its new place; the caller holds both guards and has checked everything."""
        parent, cause = self.parent_of(goal), self.cause()
        row, source, target = moved.row, origin.place.names, goal.place.names
        is_plain = goal.known is None or not (goal.known.stat.is_collection or moved.stat.is_collection)
        replaced = goal if not is_plain else goal._replace(known=None)
        with self._moved_quota(origin, goal), self._aside(replaced) as aside:
            kept = self.keep_old(goal, Identity.of(moved.stat, row.born_ns)) if is_plain else None

            def work(connection: Connection) -> tuple[Row, list[Path]]:
                if is_plain and not moved.stat.is_collection:
                    saved = self.succeed(connection, row, goal, kept, cause)
                    if saved is not None:
                        return self._succeeded(connection, origin, goal, *saved, Known(row, stat), is_settled, cause)
                surplus: list[Path] = []
                size = index.subtree_size(connection, row.id)
                if goal.known is not None and is_plain:  # the history of a name goes on
                    if kept is not None:
                        surplus = self.add_version(connection, goal.known.row, kept, row.sha256, cause)
                    history.inherit(connection, goal.known.row.id, row.id)
                self._clear(connection, goal, away, cause)
                self.tree.locks.drop_below(connection, row)
                journal.write_all(connection, row, source, "deleted", cause)
                index.move(connection, row, root_id=goal.root.id, parent_id=parent.id, name=target[-1])
                index.see(connection, row, stat, sha256=row.sha256, born_ns=row.born_ns, is_settled=is_settled)
                is_same_root = origin.root.id == goal.root.id
                if not is_same_root:
                    index.use(connection, origin.root.id, -size)
                    index.use(connection, goal.root.id, size)
                now = index.by_id(connection, row.id)
                assert now is not None
                number = journal.write_all(
                    connection, now, target, "created", cause, moved_from=source if is_same_root else None
                )
                return now._replace(changed=number), surplus

            is_moved = False
            try:
                stat = origin.root.storage.move(source, goal.root.storage, target)
                is_moved = True
                away = None if aside is None else aside.put_away()
                is_settled = row.is_settled and self.tree.scan.is_settled(goal.root, target, stat, time.time_ns())
                now, surplus = self.tree.commit(work)
            except BaseException:
                with contextlib.suppress(Failure):
                    if is_moved:
                        goal.root.storage.move(target, origin.root.storage, source)
                    if kept is not None:
                        goal.root.storage.move(kept, goal.root.storage, target)
                        goal.root.storage.drop(kept)  # it was a second name of what had stayed
                raise
        reached("committed")
        for path in surplus:
            goal.root.storage.drop(path)
        return Written(self.resource_of(goal.place, Known(now, now.signature)), is_created=goal.known is None)

    def _succeeded(
        self, connection: Connection, origin: Target, goal: Target, old: Row, surplus: list[Path], new: Known,
        is_settled: bool, cause: Cause,
    ) -> tuple[Row, list[Path]]:  # fmt: skip
        """Give the file that stays the bytes of the one that was moved onto its name, whose row goes."""
        row = new.row
        self.tree.locks.drop_below(connection, row)
        journal.write_all(connection, row, origin.place.names, "deleted", cause)
        saves.absorb(connection, old, row)
        index.see(connection, old, new.stat, sha256=row.sha256, born_ns=row.born_ns, is_settled=is_settled)
        if origin.root.id != goal.root.id:
            index.use(connection, origin.root.id, -row.size)
            index.use(connection, goal.root.id, row.size)
        now = index.by_id(connection, old.id)
        assert now is not None
        action = "created" if goal.known is None else "modified"
        return now._replace(changed=journal.write(connection, now, goal.place.names, action, cause)), surplus

    def _clear(self, connection: Connection, target: Target, away: Path | None, cause: Cause) -> None:
        """Take what the index holds at a place out of the way: into the trash if it was put away."""
        if away is not None and target.known is not None:
            self.put_in_trash(connection, target.known.row, target.place.names, away, cause)
        else:
            self.clear(connection, self.parent_of(target), target.place.names, cause)

    def _moved_quota(self, origin: Target, goal: Target) -> contextlib.AbstractContextManager[None]:
        if origin.root.id == goal.root.id:
            return contextlib.nullcontext()
        with self.tree.database.reading() as connection:
            size = index.subtree_size(connection, origin.chain[-1].id)
        return self.quota_turn(goal.root, size)

    @contextlib.contextmanager
    def _aside(self, target: Target) -> Iterator[Aside | None]:
        """Take what is at a place aside while something else is put there; a failure puts it back."""
        if target.known is None:
            yield None
            return
        aside = target.root.storage.take_aside(target.place.names, target.known.row.id)
        try:
            yield aside
        except BaseException:
            with contextlib.suppress(Failure):
                aside.put_back()
            raise
