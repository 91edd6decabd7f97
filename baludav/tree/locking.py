"""LOCK and UNLOCK (RFC 4918 §9.10, §9.11)."""

import hashlib
from collections.abc import Sequence

from sqlalchemy import Connection

from baludav.errors import NotFound, PreconditionFailed
from baludav.tree.paths import Path, stored
from baludav.tree.reading import Terms
from baludav.tree.records.index import Row
from baludav.tree.records.locks import Held, Lock, path_of
from baludav.tree.writing import Writing


class Locking(Writing):
    """Taking, refreshing and releasing locks."""

    def lock(
        self, path: Path, terms: Terms, *, is_exclusive: bool, is_infinite: bool, owner_xml: str, timeout: int,
        client: str,
    ) -> tuple[Lock, Path, bool]:  # fmt: skip
        """LOCK (RFC 4918 §9.10); an unmapped path becomes an empty resource (§7.3).

        Args:
            client: what the program that asks calls itself.
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
                client=client,
                **writes,  # type: ignore[arg-type]
            )

        with self.guarded(path) as (target,):
            self.check(target, terms)
            if target.known is not None:
                with self.locked_as_seen(target.place):
                    lock = self.tree.commit(lambda connection: take(connection, target.chain))
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

        lock, names = self.tree.commit(work)
        return lock, self.shown(target.place, names)

    def unlock(self, path: Path, token: str) -> bool:
        """UNLOCK (RFC 4918 §9.11); False if there is no such lock (any more)."""
        self.look(path)
        target = self.unguarded(path)
        if target.known is None:
            raise NotFound()
        return self.tree.commit(
            lambda connection: self.tree.locks.release(connection, target.chain, token=token, user_id=self.principal.id)
        )

    def own_locks(self) -> list[tuple[Held, Path | None]]:
        """The user's own locks, the oldest first, each with its path; None where the user sees it no more."""
        with self.tree.database.reading() as connection:
            found = [held for held in self.tree.locks.held(connection) if held.lock.user_id == self.principal.id]
        mounts = {root.id: mount for mount, root in reversed(self.namespace.roots())}
        hidden = self.namespace.hidden()
        paths = []
        for held in found:
            mount = mounts.get(held.lock.root_id)
            is_seen = mount is not None and (mount or not held.names or stored(held.names[0]) not in hidden)
            paths.append((*mount, *held.names) if is_seen and mount is not None else None)
        return list(zip(found, paths, strict=True))

    def locks_in_the_way(self, path: Path) -> list[tuple[Held, Path | None]]:
        """Locks of whomever that cover a resource, each with the path of its lock root.

        Raises:
            NotFound: there is nothing.
        """
        roots = {lock.token: root for lock, root in self.locks_on(self.look(path))}
        with self.tree.database.reading() as connection:
            return [
                (held, roots[held.lock.token]) for held in self.tree.locks.held(connection) if held.lock.token in roots
            ]

    def end_own_lock(self, token: str) -> None:
        """End a lock of the user's.

        Raises:
            NotFound: the user holds no such lock (any more).
        """
        if not self.tree.end_lock(token, user_id=self.principal.id):
            raise NotFound("You hold no such lock (any more)")
