"""LOCK and UNLOCK (RFC 4918 §9.10, §9.11)."""

import hashlib
from collections.abc import Sequence

from sqlalchemy import Connection

from baludav.errors import NotFound, PreconditionFailed
from baludav.tree.paths import Path
from baludav.tree.reading import Terms
from baludav.tree.records.index import Row
from baludav.tree.records.locks import Lock, path_of
from baludav.tree.writing import Writing


class Locking(Writing):
    """Taking, refreshing and releasing locks."""

    def lock(
        self, path: Path, terms: Terms, *, is_exclusive: bool, is_infinite: bool, owner_xml: str, timeout: int
    ) -> tuple[Lock, Path, bool]:
        """LOCK (RFC 4918 §9.10); an unmapped path becomes an empty resource (§7.3).

        Returns:
            the lock, the path of its root, and whether the resource was created.
        Raises:
            Locked: a conflicting lock exists, or the parent is locked by another.
        """
        writes = {"is_exclusive": is_exclusive, "is_infinite": is_infinite, "owner_xml": owner_xml}

        def take(connection: Connection, chain: Sequence[Row]) -> Lock:
            return self.tree.locks.take(
                connection,
                chain,
                user_id=self.principal.id,
                timeout=timeout,
                **writes,  # type: ignore[arg-type]
            )

        with self.guarded(path) as (target,):
            self.check(target, terms)
            if target.known is not None:
                with self.locked_as_seen(target.place):
                    lock = self.tree.database.commit(lambda connection: take(connection, target.chain))
                return lock, path, False
            self.require_locks(target, terms)
            made: list[Lock] = []
            staged = target.root.storage.stage(target.place.names[:-1])
            try:
                staged.finish(mtime_ns=None, sync=self.tree.sync)
                empty = hashlib.sha256().hexdigest()
                with self.locked_as_seen(target.place):
                    self.install(
                        target, staged, empty,
                        along=lambda connection, row: made.append(take(connection, [*target.chain, row])),
                    )  # fmt: skip
            finally:
                staged.discard()
            return made[0], path, True

    def refresh_lock(self, path: Path, terms: Terms, *, timeout: int) -> tuple[Lock, Path]:
        """Start a lock's timeout again; its token comes in the `If` header (RFC 4918 §9.10.2)."""
        target = self.unguarded(path)
        self.check(target, terms)
        if target.known is None:
            raise PreconditionFailed("There is nothing locked at this path")

        def work(connection: Connection) -> tuple[Lock, Path]:
            lock = self.tree.locks.refresh(
                connection, target.chain, user_id=self.principal.id, tokens=terms.tokens, timeout=timeout
            )
            return lock, path_of(connection, lock.resource_id)

        lock, names = self.tree.database.commit(work)
        return lock, self.shown(target.place, names)

    def unlock(self, path: Path, token: str) -> bool:
        """UNLOCK (RFC 4918 §9.11); False if there is no such lock (any more)."""
        self.look(path)
        target = self.unguarded(path)
        if target.known is None:
            raise NotFound()
        return self.tree.database.commit(
            lambda connection: self.tree.locks.release(connection, target.chain, token=token, user_id=self.principal.id)
        )
