"""Compares the index with the disk, and has it mended: the bytes are the truth.

Every look at a resource goes through here. A row whose signature equals the file's costs one `stat`; anything
else was changed outside, is hashed again, and is journalled like any other change. A signature taken so soon
after a change that the file system could not tell a second change apart proves nothing ("racily clean", as git
calls it): such a row is not settled and is hashed again at the next look.
"""

import contextlib
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping

from baludav.db.engine import Database
from baludav.errors import Failure
from baludav.tree.disk.guards import Guards
from baludav.tree.disk.storage import Stat
from baludav.tree.paths import Path
from baludav.tree.records import index
from baludav.tree.records.index import Known, Row
from baludav.tree.records.locks import Locks
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.hashing import Patience, of_a_request
from baludav.tree.truth.mending import Mender

_PORTION_NAMES = 200
_PORTION_BYTES = 32 << 20
_HASHED_AGAIN = 1 << 20  # bytes of a file that is hashed again as soon as it can be settled
_REMEMBERED = 20_000  # rows, of 0.9 KB each
_REST = 9.0  # times as long as hashing a file in the background took
_REST_LOOK_SECONDS = 0.5


class Scan:
    """Keeps the index in step with the disk, for one process."""

    def __init__(self, database: Database, guards: Guards, locks: Locks) -> None:
        self._database = database
        self._mender = Mender(database, guards, locks, self._hash_later)
        self._remembered: dict[tuple[int, Path], Row] = {}
        self._later: dict[tuple[int, Path], StorageRoot] = {}
        self._rests: dict[tuple[int, Path], float] = {}  # until when, in monotonic seconds
        self._background: threading.Thread | None = None
        self._stopping = threading.Event()

    def look(self, root: StorageRoot, names: Path, patience: Patience | None = None) -> Known | None:
        """One resource as it is now; None if nothing is there.

        Args:
            patience: for hashing, by default that of a request.
        """
        known = self.peek(root, names)
        if known is not None and known.is_right:
            return known
        if names == ():
            return known
        self.mend(root, {names[:-1]: names[-1:]}, patience or of_a_request())
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

    def members(self, root: StorageRoot, names: Path, folder: Row) -> Iterator[tuple[str, Known]]:
        """All members of a collection as they are now, by name; what is handed out is not kept."""
        on_disk, rows, wrong = self.compare(root, names, folder)
        if wrong:
            patience = of_a_request()
            for portion in portions((names, name, on_disk.get(name)) for name in wrong):
                self.mend(root, portion, patience)
            with self._database.reading() as connection:
                rows = index.members(connection, folder.id)
            now = root.storage.find(names, wrong)
            for name in wrong:
                on_disk.pop(name, None)
            on_disk |= now
        return ((name, Known(rows.pop(name), on_disk.pop(name))) for name in sorted(on_disk.keys() & rows.keys()))

    def compare(self, root: StorageRoot, names: Path, folder: Row) -> tuple[dict[str, Stat], dict[str, Row], list[str]]:
        """What the disk and the index have in a collection, and the names at which the index is wrong."""
        on_disk = dict(root.storage.scan(names))
        with self._database.reading() as connection:
            rows = index.members(connection, folder.id)
        wrong = [
            name
            for name in on_disk.keys() | rows.keys()
            if name not in on_disk or name not in rows or not Known(rows[name], on_disk[name]).is_right
        ]
        return on_disk, rows, wrong

    def notice(self, root: StorageRoot, found: Mapping[Path, Mapping[str, Stat | None]], patience: Patience) -> None:
        """Look at members to which something has happened, perhaps by a request of our own that is indexed already.

        Args:
            found: what is on the disk, by folder and name.
        """
        for portion in portions(self._news(root, found)):
            self.mend(root, portion, patience)

    def _news(
        self, root: StorageRoot, found: Mapping[Path, Mapping[str, Stat | None]]
    ) -> Iterator[tuple[Path, str, Stat | None]]:
        for folder, stats in found.items():
            left = {name: stat for name, stat in stats.items() if not self._is_remembered(root, (*folder, name), stat)}
            if not left:
                continue
            with self._database.reading() as connection:
                chain = index.chain(connection, root.id, folder)
                parent = chain[-1] if len(chain) > len(folder) else None
                rows = {name: parent and index.member(connection, parent.id, name) for name in left}
            yield from ((folder, name, stat) for name, stat in left.items() if not _is_noticed(rows[name], stat))

    def mend(self, root: StorageRoot, wanted: Mapping[Path, Collection[str]], patience: Patience) -> None:
        """Make the rows of some members of some folders agree with the disk. Takes guards; hold none.

        Args:
            wanted: names by folder, as many as in a portion.
        """
        self._mender.mend(root, wanted, patience)

    def is_settled(self, root: StorageRoot, names: Path, stat: Stat, looked_ns: int) -> bool:
        """True if a change after `looked_ns` cannot hide behind this signature."""
        return self._mender.is_settled(root, names, stat, looked_ns)

    def close(self) -> None:
        """Stop hashing in the background; what was not finished is hashed when it is looked at again."""
        self._stopping.set()
        if self._background is not None:
            self._background.join()

    def _is_remembered(self, root: StorageRoot, names: Path, stat: Stat | None) -> bool:
        row = self._remembered.get((root.id, names))
        return row is not None and row.signature == stat

    def _remember(self, root: StorageRoot, names: Path, row: Row) -> None:
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[root.id, names] = row

    # In the background

    def _hash_later(self, root: StorageRoot, names: Path) -> None:
        if self._stopping.is_set():
            return
        self._later[root.id, names] = root
        if self._background is None or not self._background.is_alive():
            self._background = threading.Thread(target=self._drain, name="hashing", daemon=True)
            self._background.start()

    def _drain(self) -> None:
        patience = Patience(self._stopping.is_set)
        while self._later and not self._stopping.is_set():
            key = self._next_later()
            if key is None:
                self._stopping.wait(_REST_LOOK_SECONDS)
                continue
            root, began = self._later.pop(key), time.monotonic()
            with contextlib.suppress(Failure):
                self.look(root, key[1], patience)
            now = time.monotonic()
            self._rests[key] = now + max(_REST_LOOK_SECONDS, (now - began) * _REST)

    def _next_later(self) -> tuple[int, Path] | None:
        """What was asked for last, except files that keep changing: they are not hashed all the time."""
        now = time.monotonic()
        self._rests = {key: until for key, until in self._rests.items() if until > now}
        return next((key for key in reversed(list(self._later)) if key not in self._rests), None)


def portions(names: Iterable[tuple[Path, str, Stat | None]]) -> Iterator[dict[Path, list[str]]]:
    """Names by folder, so many that they are mended in a short time and share a commit.

    Args:
        names: folder, name, and what is on the disk there.
    """
    portion: dict[Path, list[str]] = {}
    count = size = 0
    for folder, name, stat in names:
        portion.setdefault(folder, []).append(name)
        count += 1
        size += 0 if stat is None else stat.size
        if count >= _PORTION_NAMES or size >= _PORTION_BYTES:
            yield portion
            portion, count, size = {}, 0, 0
    if portion:
        yield portion


def _is_noticed(row: Row | None, stat: Stat | None) -> bool:
    """True if the index has what the disk has.

    A row that is not settled is hashed again at the next look, so a large file can wait for that.
    """
    if row is None or stat is None:
        return row is None and stat is None
    known = Known(row, stat)
    return known.is_right or (known.agrees and row.sha256 is not None and row.size > _HASHED_AGAIN)
