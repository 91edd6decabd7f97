"""Compares the index with the disk, and mends it: the bytes are the truth.

Every look at a resource goes through here. A row whose signature equals the file's costs one `stat`; anything
else was changed outside, is hashed again, and is journalled like any other change. A signature taken so soon
after a change that the file system could not tell a second change apart proves nothing ("racily clean", as git
calls it): such a row is not settled and is hashed again at the next look.
"""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection

from baludav.db.engine import Database
from baludav.errors import Failure, NotFound
from baludav.tree import index, journal
from baludav.tree.guards import Guards
from baludav.tree.index import Row
from baludav.tree.journal import Cause
from baludav.tree.paths import Path
from baludav.tree.roots import StorageRoot
from baludav.tree.storage import Stat

if TYPE_CHECKING:
    from baludav.tree.tree import Tree

REQUEST_SECONDS = 20.0  # how long one request may hash; what takes longer is finished in the background
_BATCH = 500
_CHUNK = 1 << 20
_REMEMBERED = 50_000


class Known(NamedTuple):
    """One resource: what the index says, and what the disk says now."""

    row: Row
    stat: Stat

    @property
    def agrees(self) -> bool:
        """True if the row was made of what is on the disk now."""
        if self.stat.is_collection:
            return self.row.is_collection and (self.row.device, self.row.inode) == (self.stat.device, self.stat.inode)
        return self.row.signature == self.stat

    @property
    def is_right(self) -> bool:
        """True if the row may be used without looking at the bytes again."""
        return self.agrees and (self.stat.is_collection or (self.row.is_settled and self.row.sha256 is not None))


class _Seen(NamedTuple):
    """A look at one name on the disk, with the hash of its bytes if it was taken."""

    name: str
    stat: Stat | None
    sha256: str | None
    born_ns: int
    is_settled: bool


