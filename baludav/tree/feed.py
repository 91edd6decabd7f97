"""What changed: entity-tags of collections, change tokens, and the changes since a token.

A token names a moment: the epoch of the index, what the user could see, and the number of the last change. The
changes since then are read from the journal, each path once and as it is now, in pages that end at a number. Who
has no token reads the whole state in pages by resource id, and then the changes since the token of the first
page: together they are one consistent picture, whatever is written meanwhile.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from baludav.db.tables import journal, meta
from baludav.errors import NotFound, TokenExpired
from baludav.tree import index
from baludav.tree.index import Row
from baludav.tree.namespaces import Place
from baludav.tree.paths import Path, stored
from baludav.tree.reading import Reading, Resource
from baludav.tree.roots import StorageRoot
from baludav.tree.scan import Known

FLOOR = "journal_floor"  # key in `meta`: changes up to this number are forgotten

_since = (
    select(
        journal.c.number, journal.c.root_id, journal.c.path, journal.c.action, journal.c.is_collection,
        journal.c.moved_from, journal.c.device_id,
    )
    .where(
        journal.c.number > bindparam("since"),
        journal.c.root_id.in_(bindparam("roots", expanding=True)),
    )
    .order_by(journal.c.number)
)  # fmt: skip
_page = _since.limit(bindparam("most"))
_inside = _since.where(journal.c.path >= bindparam("first"), journal.c.path < bindparam("last")).limit(
    bindparam("most")
)
_floor = select(meta.c.value).where(meta.c.key == FLOOR)


class Token(NamedTuple):
    """A moment in one user's namespace.

    Attributes:
        sight: names the storage roots that the user could see.
        number: of the last change before it.
        after: while the whole state is read: the storage root and resource id up to which it was.
    """

    epoch: str
    sight: str
    number: int
    after: tuple[int, int] | None = None

    def __str__(self) -> str:
        text = f"{self.epoch}.{self.sight}.{self.number}"
        return text if self.after is None else f"{text}.{self.after[0]}.{self.after[1]}"

    @classmethod
    def parse(cls, text: str) -> "Token":
        """The token that a client got once.

        Raises:
            TokenExpired: it is none of this server's.
        """
        match text.split("."):
            case [epoch, sight, *numbers] if all(n.isascii() and n.isdigit() and len(n) < 19 for n in numbers):
                match [int(number) for number in numbers]:
                    case [number]:
                        return cls(epoch, sight, number)
                    case [number, root_id, resource_id]:
                        return cls(epoch, sight, number, (root_id, resource_id))
        raise TokenExpired()


class Change(NamedTuple):
    """One path that changed.

    Attributes:
        action: created, modified or deleted.
        resource: as it is now; None if it is gone.
        device_id: of the device that made the last change; None for no device, or a change from outside.
        moved_from: where a created resource was before, if it was moved.
    """

    path: Path
    action: str
    resource: Resource | None
    is_collection: bool
    device_id: int | None
    moved_from: Path | None


class Changes(NamedTuple):
    """One page of changes, in the order in which the paths were first touched."""

    changes: list[Change]
    token: Token
    has_more: bool


class Listing(NamedTuple):
    """One page of everything there is.

    Attributes:
        token: of the moment that the first page was read.
        next: what to give for the next page; None after the last.
    """

    resources: list[Resource]
    token: Token
    next: Token | None


class _View:
    """What one user sees, as the index says in one snapshot."""

    def __init__(self, connection: Connection, user: "Feed", under: Path) -> None:
        self.connection = connection
        self.user = user
        self.mounts = user.namespace.roots()
        self.hidden = user.namespace.hidden()
        self.under = under
        self._rows: dict[tuple[int, Path], Row | None] = {}
        self._paths: dict[int, Path | None] = {}

    @property
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

    def resource(self, mount: Path, root: StorageRoot, names: Path, row: Row) -> Resource:
        place = Place((*mount, *names), root, names, can_write=False, is_mount=not names)
        return self.user.resource_of(place, Known(row, row.signature))


class Feed(Reading):
    """What changed in one user's namespace."""

    def token(self, path: Path = ()) -> Token:
        """The moment now, for a collection: it changes when something at or below it does.

        Raises:
            NotFound: no collection there.
        """
        resource = self.look(path)
        if not resource.is_collection:
            raise NotFound()
        return self.token_of(resource)

    def token_of(self, resource: Resource) -> Token:
        """The moment at which a collection was looked at."""
        return Token(self.tree.epoch, self.sight(), resource.changed)

    def changes(self, since: Token, *, most: int, path: Path = (), is_deep: bool = True) -> Changes:
        """What changed at or below a collection since a token.

        Args:
            most: how many changes of the journal one page takes.
            is_deep: also below the members; else a member collection stands for all that is below it.
        Raises:
            TokenExpired: the token is from another epoch, or older than what the journal holds.
        """
        self.look(path)
        with self.tree.database.snapshot() as connection:
            view = _View(connection, self, path)
            newest = self._check(connection, view, since)
            rows = self._journal(view, since.number, most + 1)
            has_more = len(rows) > most
            rows = rows[:most]
            number = rows[-1].number if has_more else max(newest, since.number)
            changes = list(_collapsed(view, rows, is_deep))
        return Changes(changes, since._replace(number=number, after=None), has_more)

    def listing(self, *, most: int, path: Path = (), after: Token | None = None, is_deep: bool = True) -> Listing:
        """Everything at or below a collection, in pages; the collection itself is not part of it.

        Raises:
            TokenExpired: as `changes`.
        """
        self.look(path)
        with self.tree.database.snapshot() as connection:
            view = _View(connection, self, path)
            if after is None:
                newest = index.newest(connection, {root.id for _, root in view.relevant})
                after = Token(self.tree.epoch, self.sight(), newest, (0, 0))
            else:
                self._check(connection, view, after)
            return self._listing(view, after, most, is_deep)

    def _listing(self, view: _View, after: Token, most: int, is_deep: bool) -> Listing:
        found: list[Resource] = []
        token = after._replace(after=None)
        depth = len(view.under)
        order = sorted(view.relevant, key=lambda mounted: (mounted[1].id, mounted[0]))
        at = after.after or (0, 0)
        if at == (0, 0):
            found += self._virtual_collections(view)
        for mount, root in order:
            last = at[1] if root.id == at[0] else 0
            if root.id < at[0]:
                continue
            while True:
                rows = index.page(view.connection, root.id, after=last, most=most)
                for row in rows:
                    last = row.id
                    names = view.names(row)
                    path = None if names is None else view.shown(mount, names)
                    if names is None or path is None or path == view.under:
                        continue
                    if is_deep or len(path) == depth + 1:
                        found.append(view.resource(mount, root, names, row))
                    if len(found) >= most:
                        return Listing(found, token, after._replace(after=(root.id, last)))
                if len(rows) < most:
                    break
        return Listing(found, token, None)

    def _virtual_collections(self, view: _View) -> Iterator[Resource]:
        """The collection of all homes, where it is a member of what is listed."""
        if view.under == ():
            yield from (self.look(place.path) for place in self.namespace.mounts(()) if place.root is None)

    def _check(self, connection: Connection, view: _View, token: Token) -> int:
        newest = index.newest(connection, {root.id for _, root in view.mounts})
        floor = int(connection.scalar(_floor) or 0)
        if (token.epoch, token.sight) != (self.tree.epoch, self.sight()) or not floor <= token.number <= newest:
            raise TokenExpired()
        return index.newest(connection, {root.id for _, root in view.relevant})

    @staticmethod
    def _journal(view: _View, since: int, most: int) -> list["_Entry"]:
        relevant = view.relevant
        values = {"since": since, "roots": list({root.id for _, root in relevant}), "most": most}
        if len(relevant) == 1 and len(relevant[0][0]) < len(view.under):
            folder = "/".join(view.under[len(relevant[0][0]) :])
            # "0" is the character after "/".
            return [_Entry._make(row) for row in view.connection.execute(
                _inside, {**values, "first": folder + "/", "last": folder + "0"}
            )]  # fmt: skip
        return [_Entry._make(row) for row in view.connection.execute(_page, values)]

    def sight(self) -> str:
        """Names what the user can see; a token from before it changed says nothing of what came into sight."""
        seen = ";".join(f"{'/'.join(mount)}:{root.id}" for mount, root in self.namespace.roots())
        return hashlib.sha256(seen.encode()).hexdigest()[:8]


