"""What changed: entity-tags of collections, change tokens, and the changes since a token.

A token names a moment: the epoch of the index, what the user could see, and the number of the last change. The
changes since then are read from the journal, each path once and as it is now, in pages that end at a number. Who
has no token reads the whole state in pages, in an order of paths, and then the changes since the token of the
first page: together they are one consistent picture, whatever is written meanwhile.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from baludav.db.tables import journal
from baludav.errors import NotFound, TokenExpired
from baludav.tree.paths import Path
from baludav.tree.reading import Reading, Resource
from baludav.tree.records import index
from baludav.tree.records.journal import floor
from baludav.tree.roots import StorageRoot
from baludav.tree.tokens import Token
from baludav.tree.view import Spot, View

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
_AT_ONCE = 2000  # rows
_MOST_PENDING = 10_000  # changes that are counted
_by_others = (
    select(journal.c.root_id, journal.c.path)
    .where(
        journal.c.number > bindparam("since"),
        journal.c.root_id.in_(bindparam("roots", expanding=True)),
        journal.c.device_id.is_distinct_from(bindparam("device", type_=journal.c.device_id.type)),
    )
    .limit(_MOST_PENDING)
    .subquery()
)
_pending = select(func.count()).select_from(select(_by_others).distinct().subquery())


_BEFORE_HOME = (0, ())  # the home comes first; what the root of a namespace has without any disk is before it


class Change(NamedTuple):
    """One path that changed.

    Attributes:
        action: created, modified or deleted.
        resource: as it is now; None if it is gone.
        device_id: of the device that made the last change; None for no device, or a change from outside.
        moved_from: where a resource was before that was moved, if nothing else is there now.
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


class Feed(Reading):
    """What changed in one user's namespace."""

    def token(self, path: Path = ()) -> Token:
        """The moment now, for a collection: it changes when something at or below it does.

        Raises:
            NotFound: no collection there.
        """
        return self.token_of(self._collection(path))

    def token_of(self, resource: Resource) -> Token:
        """The moment at which a collection was looked at."""
        return Token(self.tree.epoch, _sight(self.namespace.roots()), resource.changed)

    def now(self) -> tuple[Token, frozenset[int]]:
        """The moment now for all that the user sees, as the index has it; and the ids of the storage roots in sight."""
        mounts = self.namespace.roots()
        roots = frozenset(root.id for _, root in mounts)
        with self.tree.database.reading() as connection:
            number = index.newest(connection, roots)
        return Token(self.tree.epoch, _sight(mounts), number), roots

    def changes(self, since: Token, *, most: int, path: Path = (), is_deep: bool = True) -> Changes:
        """What changed at or below a collection since a token.

        Args:
            most: how many changes of the journal one page takes.
            is_deep: also below the members; else a member collection stands for all that is below it.
        Raises:
            NotFound: no collection there.
            TokenExpired: the token is from another epoch, or older than what the journal holds.
        """
        under = self._collection(path)
        with self.tree.database.snapshot() as connection:
            view = View(connection, self, self._spelled(under))
            self._check(view, since)
            rows = _journal(view, since.number, most + 1) if view.changed > since.number else []
            has_more = len(rows) > most
            rows = rows[:most]
            number = rows[-1].number if has_more else max(view.newest, since.number)
            changes = list(_collapsed(view, rows, is_deep))
        return Changes(changes, since._replace(number=number, after=None), has_more)

    def listing(self, *, most: int, path: Path = (), after: Token | None = None, is_deep: bool = True) -> Listing:
        """Everything at or below a collection, in pages; the collection itself is not part of it.

        Raises:
            NotFound, TokenExpired: as `changes`.
        """
        under = self._collection(path)
        with self.tree.database.snapshot() as connection:
            view = View(connection, self, self._spelled(under))
            if after is None or after.after is None:
                token = Token(self.tree.epoch, _sight(view.mounts), view.newest)
                found, place = list(view.virtual_members()), None
            else:
                self._check(view, after)
                token, found, place = after._replace(after=None), [], after.after
            for resource, position in view.walk(place, is_deep=is_deep, most=most):
                if len(found) >= most:
                    return Listing(found, token, token._replace(after=place or _BEFORE_HOME))
                found.append(resource)
                place = position
        return Listing(found, token, None)

    def everything(self, found: Callable[[Resource], None]) -> Token:
        """Show each resource that there is, however many, as all were in the one moment that is returned."""
        with self.tree.database.snapshot() as connection:
            view = View(connection, self, ())
            for resource in view.virtual_members():
                found(resource)
            for resource, _ in view.walk(None, is_deep=True, most=_AT_ONCE):
                found(resource)
            return Token(self.tree.epoch, _sight(view.mounts), view.newest)

    def remembers(self, token: Token) -> bool:
        """Whether the history of this server, as far as it goes back, leads on from that moment.

        It does not if the index was lost, or was restored from a backup that is older than the token.
        """
        with self.tree.database.reading() as connection:
            newest = index.newest(connection, [root.id for root in self.tree.roots.everything()])
        return token.epoch == self.tree.epoch and token.number <= newest

    def pending(self, since: Token, device_id: int | None) -> int | None:
        """How many paths others than a device have changed since a token; None if that is not known any more.

        Of very many changes only the first are counted.
        """
        with self.tree.database.snapshot() as connection:
            view = View(connection, self, ())
            try:
                self._check(view, since)
            except TokenExpired:
                return None
            roots = list({root.id for _, root in view.mounts})
            return connection.scalar(_pending, {"since": since.number, "roots": roots, "device": device_id}) or 0

    def check_token(self, token: Token) -> None:
        """Whether changes can be asked for since this token.

        Raises:
            TokenExpired: they cannot.
        """
        with self.tree.database.snapshot() as connection:
            self._check(View(connection, self, ()), token)

    def _collection(self, path: Path) -> Resource:
        resource = self.look(path)
        if not resource.is_collection:
            raise NotFound("There is no collection at this path")
        return resource

    def _spelled(self, collection: Resource) -> Path:
        """The path of a collection in the spelling that its members have: that of the disk."""
        place = collection.place
        if place.root is None:
            return next(mount.path for mount in self.namespace.mounts(()) if mount.root is None)
        depth = len(place.path) - len(place.names)
        mount = next(
            mount for mount, root in self.namespace.roots() if root.id == place.root.id and len(mount) == depth
        )
        return (*mount, *place.names)

    def _check(self, view: View, token: Token) -> None:
        """Whether the changes of the collection in question since a token are known.

        Raises:
            TokenExpired: they are not.
        """
        if (token.epoch, token.sight) != (self.tree.epoch, _sight(view.mounts)):
            raise TokenExpired()
        if view.changed <= token.number:
            # Nothing of it can have been forgotten, however much has elsewhere. But no token is of times to come.
            is_known = token.number <= index.newest(view.connection, {root.id for _, root in view.mounts})
        else:
            is_known = floor(view.connection, {root.id for _, root in view.relevant}) <= token.number
        if not is_known:
            raise TokenExpired()


