"""What a user can see: resources, their members, their bytes, properties, locks and quota."""

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from baludav.accounts.accounts import Principal
from baludav.errors import NotFound, Unavailable
from baludav.tree.disk.storage import Stat
from baludav.tree.http.preconditions import ABSENT, Conditions, State
from baludav.tree.namespaces import Namespace, Place
from baludav.tree.paths import Path
from baludav.tree.records import index, properties
from baludav.tree.records.index import Known
from baludav.tree.records.locks import Lock, path_of
from baludav.tree.roots import StorageRoot

if TYPE_CHECKING:
    from baludav.tree.tree import Tree


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as a user sees it.

    Attributes:
        path: in the user's namespace.
        id: stays through rename, move and content change; None for the collection of all homes.
        sha256: of the bytes, lower-case hex; None for a collection, or for bytes so many that the request's time
            was not enough to hash them (it continues in the background).
        etag: bare entity-tag: the SHA-256 of a file; of a collection, what changes with any change below it.
        size: bytes.
        changed: number of the last change at or below it.
    """

    path: Path
    place: Place
    id: int | None
    is_collection: bool
    size: int
    sha256: str | None
    etag: str | None
    modified_ns: int
    created_ns: int
    changed: int

    @property
    def name(self) -> str:
        return self.path[-1] if self.path else ""

    @property
    def modified(self) -> int:
        """Whole seconds since the epoch, as HTTP dates have it; never negative."""
        return max(0, self.modified_ns // 1_000_000_000)


class OpenFile:
    """A file open for reading. The bytes cannot change under it: writes replace files, they never edit them.

    Attributes:
        fd: closed by `close`.
    """

    def __init__(self, fd: int, resource: Resource) -> None:
        self.fd = fd
        self.resource = resource

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass(frozen=True)
class Terms:
    """The conditions of one request.

    Attributes:
        resolve: the path that a resource tag of an `If` header means; None if it is none of this server's.
        sha256: what the request says the bytes hash to that it brings, lower-case hex; None: it says nothing.
    """

    conditions: Conditions
    resolve: Callable[[str], Path | None]
    sha256: str | None = None

    @property
    def tokens(self) -> frozenset[str]:
        return self.conditions.tokens


NO_TERMS = Terms(Conditions.parse({}), lambda tag: None)


class Reading:
    """The reading half of one user's door to the tree."""

    def __init__(self, tree: "Tree", principal: Principal, *, with_homes: bool = True) -> None:
        self.tree = tree
        self.principal = principal
        self.namespace = Namespace(principal, tree.roots, tree.config.settings, with_homes=with_homes)

    def look(self, path: Path) -> Resource:
        """The resource at `path`.

        Raises:
            NotFound: nothing there that this user may see.
            Unavailable: the disk behind it is not mounted.
        """
        place = self.namespace.place(path)
        if place.root is None:
            return self._virtual(place)
        known = self.tree.scan.look(place.root, place.names)
        if known is None:
            raise NotFound()
        return self.resource_of(place, known)

    def members(self, resource: Resource) -> list[Resource]:
        """The members of a collection, in the order of their names."""
        found: dict[str, Resource] = {}
        root = resource.place.root
        if root is not None:
            known = self.tree.scan.look(root, resource.place.names)
            if known is None:
                raise NotFound()
            for name, member in self.tree.scan.members(root, resource.place.names, known.row):
                found[name] = self.resource_of(resource.place.below(name), member)
        for place in self.namespace.mounts(resource.path):
            found.pop(place.path[-1], None)
            if place.root is None:
                found[place.path[-1]] = self._virtual(place)
            elif (top := self._top_of(place.root)) is not None:
                found[place.path[-1]] = self.resource_of(place, top)
        return [found[name] for name in sorted(found)]

    def _top_of(self, root: StorageRoot) -> Known | None:
        """The collection that a storage root appears as; as last seen while its disk is not mounted."""
        try:
            return self.tree.scan.look(root, ())
        except Unavailable:
            with self.tree.database.reading() as connection:
                row = index.top(connection, root.id)
            return None if row is None else Known(row, row.signature)

    def open(self, path: Path) -> OpenFile:
        """Open the bytes of a resource; its entity-tag is that of just these bytes.

        Raises:
            NotFound: nothing there, or a collection.
        """
        place = self.namespace.place(path)
        if place.root is None:
            raise NotFound()
        known = None
        for _attempt in range(5):
            known = self.tree.scan.look(place.root, place.names)
            if known is None or known.stat.is_collection:
                raise NotFound()
            fd = place.root.storage.open_known(place.names, known.stat)
            if fd is not None:
                return OpenFile(fd, self.resource_of(place, known))
            # Replaced between the look and the opening: look again.
        # Something outside keeps writing to it: serve the bytes without a claim about them.
        assert known is not None
        fd = place.root.storage.open(place.names)
        resource = self.resource_of(place, Known(known.row._replace(sha256=None), Stat.of(os.fstat(fd)) or known.stat))
        return OpenFile(fd, resource)

    def quota(self, resource: Resource) -> tuple[int, int] | None:
        """Bytes used and bytes available where a collection lies (RFC 4331); None if on no disk."""
        root = resource.place.root
        if root is None:
            return None
        with self.tree.database.reading() as connection:
            used = index.used(connection, root.id)
        free = root.storage.free(resource.place.names if resource.is_collection else resource.place.names[:-1])
        limit = self.tree.quota_of(root)
        return used, free if limit is None else max(0, min(free, limit - used))

    def sizes(self, resources: list[Resource]) -> dict[int, int]:
        """Bytes of all files below each collection among some resources, by resource id."""
        with self.tree.database.snapshot() as connection:
            return self.tree.sizes.below(connection, [r.id for r in resources if r.is_collection and r.id is not None])

    def checksums(self, resources: list[Resource], *, is_complete: bool) -> Mapping[str, Mapping[str, str]]:
        """Other hashes of files, by the SHA-256 of their bytes and by name.

        Args:
            is_complete: read those files whose hashes are not known yet.
        """
        sums = self.tree.checksums
        files: dict[StorageRoot, dict[str, Path]] = {}
        for resource in resources:
            if resource.place.root is not None and resource.sha256 is not None and not resource.is_collection:
                files.setdefault(resource.place.root, {})[resource.sha256] = resource.place.names
        found: dict[str, Mapping[str, str]] = {}
        for root, names in files.items() if sums.kept else ():
            known = sums.known(root.id, names)
            missing = [names[sha256] for sha256 in names if not sums.is_complete(known.get(sha256))]
            if missing and is_complete:
                sums.compute(root, missing)
                known = sums.known(root.id, names)
            found |= known
        return found

    def properties(self, resource: Resource) -> dict[str, bytes]:
        """Dead properties, serialised, by name in Clark notation."""
        if resource.id is None:
            return {}
        with self.tree.database.reading() as connection:
            return properties.read(connection, resource.id)

    def properties_of(self, resources: list[Resource]) -> dict[int, dict[str, bytes]]:
        """The same for many resources, by resource id; those without any are missing."""
        with self.tree.database.reading() as connection:
            return properties.read_many(connection, (r.id for r in resources if r.id is not None))

    def locks_on(self, resource: Resource) -> list[tuple[Lock, Path]]:
        """Locks that cover a resource, each with the path of its lock root."""
        root = resource.place.root
        if root is None:
            return []
        with self.tree.database.reading() as connection:
            if not self.tree.locks.has_any(connection, root.id):
                return []
            chain = index.chain(connection, root.id, resource.place.names)
            if len(chain) != len(resource.place.names) + 1:
                return []
            found = self.tree.locks.covering(connection, chain)
            return [(lock, self.shown(resource.place, path_of(connection, lock.resource_id))) for lock in found]

    def shown(self, near: Place, names: Path) -> Path:
        """The user's path of names below a storage root, as seen from a place in the same root."""
        assert near.root is not None
        base = near.path[: len(near.path) - len(near.names)]
        return (*base, *names)

    def state(self, path: Path | None) -> State:
        """What the preconditions of a request are compared with; what the user may not see is absent."""
        if path is None:
            return ABSENT
        try:
            resource = self.look(path)
        except NotFound:
            return ABSENT
        tokens = frozenset(lock.token for lock, _ in self.locks_on(resource))
        return State(True, resource.etag, resource.modified, resource.is_collection, tokens)

    def check_if(self, path: Path, terms: Terms) -> None:
        """Evaluate the `If` header (RFC 4918 §10.4) of a request on `path`.

        Raises:
            PreconditionFailed: no list of it holds.
        """
        terms.conditions.check_if(lambda tag: self.state(path if tag is None else terms.resolve(tag)))

    def resource_of(self, place: Place, known: Known) -> Resource:
        """What the index and the disk know of a place, as the user sees it."""
        row, stat = known
        etag, changed = row.sha256, row.changed
        if stat.is_collection:
            if place.path == ():
                changed, etag = self._newest_of(list(self.namespace.roots()))
            else:
                etag = f"{self.tree.epoch}-{row.id}-{changed}"
        return Resource(
            place.path, place, row.id, stat.is_collection, stat.size, row.sha256, etag, stat.mtime_ns,
            row.created_ns, changed,
        )  # fmt: skip

    def _virtual(self, place: Place) -> Resource:
        roots = [(mount, root) for mount, root in self.namespace.roots() if mount[:-1] == place.path and mount]
        changed, etag = self._newest_of(roots)
        return Resource(place.path, place, None, True, 0, None, etag, 0, 0, changed)

    def _newest_of(self, roots: "list[tuple[Path, StorageRoot]]") -> tuple[int, str]:
        """Number of the last change in some storage roots, and the entity-tag of a collection that holds them."""
        with self.tree.database.reading() as connection:
            changed = index.newest(connection, [root.id for _, root in roots])
        seen = ";".join(f"{mount}:{root.id}" for mount, root in roots)
        return changed, f"{self.tree.epoch}-{zlib.crc32(seen.encode()):08x}-{changed}"
