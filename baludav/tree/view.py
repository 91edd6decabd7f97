"""What one user sees at and below a collection, as the index says in one moment."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from sqlalchemy import Connection

from baludav.errors import TokenExpired
from baludav.tree.namespaces import Place
from baludav.tree.paths import Path, stored
from baludav.tree.reading import Reading, Resource
from baludav.tree.records import index
from baludav.tree.records.index import Known, Row
from baludav.tree.roots import StorageRoot

Position = tuple[int, Path]
"""Of a storage root among those that the user sees, and of a resource below it.

An admin sees the own home twice, so the id of the root would not do.
"""


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
        self._writable: dict[Path, bool] = {}

    @cached_property
    def relevant(self) -> list[tuple[Path, StorageRoot]]:
        """Mounts at, below or above the collection in question."""
        inner = [(mount, root) for mount, root in self.mounts if mount[: len(self.under)] == self.under]
        if any(mount == self.under for mount, _ in inner) and self.under:
            return inner
        outer = [(mount, root) for mount, root in self.mounts if self.under[: len(mount)] == mount]
        deepest = max(outer, key=lambda found: len(found[0]), default=None)
        return inner if deepest is None or deepest in inner else [deepest, *inner]

    @cached_property
    def newest(self) -> int:
        """Number of the last change in the storage roots of these mounts."""
        return index.newest(self.connection, {root.id for _, root in self.relevant})

    @cached_property
    def changed(self) -> int:
        """Number of the last change at or below the collection in question."""
        if len(self.relevant) == 1:
            mount, root = self.relevant[0]
            row = self.row(root, self.under[len(mount) :])
            if row is not None:
                return row.changed
        return self.newest

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

    def walk(self, after: Position | None, *, is_deep: bool, most: int) -> Iterator[tuple[Resource, Position]]:
        """What the index has below the collection in question, each with its position, after one of them.

        A collection comes before its members, and these come in the order of their names. So what stays where it is
        keeps its turn, whatever comes, goes or moves around it between one page and the next.

        Args:
            is_deep: also below the members.
            most: how many are about to be taken.
        Raises:
            TokenExpired: the position is not below this collection.
        """
        relevant = {mount for mount, _ in self.relevant}
        for number, (mount, root) in enumerate(self.mounts):
            if mount not in relevant or (after is not None and number < after[0]):
                continue
            start = self.under[len(mount) :]
            last = after[1] if after is not None and number == after[0] else None
            if last is not None and last[: len(start)] != start:
                raise TokenExpired()
            top = None if self.shown(mount, start) is None else self.row(root, start)
            if top is None:
                continue
            depth = len(mount) - len(self.under)
            if depth > 0 and last is None and (is_deep or depth == 1):
                yield self.resource(mount, root, (), top), (number, ())
            if is_deep or depth <= 0:
                for names, row in self._below(mount, root, start, start if last is None else last, is_deep, most):
                    yield self.resource(mount, root, names, row), (number, names)

    def _below(
        self, mount: Path, root: StorageRoot, start: Path, after: Path, is_deep: bool, most: int
    ) -> Iterator[tuple[Path, Row]]:
        """The same below one collection of a storage root; `after` is its own path, or one below it."""
        levels: list[tuple[Path, Iterator[Row]]] = []
        for depth in range(len(start), (len(after) if is_deep else len(start)) + 1):
            row = self.row(root, after[:depth])
            if row is None:
                break
            name = after[depth] if depth < len(after) else ""
            levels.append((after[:depth], index.members_after(self.connection, row.id, name, most)))
        while levels:
            folder, members = levels[-1]
            row = next(members, None)
            if row is None:
                levels.pop()
                continue
            names = (*folder, row.name)
            if self.shown(mount, names) is None:
                continue
            yield names, row
            if row.is_collection and is_deep:
                levels.append((names, index.members_after(self.connection, row.id, "", most)))

    def resource(self, mount: Path, root: StorageRoot, names: Path, row: Row) -> Resource:
        if mount not in self._writable:
            self._writable[mount] = self.user.namespace.place(mount).can_write
        place = Place((*mount, *names), root, names, can_write=self._writable[mount], is_mount=not names)
        return self.user.resource_of(place, Known(row, row.signature))