class Scan:
    """Keeps the index in step with the disk, for one process."""

    def __init__(self, database: Database, guards: Guards) -> None:
        self._database = database
        self._guards = guards
        self._remembered: dict[tuple[int, Path], Row] = {}
        self._later: dict[tuple[int, Path], StorageRoot] = {}
        self._background: threading.Thread | None = None

    def look(self, root: StorageRoot, names: Path, *, deadline: float | None = None) -> Known | None:
        """One resource as it is now; None if nothing is there.

        Args:
            deadline: monotonic time until which bytes may be hashed, by default REQUEST_SECONDS from now.
        """
        known = self.peek(root, names)
        if known is not None and known.is_right:
            return known
        if names == ():
            return known
        self._mend(root, names[:-1], [names[-1]], deadline or time.monotonic() + REQUEST_SECONDS)
        return self.peek(root, names)

    def peek(self, root: StorageRoot, names: Path) -> Known | None:
        """The same without mending: the row may be missing (None) or stale. Takes no guard."""
        stat = root.storage.stat(names)
        row = self._remembered.get((root.id, names))
        if row is None or row.signature != stat:
            with self._database.reading() as connection:
                chain = index.chain(connection, root.id, names)
            row = chain[-1] if len(chain) == len(names) + 1 else None
        if stat is None or row is None:
            return None
        known = Known(row, stat)
        if not stat.is_collection and known.is_right:
            self._remember(root, names, row)
        return known

    def remembered(self, root: StorageRoot, names: Path) -> Row | None:
        """A row that was right when this process last saw it; right still, if the disk agrees."""
        return self._remembered.get((root.id, names))

    def trust(self, root: StorageRoot, names: Path, row: Row) -> None:
        """Remember a row that was just committed with the signature of its file."""
        if row.is_settled:
            self._remember(root, names, row)

    def members(
        self, root: StorageRoot, names: Path, folder: Row, *, deadline: float | None = None
    ) -> list[tuple[str, Known]]:
        """All members of a collection as they are now, by name."""
        on_disk = dict(root.storage.scan(names))
        with self._database.reading() as connection:
            rows = index.members(connection, folder.id)
        wrong = [
            name
            for name in on_disk.keys() | rows.keys()
            if name not in on_disk or name not in rows or not Known(rows[name], on_disk[name]).is_right
        ]
        if wrong:
            end = deadline or time.monotonic() + REQUEST_SECONDS
            for start in range(0, len(wrong), _BATCH):
                self._mend(root, names, wrong[start : start + _BATCH], end)
            with self._database.reading() as connection:
                rows = index.members(connection, folder.id)
            for name in wrong:
                stat = root.storage.stat((*names, name))
                if stat is None:
                    on_disk.pop(name, None)
                else:
                    on_disk[name] = stat
        return [(name, Known(rows[name], stat)) for name, stat in sorted(on_disk.items()) if name in rows]

    def is_settled(self, root: StorageRoot, names: Path, stat: Stat, looked_ns: int) -> bool:
        """True if a change after `looked_ns` cannot hide behind this signature."""
        granularity = root.storage.granularity_ns(names[:-1], stat.device)
        return granularity == 0 or looked_ns - stat.ctime_ns > granularity

    def _remember(self, root: StorageRoot, names: Path, row: Row) -> None:
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[root.id, names] = row

    # Mending

    def _mend(self, root: StorageRoot, folder: Path, names: list[str], deadline: float) -> None:
        """Make the rows of some members of one folder agree with the disk."""
        seen = {name: self._see(root, (*folder, name), deadline) for name in names}
        with self._guards.hold((root.id, folder)):
            with self._database.reading() as connection:
                chain = index.chain(connection, root.id, folder)
                rows = {name: index.member(connection, chain[-1].id, name) for name in names} if chain else {}
            missing = self._missing_ancestors(root, folder, chain)
            if missing is None:
                return  # the folder itself is gone; whoever looks at it next learns that
            same_disk = self._is_same_disk(root, chain)
            work = []
            for name in names:
                row = rows.get(name) if not missing else None
                look = self._still(root, (*folder, name), seen[name])
                if look is not None and (look.stat is not None or row is not None):
                    work.append((row, look))
            if work:
                self._database.commit(
                    lambda connection: _apply(connection, folder, chain[-1], missing, work, same_disk)
                )

    def _see(self, root: StorageRoot, names: Path, deadline: float) -> _Seen:
        """Look at one name; hash the bytes unless the index has them right already."""
        name = names[-1]
        known = self.peek(root, names)
        if known is not None and known.is_right:
            return _Seen(name, known.stat, known.row.sha256, known.row.born_ns, True)
        stat = root.storage.stat(names)
        if stat is None:
            return _Seen(name, None, None, 0, False)
        sha256 = None
        looked_ns = time.time_ns()
        if not stat.is_collection:
            try:
                stat, sha256, looked_ns = hash_file(root, names, deadline)
            except NotFound:
                return _Seen(name, None, None, 0, False)
            except Failure:
                sha256 = None  # unreadable for the server; it is listed all the same
            if sha256 is None:
                self._hash_later(root, names)
        is_settled = sha256 is not None and self.is_settled(root, names, stat, looked_ns)
        return _Seen(name, stat, sha256, root.storage.born_ns(names), is_settled)

    def _still(self, root: StorageRoot, names: Path, seen: _Seen) -> _Seen | None:
        """What was seen, if it is still so; None if a request has changed it since (and indexed it)."""
        stat = root.storage.stat(names)
        if stat == seen.stat:
            return seen
        if stat is not None and seen.stat is not None and stat.is_collection and seen.stat.is_collection:
            return seen._replace(stat=stat)
        if stat is None:
            return _Seen(seen.name, None, None, 0, False)
        return None

    def _missing_ancestors(self, root: StorageRoot, folder: Path, chain: list[Row]) -> list[_Seen] | None:
        """Folders above that have no row yet; None if one of them is not on the disk."""
        missing = []
        for depth in range(len(chain), len(folder) + 1):
            names = folder[:depth]
            stat = root.storage.stat(names)
            if stat is None or not stat.is_collection:
                return None
            missing.append(_Seen(names[-1], stat, None, root.storage.born_ns(names), False))
        return missing

    @staticmethod
    def _is_same_disk(root: StorageRoot, chain: list[Row]) -> bool:
        """False after a restore onto another disk, where every inode is a new one and says nothing."""
        stat = root.storage.stat(())
        return stat is not None and (chain[0].device, chain[0].inode) == (stat.device, stat.inode)

    # In the background

    def _hash_later(self, root: StorageRoot, names: Path) -> None:
        self._later[root.id, names] = root
        if self._background is None or not self._background.is_alive():
            self._background = threading.Thread(target=self._drain, name="hashing", daemon=True)
            self._background.start()

    def _drain(self) -> None:
        while self._later:
            (_, names), root = self._later.popitem()
            with contextlib.suppress(Failure):
                self.look(root, names, deadline=float("inf"))


