"""The one door to files, for one process: opens what the rooms of the tree share."""

import fnmatch
import logging
import re
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from sqlalchemy import Connection

from baludav.accounts.accounts import Accounts, Principal
from baludav.config import Config, parse_size
from baludav.db import audit
from baludav.db.audit import Kind, happened
from baludav.db.engine import Database
from baludav.errors import Failure
from baludav.limits.turns import Turns
from baludav.tree.appending import Appending
from baludav.tree.chunking import Chunking
from baludav.tree.copying import Copying
from baludav.tree.disk.guards import Guards
from baludav.tree.feed import Feed
from baludav.tree.locking import Locking
from baludav.tree.patching import Patching
from baludav.tree.records.checksums import Checksums
from baludav.tree.records.locks import Locks
from baludav.tree.records.properties import Room
from baludav.tree.records.sizes import Sizes
from baludav.tree.restoring import Restoring
from baludav.tree.resuming import Progress
from baludav.tree.reusing import Reusing
from baludav.tree.roots import StorageRoot, StorageRoots
from baludav.tree.truth.rounds import Pace
from baludav.tree.truth.scan import Scan
from baludav.tree.truth.watches import Watches
from baludav.tree.upkeep.keeping import Keeper
from baludav.tree.upkeep.recovery import recover

log = logging.getLogger(__name__)
T = TypeVar("T")


class UserTree(Copying, Locking, Restoring, Patching, Reusing, Chunking, Appending, Feed):
    """One user's door to the tree."""


class Tree:
    """Everything below the faces. Open it after `fork`, and close it.

    Attributes:
        sync: bring every write to the disk before acknowledging it (`durability: safe`).
        epoch: of the index; change tokens of another one say nothing.
        progress: what this process knows of uploads in parts, by their id.
        refused_names: matches what no resource may be called that is not there yet.

    Args:
        uploading: counts the uploads that each user sends, in all processes.
    """

    def __init__(self, config: Config, database: Database, accounts: Accounts, uploading: Turns) -> None:
        self.config = config
        self.limits = config.settings.limits
        self.uploading = uploading
        self.database = database
        self.guards = Guards(config.folder / "guards")
        self.roots = StorageRoots(config, database)
        self.locks = Locks(self.limits.locks)
        self.properties = Room(self.limits.properties, self.limits.properties_total)
        self.watches = Watches()
        self.scan = Scan(database, self.guards, self.locks)
        self.sizes = Sizes()
        self.progress: dict[int, Progress] = {}
        self.checksums = Checksums(database, config.settings.checksums)
        self.sync = config.settings.durability == "safe"
        self.epoch = database.note("epoch") or ""
        self.refused_names = _any_of(config.settings.refused_names)
        self._accounts = accounts
        self._keeper: Keeper | None = None
        self._default_quota = parse_size(config.settings.default_quota)

    def of(self, principal: Principal, *, with_homes: bool = True) -> UserTree:
        """The tree as one user sees it.

        Args:
            with_homes: an admin sees the collection of all homes.
        """
        return UserTree(self, principal, with_homes=with_homes)

    def create_home(self, name: str) -> None:
        """Make the home of a new user."""
        self.roots.create("home", name)

    def delete_home(self, name: str, *, files: bool) -> None:
        """Forget a user's home; with `files`, remove what it holds."""
        folder = self.config.folder / "files" / name
        if files:
            event = happened(Kind.HOME_DELETED, name)
            self.commit(lambda connection: audit.record(connection, event))
        self.roots.forget("home", name)
        if files and folder.is_dir():
            import shutil

            shutil.rmtree(folder)

    def quota_of(self, root: StorageRoot) -> int | None:
        """How many bytes a storage root may hold; None without a limit. Shares have none."""
        if root.kind != "home":
            return None
        quota = self._accounts.quota(root.name)
        return self._default_quota if quota is None else quota

    def commit(self, work: Callable[[Connection], T]) -> T:
        """Commit a change of what is in the tree (see `Database.commit`); no account is touched."""
        return self.database.commit(work, spares_accounts=True)

    def end_lock(self, token: str, *, user_id: int | None = None) -> bool:
        """End a lock, that of anybody or only of one user; False if there is none (any more)."""
        event = happened(Kind.LOCK_BROKEN)

        def work(connection: Connection) -> bool:
            held = next((held for held in self.locks.held(connection) if held.lock.token == token), None)
            if held is None or not self.locks.end(connection, token, user_id=user_id):
                return False
            path = f"{held.root[0]} {held.root[1]}: /{'/'.join(held.names)}"
            audit.record(connection, event._replace(user=held.holder, path=path, detail=f"taken by {held.lock.client}"))
            return True

        return self.commit(work)

    def prepare(self) -> None:
        """Clean up after a crash; called once at start, while no request runs."""
        for root in self.roots.everything():
            try:
                left = root.storage.sweep(older_than_ns=time.time_ns()) + recover(self, root)
            except Failure as failure:
                log.error("%s %s: %s", root.kind, root.name, failure)
                continue
            if left:
                log.info("%s %s: cleaned up %d interrupted writes", root.kind, root.name, left)

    def keep(self) -> None:
        """Notice changes made outside and let old things expire, in one process of all that call this."""
        pace = Pace(untold=60.0 * self.config.settings.scan_minutes)
        self._keeper = Keeper(self, pace)
        self._keeper.start()

    def close(self) -> None:
        if self._keeper is not None:
            self._keeper.stop()
        self.scan.close()
        self.watches.close()
        self.guards.close()
        self.roots.close()


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Matches names like one of some, as in `._*`, in any case."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or "(?!)", re.IGNORECASE)
