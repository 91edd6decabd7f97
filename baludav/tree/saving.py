"""Saves that replace a file by another one: the file stays the same to its users (`baludav.tree.records.saves`)."""

import time

from sqlalchemy import Connection

from baludav.errors import Failure
from baludav.tree.guarding import Guarding, Target
from baludav.tree.paths import Path
from baludav.tree.reading import Resource, Terms
from baludav.tree.records import index, journal, saves
from baludav.tree.records.index import Known, Row
from baludav.tree.records.journal import Cause
from baludav.tree.steps import reached


class Saving(Guarding):
    """What the last step of a save does beside its work."""

    def revived(
        self, connection: Connection, goal: Target, sha256: str | None, cause: Cause, *, before: int | None = None
    ) -> tuple[Row | None, list[Path]]:
        """The file that was deleted where a file is written now, if that was a moment ago: it takes the place again.

        Args:
            sha256: of the bytes that are written.
            before: only if its id is lower.
        Returns:
            its row, and what bytes to drop afterwards; None if there is none.
        """
        gone = saves.deleted_here(connection, goal.root.id, goal.place.names, cause.at_ns)
        if gone is None or (before is not None and gone.row.id > before):
            return None, []
        surplus = saves.revive(connection, gone, sha256, cause, self.tree.config.settings.history_versions)
        parent, name = self.parent_of(goal), goal.place.names[-1]
        index.move(connection, gone.row, root_id=goal.root.id, parent_id=parent.id, name=name)
        return gone.row, surplus

    def succeed(
        self, connection: Connection, new: Row, goal: Target, kept: Path | None, cause: Cause
    ) -> tuple[Row, list[Path]] | None:
        """Let the file at a name, or that was there a moment ago, be the one that is moved there, if that is a save.

        Args:
            new: the file that is moved.
            kept: where the bytes lie that it replaces.
        Returns:
            the file that stays, and what bytes to drop afterwards; None if it is no save, and nothing was done.
        """
        if goal.known is not None:
            old = goal.known.row
            if not saves.is_save(old, new, cause.at_ns):
                return None
            surplus = [] if kept is None else self.add_version(connection, old, kept, new.sha256, cause)
            index.use(connection, goal.root.id, -old.size)
            return old, surplus
        if not saves.is_fresh(new, cause.at_ns):
            return None
        row, surplus = self.revived(connection, goal, new.sha256, cause, before=new.id)
        return None if row is None else (row, surplus)

    def finish_saves(self, resource: Resource, terms: Terms) -> bool:
        """End the saves whose old files lie at or below what is about to be deleted.

        Returns:
            True if that was all there was to delete.
        """
        root = resource.place.root
        if root is None or resource.id is None:
            return False
        if not resource.is_collection:
            name = self._saved_name(resource.id, resource.path, resource.path)
            return name is not None and self._finish_save(resource.path, name, terms)
        if not terms.conditions.is_empty:
            return False  # its conditions are meant of the collection
        with self.tree.database.reading() as connection:
            few = saves.few_below(connection, resource.id)
        for file_id, below in few:
            path = (*resource.path, *below)
            name = self._saved_name(file_id, path, resource.path)
            if name is not None:
                self._finish_save(path, name, terms)
        return False

    def _saved_name(self, file_id: int, path: Path, deleted: Path) -> Path | None:
        """Where a file was a moment ago, if another has been saved there since, outside of what is deleted."""
        place = self.namespace.place(path)
        now_ns = time.time_ns()
        with self.tree.database.reading() as connection:
            row = index.by_id(connection, file_id)
            origin = None if row is None else saves.moved_from(connection, row, now_ns)
        if origin is None or place.root is None:
            return None
        known = self.tree.scan.peek(place.root, origin)
        name = self.shown(place, origin)
        if known is None or not known.is_right or not saves.is_fresh(known.row, now_ns):
            return None
        return None if name[: len(deleted)] == deleted else name

    def _finish_save(self, path: Path, name: Path, terms: Terms) -> bool:
        """Delete an old file; that of its name, which was saved meanwhile, has its id and the rest from now on."""
        with self.guarded(path, name) as (target, saved):
            place, root, known, _ = target
            self.check(target, terms, "remove")
            if known is None or saved.known is None or known.stat.is_collection or saved.known.stat.is_collection:
                return False
            self.require_locks(target, terms, is_removal=True)
            kept = root.storage.put_away(place.names, known.row.id)
            try:
                # The row of the name will be another one: with another signature no process takes it for the old one.
                stat = root.storage.set_mtime(saved.place.names, saved.known.stat.mtime_ns)
                surplus = self.tree.commit(
                    lambda connection: self._exchange(connection, target, saved, Known(saved.known.row, stat), kept)  # type: ignore[union-attr]
                )
            except Failure:
                root.storage.move(kept, root.storage, place.names)
                raise
            reached("committed")
        for gone in surplus:
            root.storage.drop(gone)
        return True

    def _exchange(self, connection: Connection, target: Target, saved: Target, new: Known, kept: Path) -> list[Path]:
        """Give the old file the place and the bytes of the new one, whose row goes; its own bytes become a version."""
        assert target.known is not None
        old, cause = target.known.row, self.cause()
        surplus = self.add_version(connection, old, kept, new.row.sha256, cause)
        self.tree.locks.drop_below(connection, old)
        index.use(connection, old.root_id, -old.size)
        journal.write_all(connection, old, target.place.names, "deleted", cause)
        saves.absorb(connection, old, new.row)
        parent, name = self.parent_of(saved), saved.place.names[-1]
        index.move(connection, old, root_id=old.root_id, parent_id=parent.id, name=name)
        index.see(
            connection, old, new.stat, sha256=new.row.sha256, born_ns=new.row.born_ns, is_settled=new.row.is_settled
        )
        now = index.by_id(connection, old.id)
        assert now is not None
        journal.write(connection, now, saved.place.names, "modified", cause)
        return surplus