def hash_file(root: StorageRoot, names: Path, deadline: float) -> tuple[Stat, str | None, int]:
    """Signature, SHA-256 and the time of the look; no hash if the file changes or takes too long."""
    fd = root.storage.open(names)
    try:
        stat = _stat_of(fd)
        for _attempt in range(3):
            looked_ns, before = time.time_ns(), stat
            digest = hash_descriptor(fd, deadline)
            stat = _stat_of(fd)
            if before == stat or digest is None:
                return stat, digest, looked_ns
        return stat, None, time.time_ns()
    finally:
        os.close(fd)


def _stat_of(fd: int) -> Stat:
    stat = Stat.of(os.fstat(fd))
    assert stat is not None  # it was opened as a regular file
    return stat


def hash_descriptor(fd: int, deadline: float = float("inf")) -> str | None:
    """SHA-256 of an open file's bytes, lower-case hex; None past the deadline (monotonic seconds)."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    offset = 0
    while size := os.preadv(fd, [buffer], offset):
        digest.update(buffer[:size])
        offset += size
        if time.monotonic() > deadline:
            return None
    return digest.hexdigest()


def _apply(
    connection: Connection,
    folder: Path,
    parent: Row,
    missing: list[_Seen],
    work: list[tuple[Row | None, _Seen]],
    same_disk: bool,
) -> None:
    """Write what was seen into the index, as changes made outside."""
    cause = Cause(time.time_ns())
    path = folder[: len(folder) - len(missing)]
    for seen in missing:
        path = (*path, seen.name)
        parent = index.member(connection, parent.id, seen.name) or _add(connection, path, parent, seen, cause)
    for row, seen in work:
        path = (*folder, seen.name)
        if row is not None and seen.stat is not None and _is_same_resource(row, seen, same_disk):
            _see_again(connection, path, row, seen, cause)
            continue
        if row is not None:
            journal.drop(connection, row, path, cause)
        if seen.stat is not None:
            _add(connection, path, parent, seen, cause)


def _add(connection: Connection, path: Path, parent: Row, seen: _Seen, cause: Cause) -> Row:
    assert seen.stat is not None
    row = index.add(
        connection, root_id=parent.root_id, parent_id=parent.id, name=seen.name, stat=seen.stat, sha256=seen.sha256,
        born_ns=seen.born_ns, is_settled=seen.is_settled,
    )  # fmt: skip
    index.use(connection, row.root_id, row.size)
    return row._replace(changed=journal.write(connection, row, path, "created", cause))


def _see_again(connection: Connection, path: Path, row: Row, seen: _Seen, cause: Cause) -> None:
    assert seen.stat is not None
    index.see(connection, row, seen.stat, sha256=seen.sha256, born_ns=seen.born_ns, is_settled=seen.is_settled)
    if seen.stat.is_collection or (row.sha256 == seen.sha256 and row.size == seen.stat.size):
        return  # the same bytes under a new signature are no change
    index.use(connection, row.root_id, seen.stat.size - row.size)
    journal.write(connection, row._replace(size=seen.stat.size, sha256=seen.sha256), path, "modified", cause)


def _is_same_resource(row: Row, seen: _Seen, same_disk: bool) -> bool:
    """A file keeps its id (and so its properties) while its inode or its bytes stay; else it is another one.

    Inode numbers are used again at once, so the time of birth is compared with them.
    """
    stat = seen.stat
    assert stat is not None
    if row.is_collection != stat.is_collection:
        return False
    if (row.device, row.inode, row.born_ns) == (stat.device, stat.inode, seen.born_ns):
        return True
    if stat.is_collection:
        return not same_disk
    return row.sha256 is not None and row.sha256 == seen.sha256


def refresh(tree: "Tree", root: StorageRoot) -> Iterator[int]:
    """Bring the index of one storage root up to date, folder by folder; yields the files seen in each."""
    folders: list[Path] = [()]
    while folders:
        names = folders.pop()
        known = tree.scan.look(root, names)
        if known is None or not known.stat.is_collection:
            continue
        members = tree.scan.members(root, names, known.row, deadline=float("inf"))
        folders += [(*names, name) for name, member in members if member.stat.is_collection]
        yield sum(not member.stat.is_collection for _, member in members)
