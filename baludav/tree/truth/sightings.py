"""What was seen of names at which the index is wrong, and what that makes of the index: changes made outside."""

import time
from typing import NamedTuple

from sqlalchemy import Connection

from baludav.tree.disk.storage import Kept, Stat
from baludav.tree.paths import Path
from baludav.tree.records import history, index, journal, saves, vanished
from baludav.tree.records.index import Row
from baludav.tree.records.journal import Cause
from baludav.tree.records.locks import Locks
from baludav.tree.records.vanished import Whereabouts


class Origin(NamedTuple):
    """The resource that was moved to where an inode was found, and where it was before."""

    row: Row
    place: Whereabouts


class Seen(NamedTuple):
    """A look at one name on the disk.

    Attributes:
        row: what the index had there.
        stat: None if nothing is there.
        sha256: of its bytes, if they were hashed or are known.
        kept: the bytes of the row, if they were kept when a request was about to put in their place what is there now;
            so it has done so, and was interrupted.
    """

    name: str
    row: Row | None
    stat: Stat | None
    sha256: str | None = None
    born_ns: int = 0
    is_settled: bool = False
    origin: Origin | None = None
    kept: Kept | None = None

    @property
    def has_news(self) -> bool:
        """False if the bytes of the row are not known, and still cannot be."""
        return self.row is None or (self.row.signature, self.row.sha256) != (self.stat, None) or self.sha256 is not None


class Outcome:
    """Writes what was seen in one folder into the index, in one transaction.

    Args:
        parent: the row of the folder.
        is_same_disk: False after a restore onto another disk, where every inode is new and says nothing.

    Attributes:
        surplus: what lies among what was kept and is to be dropped once this is committed.
    """

    def __init__(self, locks: Locks, folder: Path, parent: Row, *, is_same_disk: bool) -> None:
        self._locks = locks
        self.folder = folder
        self._parent = parent
        self._is_same_disk = is_same_disk
        self._cause = Cause(time.time_ns())
        self.surplus: list[Path] = []

    def write(self, connection: Connection, looks: list[Seen]) -> list[str]:
        """First all that leaves a place, then all that comes to one; returns the names that could not be written."""
        staying, arriving, left = [], [], []
        taken: set[int] = set()
        self.surplus = []
        for look in looks:
            origin = look.origin
            if self._is_same_resource(look):
                staying.append(look)
                continue
            if not self._is_here(connection, look):
                look = look._replace(row=None, kept=None)  # already moved to where it is now, by another folder
            if origin is None:
                arriving.append(look)
            elif origin.row.id in taken:
                arriving.append(look._replace(origin=None))  # two links to what has vanished: one of them is new
            elif vanished.last_place(connection, origin.row.id) != origin.place:
                left.append(look.name)
            else:
                arriving.append(look)
                taken.add(origin.row.id)
        for look in arriving:
            self._keep(connection, look)
        self._take_out(connection, arriving)
        self._put_in(connection, [look for look in arriving if look.stat is not None])
        for look in staying:
            self._keep(connection, look)
            self._succeed(connection, look)
            self._see_again(connection, look)
        return left

    def _is_here(self, connection: Connection, look: Seen) -> bool:
        """True if the index still has at a name what it had."""
        row = None if look.row is None else index.by_id(connection, look.row.id)
        return row is not None and (row.parent_id, row.name) == (self._parent.id, look.name)

    def _is_same_resource(self, look: Seen) -> bool:
        """True if what is at a name now is the resource that was there."""
        row, stat = look.row, look.stat
        if row is None or stat is None or row.is_collection != stat.is_collection:
            return False
        if look.kept is not None:
            return look.origin is None or saves.is_save(row, look.origin.row, look.kept.stat.ctime_ns)
        if (row.device, row.inode, row.born_ns) == (stat.device, stat.inode, look.born_ns):
            return True
        if stat.is_collection:
            return not self._is_same_disk
        return row.sha256 is not None and row.sha256 == look.sha256

    def _take_out(self, connection: Connection, looks: list[Seen]) -> None:
        leaving: dict[int, tuple[Path, Row]] = {}
        for look in looks:
            if look.row is not None:
                leaving[look.row.id] = (*self.folder, look.name), look.row
            if look.origin is not None and not look.origin.place.is_vanished:
                leaving[look.origin.row.id] = look.origin.place.path, look.origin.row
        # The deepest first: what is moved out of something that vanishes does not vanish with it.
        for path, row in sorted(leaving.values(), key=lambda found: -len(found[0])):
            vanished.take_out(connection, self._locks, row, path, self._cause)

    def _put_in(self, connection: Connection, looks: list[Seen]) -> None:
        new = []
        for look in looks:
            assert look.stat is not None
            if look.origin is None:
                new.append(index.new_values(
                    root_id=self._parent.root_id, parent_id=self._parent.id, name=look.name, stat=look.stat,
                    sha256=look.sha256, born_ns=look.born_ns, is_settled=look.is_settled,
                ))  # fmt: skip
                continue
            self._see(connection, look.origin.row, look)
            path = (*self.folder, look.name)
            vanished.put_in(
                connection, look.origin.row, self._parent, path, self._cause, moved_from=look.origin.place.path
            )
        if new:
            after = index.add_all(connection, new)
            size = sum(look.stat.size for look in looks if look.stat is not None and look.origin is None)
            index.use(connection, self._parent.root_id, size)
            journal.write_added(connection, after, self._parent, self.folder, self._cause)
        for look in looks:
            if look.row is not None and vanished.is_gone(connection, look.row):
                self._inherit(connection, look, look.row)

    def _inherit(self, connection: Connection, look: Seen, old: Row) -> None:
        """The history of a name goes on when another file takes the place of what was there."""
        now = index.member(connection, self._parent.id, look.name)
        if now is not None and not now.is_collection and not old.is_collection:
            history.inherit(connection, old.id, now.id)

    def _keep(self, connection: Connection, look: Seen) -> None:
        """Record the bytes that an interrupted request has replaced."""
        row, kept = look.row, look.kept
        if row is None or kept is None:
            return
        if history.is_worth_keeping(row, look.sha256):
            history.add_interrupted(connection, row, kept, self._cause)
        else:
            self.surplus.append(kept.path)

    def _succeed(self, connection: Connection, look: Seen) -> None:
        """End a save by a move that was interrupted: what hangs on the new file is the old one's from now on."""
        if look.row is None or look.kept is None or look.origin is None:
            return
        new = look.origin.row
        place = vanished.whereabouts(connection, new.id)
        if place is None:
            return
        if not place.is_vanished:
            vanished.take_out(connection, self._locks, new, place.path, self._cause)
        history.withdraw(connection, new)
        saves.absorb(connection, look.row, new)

    def _see_again(self, connection: Connection, look: Seen) -> None:
        row, stat = look.row, look.stat
        assert row is not None
        assert stat is not None
        self._see(connection, row, look)
        if stat.is_collection or (row.sha256 == look.sha256 and row.size == stat.size):
            return  # the same bytes under a new signature are no change
        index.use(connection, row.root_id, stat.size - row.size)
        now = row._replace(size=stat.size, sha256=look.sha256)
        journal.write(connection, now, (*self.folder, look.name), "modified", self._cause)

    @staticmethod
    def _see(connection: Connection, row: Row, look: Seen) -> None:
        assert look.stat is not None
        index.see(connection, row, look.stat, sha256=look.sha256, born_ns=look.born_ns, is_settled=look.is_settled)