class _Entry(NamedTuple):
    """A row of the journal."""

    number: int
    root_id: int
    path: str
    action: str
    is_collection: bool
    moved_from: str | None
    device_id: int | None


def _sight(mounts: Iterable[tuple[Path, StorageRoot]]) -> str:
    """Names what a user can see; a token from before it changed says nothing of what came into sight."""
    seen = ";".join(f"{'/'.join(mount)}:{root.id}" for mount, root in mounts)
    return hashlib.sha256(seen.encode()).hexdigest()[:8]


def _journal(view: View, since: int, most: int) -> list[_Entry]:
    relevant = view.relevant
    values = {"since": since, "roots": list({root.id for _, root in relevant}), "most": most}
    if len(relevant) == 1 and len(relevant[0][0]) < len(view.under):
        folder = "/".join(view.under[len(relevant[0][0]) :])
        # "0" is the character after "/".
        found = view.connection.execute(_inside, {**values, "first": folder + "/", "last": folder + "0"})
    else:
        found = view.connection.execute(_page, values)
    return [_Entry._make(row) for row in found]


def _collapsed(view: View, entries: list[_Entry], is_deep: bool) -> Iterator[Change]:
    """Each path once, as it is now."""
    mounts: dict[int, list[tuple[Path, StorageRoot]]] = {}
    for mount, root in view.relevant:
        mounts.setdefault(root.id, []).append((mount, root))
    first: dict[Path, tuple[str, Spot]] = {}
    last: dict[Path, _Entry] = {}
    origin: dict[Path, Spot | None] = {}
    for entry in entries:
        for mount, root in mounts[entry.root_id]:
            spot, action = view.spot(mount, root, entry.path), entry.action
            if spot is None or spot.path == view.under:
                continue
            if not is_deep and len(spot.path) > len(view.under) + 1:
                path = spot.path[: len(view.under) + 1]
                spot, action = Spot(path, mount, root, path[len(mount) :]), "modified"
            first.setdefault(spot.path, (action, spot))
            last[spot.path] = entry
            if action == "created":
                before = None if entry.moved_from is None else view.spot(mount, root, entry.moved_from)
                origin[spot.path] = None if before is None else origin.pop(before.path, None) or before
    for path, (action, spot) in first.items():
        entry, resource = last[path], view.now(spot)
        if resource is None:
            yield Change(path, "deleted", None, entry.is_collection, entry.device_id, None)
            continue
        moved_from = _still_there(view, origin.get(path), first)
        action = "created" if action == "created" else "modified"
        yield Change(path, action, resource, resource.is_collection, entry.device_id, moved_from)


def _still_there(view: View, before: Spot | None, first: Mapping[Path, tuple[str, Spot]]) -> Path | None:
    """Where a client may still have what was moved: not where it never had it, nor where something else is now.

    The deletion may have been on an earlier page.
    """
    if before is None or first.get(before.path, ("deleted",))[0] != "deleted" or view.now(before) is not None:
        return None
    return before.path