class _Entry(NamedTuple):
    """A row of the journal."""

    number: int
    root_id: int
    path: str
    action: str
    is_collection: bool
    moved_from: str | None
    device_id: int | None


def _collapsed(view: _View, entries: list[_Entry], is_deep: bool) -> Iterator[Change]:
    """Each path once, as it is now."""
    mounts: dict[int, list[tuple[Path, StorageRoot]]] = {}
    for mount, root in view.relevant:
        mounts.setdefault(root.id, []).append((mount, root))
    first: dict[Path, tuple[str, Path, StorageRoot, Path]] = {}
    last: dict[Path, _Entry] = {}
    origin: dict[Path, Path] = {}
    for entry in entries:
        names = tuple(entry.path.split("/")) if entry.path else ()
        for mount, root in mounts[entry.root_id]:
            path = view.shown(mount, names)
            if path is None or path == view.under:
                continue
            action = entry.action
            if not is_deep and len(path) > len(view.under) + 1:
                path = path[: len(view.under) + 1]
                names = path[len(mount) :]
                action = "modified"
            first.setdefault(path, (action, mount, root, names))
            last[path] = entry
            if entry.moved_from is not None and action == "created":
                before = (*mount, *entry.moved_from.split("/"))
                origin[path] = origin.pop(before, before)
    for path, (action, mount, root, names) in first.items():
        entry, row = last[path], view.row(root, names)
        if row is None:
            yield Change(path, "deleted", None, entry.is_collection, entry.device_id, None)
            continue
        action = "created" if action == "created" else "modified"
        moved_from = origin.get(path)
        if moved_from is not None and (first.get(moved_from, ("",))[0] != "deleted" or moved_from == path):
            moved_from = None  # the client never had it there
        resource = view.resource(mount, root, names, row)
        yield Change(path, action, resource, row.is_collection, entry.device_id, moved_from)
