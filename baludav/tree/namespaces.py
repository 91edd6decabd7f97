"""A user's namespace: the home at its root, shares and (for admins) all homes as collections in it.

Whoever may not see a place learns nothing of it: it is not found. Shares and the collection of homes hide a
member of the home with the same name.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from baludav.accounts.accounts import Principal
from baludav.config import Settings, Share
from baludav.errors import Forbidden, NotFound, Unavailable
from baludav.tree.paths import RESERVED, Path, is_reserved, spellings, stored
from baludav.tree.roots import StorageRoot, StorageRoots


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path of a user's namespace lies.

    Attributes:
        path: as the user wrote it.
        root: the storage root; None for the collection of all homes, which is on no disk.
        names: below the storage root, as spelled on the disk.
        is_mount: a share or home that appears in the tree here, so it can be neither moved nor deleted.
    """

    path: Path
    root: StorageRoot | None
    names: Path
    can_write: bool
    is_mount: bool

    def below(self, name: str) -> "Place":
        """The place of a member."""
        return Place((*self.path, name), self.root, (*self.names, name), self.can_write, False)


class Namespace:
    """What one user sees, and where it lies.

    Args:
        with_homes: an admin sees the collection of all homes.
    """

    def __init__(
        self, principal: Principal, roots: StorageRoots, settings: Settings, *, with_homes: bool = True
    ) -> None:
        self.principal = principal
        self._roots = roots
        self._settings = settings
        self._sees_homes = principal.is_admin and with_homes

    def place(self, path: Path, *, to_write: bool = False) -> Place:
        """Find where `path` lies.

        Raises:
            NotFound: the user may not see it, or it uses the server's own name.
            Forbidden: `to_write`, and the user may see it but not change it.
        """
        if any(map(is_reserved, path)):
            if to_write:
                raise Forbidden(f"The name {RESERVED} belongs to the server")
            raise NotFound()
        place = self._place(path)
        if to_write and not place.can_write:
            raise Forbidden("You may read here, but not write")
        return place

    def mounts(self, path: Path) -> Iterator[Place]:
        """What appears as a member of `path` without being in its folder."""
        if path == ():
            for name in self._settings.shares:
                if self._may_read(self._settings.shares[name]):
                    with contextlib.suppress(Unavailable):  # never mounted so far: nobody can miss it
                        yield self._place((name,))
            if self._sees_homes:
                yield self._place((self._settings.homes,))
        elif self._sees_homes and _same(path, (self._settings.homes,)):
            for home in self._roots.homes():
                yield self._on_disk((*path, home.name), home, 2, can_write=True)

    def roots(self) -> list[tuple[Path, StorageRoot]]:
        """Every storage root the user sees, with the paths under which it appears; the home comes first."""
        found: list[tuple[Path, StorageRoot]] = [((), self._roots.home(self.principal.name))]
        mounts = list(self.mounts(()))
        for place in mounts:
            below = [place] if place.root is not None else self.mounts(place.path)
            found += [(member.path, member.root) for member in below if member.root is not None]
        return found

    def hidden(self) -> set[str]:
        """Names in the home that a share or the collection of homes hides."""
        return {stored(place.path[0]) for place in self.mounts(())}

    def sees(self, root: StorageRoot) -> Path | None:
        """The path under which a storage root appears to this user."""
        if root.kind == "home":
            if root.name == self.principal.name:
                return ()
            return (self._settings.homes, root.name) if self._sees_homes else None
        share = self._settings.shares.get(root.name)
        return (root.name,) if share and self._may_read(share) else None

    def _place(self, path: Path) -> Place:
        if path:
            first = stored(path[0])
            for name, share in self._settings.shares.items():
                if first == stored(name) and self._may_read(share):
                    return self._on_disk(path, self._roots.share(name), 1, self._may_write(share))
            if self._sees_homes and first == stored(self._settings.homes):
                if len(path) == 1:
                    return Place(path, None, (), can_write=False, is_mount=True)
                return self._on_disk(path, self._roots.home(stored(path[1])), 2, can_write=True)
        return self._on_disk(path, self._roots.home(self.principal.name), 0, can_write=True)

    def _on_disk(self, path: Path, root: StorageRoot, depth: int, can_write: bool) -> Place:
        return Place(path, root, _on_disk(root, path[depth:]), can_write, is_mount=len(path) == depth)

    def _may_read(self, share: Share) -> bool:
        return self.principal.is_admin or self._named(share.read) or self._named(share.write)

    def _may_write(self, share: Share) -> bool:
        return self.principal.is_admin or self._named(share.write)

    def _named(self, names: tuple[str, ...]) -> bool:
        return any(
            name == self.principal.name or (name.startswith("@") and name[1:] in self.principal.groups)
            for name in names
        )


def _on_disk(root: StorageRoot, names: Path) -> Path:
    """The spelling of each name on the disk; a new name gets the stored (NFC) one.

    Linux keeps the bytes of a name, macOS writes the decomposed form: "ä" has two spellings, and a client must
    find its file by either. Where both lie on the disk, each is reached by its own.
    """
    found: Path = ()
    for name in names:
        choices = spellings(name)
        if len(choices) == 1:
            found = (*found, name)
            continue
        there = (choice for choice in choices if root.storage.stat((*found, choice)) is not None)
        found = (*found, next(there, stored(name)))
    return found


def _same(a: Path, b: Path) -> bool:
    return tuple(map(stored, a)) == tuple(map(stored, b))
