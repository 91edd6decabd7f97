"""What one user sees at and below a collection, as the index says in one moment."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from sqlalchemy import Connection

from baludav.tree import index
from baludav.tree.index import Known, Row
from baludav.tree.namespaces import Place
from baludav.tree.paths import Path, stored
from baludav.tree.reading import Reading, Resource
from baludav.tree.roots import StorageRoot


class Spot(NamedTuple):
    """A path of the user's, and where it lies: names below a storage root that is mounted there."""

    path: Path
    mount: Path
    root: StorageRoot
    names: Path


class View:
    """What one user sees, as the index says in one snapshot."""

    def __init__(self, connection: Connection, user: Reading, under: Path) -> None:
        self.connection = connection
        self.user = user
        self.mounts = user.namespace.roots()
        self.hidden = user.namespace.hidden()
        self.under = under
        self._rows: dict[tuple[int, Path], Row | None] = {}
        self._paths: dict[int, Path | None] = {}

    @cached_property
    def relevant(self) -> list[tuple[Path, StorageRoot]]:
        """Mounts at, below or above the collection in question."""
        inner = [(mount, root) for mount, root in self.mounts if mount[: len(self.under)] == self.under]
        if any(mount == self.under for mount, _ in inner) and self.under:
            return inner
        outer = [(mount, root) for mount, root in self.mounts if self.under[: len(mount)] == mount]
        deepest = max(outer, key=lambda found: len(found[0]), default=None)
        return inner if deepest is None or deepest in inner else [deepest, *inner]

    def shown(self, mount: Path, names: Path) -> Path | None:
        """The user's path of names below a storage root; None if it is not (to be) seen."""
        if not mount and names and stored(names[0]) in self.hidden:
            return None
        path = (*mount, *names)
        return path if path[: len(self.under)] == self.under else None

    def row(self, root: StorageRoot, names: Path) -> Row | None:
        """The resource that is at a path now."""
        key = (root.id, names)
        if key not in self._rows:
            if names == ():
                self._rows[key] = index.top(self.connection, root.id)
            else:
                parent = self.row(root, names[:-1])
                self._rows[key] = None if parent is None else index.member(self.connection, parent.id, names[-1])
        return self._rows[key]

    def names(self, row: Row) -> Path | None:
        """Where a resource lies below its storage root; None if in the trash."""
        if row.id not in self._paths:
            if row.parent_id is None:
                self._paths[row.id] = () if row.name == "" else None
            else:
                parent = self.names_of(row.parent_id)
                self._paths[row.id] = None if parent is None else (*parent, row.name)
        return self._paths[row.id]

    def names_of(self, resource_id: int) -> Path | None:
        if resource_id not in self._paths:
            row = index.by_id(self.connection, resource_id)
            self._paths[resource_id] = None if row is None else self.names(row)
        return self._paths[resource_id]

    def spot(self, mount: Path, root: StorageRoot, path: str) -> Spot | None:
        """Where the user sees a path of the journal; None if they do not."""
        names = tuple(path.split("/")) if path else ()
        shown = self.shown(mount, names)
        return None if shown is None else Spot(shown, mount, root, names)

    def now(self, spot: Spot) -> Resource | None:
        """The resource that is at a path now; None if it is gone."""
        if len(spot.path) < len(spot.mount):
            return self.user.look(spot.path)  # the collection of all homes, of which no index knows
        row = self.row(spot.root, spot.names)
        return None if row is None else self.resource(spot.mount, spot.root, spot.names, row)

    def virtual_members(self) -> Iterator[Resource]:
        """The collection of all homes, where it is a member of the one in question."""
        if self.under == ():
            for place in self.user.namespace.mounts(()):
                if place.root is None:
                    yield self.user.look(place.path)

    def resource(self, mount: Path, root: StorageRoot, names: Path, row: Row) -> Resource:
        place = Place((*mount, *names), root, names, can_write=False, is_mount=not names)
        return self.user.resource_of(place, Known(row, row.signature))
