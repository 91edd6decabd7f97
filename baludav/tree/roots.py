"""Storage roots: the folders that hold the homes and the shares, and how each is known again."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as DiskPath
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.exc import IntegrityError

from baludav.config import Config
from baludav.db.engine import Database
from baludav.db.tables import storage_roots
from baludav.errors import Failure, NotFound, Unavailable
from baludav.tree.disk import marker
from baludav.tree.disk.local import LocalStorage
from baludav.tree.disk.storage import Stat, Storage
from baludav.tree.paths import Path
from baludav.tree.records import index
from baludav.tree.records.news import census

log = logging.getLogger(__name__)

_SURE_SECONDS = 0.5  # how long a storage root that was found counts as the one that is there

_all = select(storage_roots.c.id, storage_roots.c.kind, storage_roots.c.name, storage_roots.c.marker)
_one = _all.where(storage_roots.c.kind == bindparam("kind"), storage_roots.c.name == bindparam("name"))


@dataclass(frozen=True, eq=False)
class StorageRoot:
    """One home or share.

    Attributes:
        kind: `home` or `share`.
        name: of the user or of the share.
        top_id: resource id of its own folder.
    """

    id: int
    kind: str
    name: str
    storage: Storage
    top_id: int


class StorageRoots:
    """All storage roots of one installation, opened when first asked for."""

    def __init__(self, config: Config, database: Database) -> None:
        self._database = database
        self._homes = config.folder / "files"
        self._shares = {name: DiskPath(share.folder).expanduser() for name, share in config.settings.shares.items()}
        self._base = config.file.resolve().parent if config.file else DiskPath.cwd()
        self._sync = config.settings.durability == "safe"
        self._open: dict[tuple[str, str], StorageRoot] = {}
        self._homes_counted: tuple[Sequence[Any] | None, list[StorageRoot]] = (None, [])
        self._sure_until: dict[tuple[str, str], float] = {}
        self._failing: set[tuple[str, str]] = set()  # those of which the log tells already

    def home(self, user: str) -> StorageRoot:
        """The home of a user.

        Raises:
            NotFound: there is no such home.
        """
        return self._get("home", user)

    def share(self, name: str) -> StorageRoot:
        """A share of the configuration; made known when first used."""
        return self._get("share", name)

    def everything(self) -> list[StorageRoot]:
        """Every storage root that the index knows and the configuration still names."""
        with self._database.reading() as connection:
            ids = {(row.kind, row.name): row.id for row in connection.execute(_all)}
        known = [key for key in ids if key[0] == "home" or key[1] in self._shares]
        for name in self._shares:
            if ("share", name) not in known:
                known.append(("share", name))
        found_roots = []
        for key in known:
            try:
                root = self._open.get(key)
                found_roots.append(root if root is not None and root.id == ids.get(key) else self._get(*key))
                self._failing.discard(key)
            except Failure as failure:
                if key not in self._failing:
                    self._failing.add(key)
                    log.error("%s %s: %s", *key, failure)
        return found_roots

    def unready(self) -> Iterator[tuple[str, Failure]]:
        """Storage roots that cannot be written to now, and why."""
        with self._database.reading() as connection:
            found = [(row.kind, row.name) for row in connection.execute(_all)]
        for kind, name in found:
            if kind == "share" and name not in self._shares:
                continue
            try:
                self._get(kind, name).storage.stage(()).discard()
            except Failure as failure:
                yield f"{kind} {name}", failure

    def homes(self) -> "list[StorageRoot]":
        """The homes of all users, by name."""
        with self._database.reading() as connection:
            counted = census.row(connection)
            if counted != self._homes_counted[0]:
                names = sorted(row.name for row in connection.execute(_all) if row.kind == "home")
                self._homes_counted = counted, [self._get("home", name) for name in names]
        return self._homes_counted[1]

    def create(self, kind: str, name: str) -> StorageRoot:
        """Make a storage root known: mark its folder and give it a place in the index. Safe to repeat."""
        with self._database.reading() as connection:
            found = connection.execute(_one, {"kind": kind, "name": name}).first()
        if found is not None:
            return self._get(kind, name)
        folder = self._folder(kind, name)
        # A folder that carries a marker already keeps it: the index was lost, or another worker is first.
        mark = marker.read(folder) or marker.make(folder)
        storage = LocalStorage(folder, mark, sync=self._sync)

        def work(connection: Connection) -> None:
            values = {"kind": kind, "name": name, "marker": mark, "used": 0}
            key = connection.execute(storage_roots.insert(), values).inserted_primary_key
            assert key is not None
            top = storage.stat(()) or Stat(True, 0, 0, 0, 0, 0)
            index.add(connection, root_id=key[0], parent_id=None, name="", stat=top, born_ns=storage.born_ns(()))

        try:
            self._database.commit(work)
        except IntegrityError:
            pass  # another process was first
        finally:
            storage.close()
        return self._get(kind, name)

    def forget(self, kind: str, name: str) -> None:
        """Drop a storage root from the index; its files stay."""
        self._open.pop((kind, name), None)
        self._database.commit(
            lambda connection: connection.execute(
                delete(storage_roots).where(storage_roots.c.kind == kind, storage_roots.c.name == name)
            )
        )

    def file(self, root: StorageRoot, names: Path) -> DiskPath | None:
        """Where a file lies on this machine, for another program to read; None if its storage has no plain files."""
        if not isinstance(root.storage, LocalStorage):
            return None
        return self._folder(root.kind, root.name).joinpath(*names)

    def close(self) -> None:
        for root in self._open.values():
            root.storage.close()

    def _folder(self, kind: str, name: str) -> DiskPath:
        if kind == "home":
            return self._homes / name
        return self._base / self._shares[name]

    def _get(self, kind: str, name: str) -> StorageRoot:
        root = self._open.get((kind, name))
        now = time.monotonic()
        if root is not None and now < self._sure_until.get((kind, name), 0.0):
            return root
        with self._database.reading() as connection:
            found = connection.execute(_one, {"kind": kind, "name": name}).first()
            top = index.top(connection, found.id) if found else None
        self._sure_until[kind, name] = now + _SURE_SECONDS
        if root is not None:
            if found is not None and found.id == root.id:
                return root
            self._open.pop((kind, name), None)  # a user was deleted, and perhaps made again, by another process
        if found is None or top is None:
            if kind == "home":
                raise NotFound()
            if not self._folder(kind, name).is_dir():
                raise Unavailable("This storage is not mounted; ask who runs the server")
            return self.create(kind, name)
        storage = LocalStorage(self._folder(kind, name), found.marker, sync=self._sync)
        return self._open.setdefault((kind, name), StorageRoot(found.id, kind, name, storage, top.id))
