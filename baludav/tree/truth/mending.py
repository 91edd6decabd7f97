"""Makes rows of the index agree with the disk again, as changes made outside.

Some members of some folders are mended at a time, in three steps: what the index has wrong is found out while their
guards are held, so that whoever is writing there commits first; bytes are hashed without any guard; and under the
guards, if nothing has changed meanwhile, all of it is committed at once.

A resource keeps its id, and with it its properties and versions, while its inode or its bytes stay at its name. It
also keeps them when it is moved within its storage root: an inode with the same time of birth that is no longer at
the old name is the same resource, and if size and modification time are the same too, so are the bytes. That an
inode has left its old name is proved by a look there, so a second (hard) link is no move; nor is what moves from
one storage root to another, whose owners have nothing to do with each other.

A file that has been put in the place of another by rename is another resource, unless a request has done so and was
interrupted before it was recorded: that is proved by what `Storage.keep` has kept for it.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from baludav import metrics
from baludav.db.engine import Database
from baludav.errors import Failure, NotFound
from baludav.tree.disk.guards import Guards, Target
from baludav.tree.disk.storage import Identity, Stat
from baludav.tree.paths import Path
from baludav.tree.records import history, index, vanished
from baludav.tree.records.index import Known, Row
from baludav.tree.records.locks import Locks
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.hashing import Patience, hash_file
from baludav.tree.truth.sightings import Origin, Outcome, Seen

_ATTEMPTS = 3  # at names that keep changing while they are looked at


class _Survey(NamedTuple):
    """Some members of a folder, as the index and the disk have them under their guards.

    Attributes:
        chain: rows from the storage root down to the folder.
        is_same_disk: False after a restore onto another disk, where every inode is new and says nothing.
    """

    chain: list[Row]
    rows: dict[str, Row]
    stats: dict[str, Stat]
    is_same_disk: bool

    def is_right(self, name: str) -> bool:
        row, stat = self.rows.get(name), self.stats.get(name)
        if row is None or stat is None:
            return row is None and stat is None
        return Known(row, stat).is_right


class Mender:
    """Mends the index of one process.

    Args:
        hash_later: told of files that could not be hashed with the patience there was.
    """

    def __init__(
        self, database: Database, guards: Guards, locks: Locks, hash_later: Callable[[StorageRoot, Path], None]
    ) -> None:
        self._database = database
        self._guards = guards
        self._locks = locks
        self._hash_later = hash_later

    def mend(self, root: StorageRoot, wanted: Mapping[Path, Collection[str]], patience: Patience) -> None:
        """Make the rows of some members of some folders agree with the disk. Takes guards; hold none.

        Args:
            wanted: names by folder.
        """
        left = {folder: list(names) for folder, names in wanted.items()}
        for _attempt in range(_ATTEMPTS):
            with self._guards.hold(*((root.id, (*folder, name)) for folder in left for name in left[folder])):
                surveys = {folder: self._survey(root, folder, names) for folder, names in left.items()}
            looks: dict[Path, list[Seen]] = {}
            again: dict[Path, list[str]] = {}
            for folder, survey in surveys.items():
                if survey is None:
                    if self._mend_folder(root, folder, patience):
                        again[folder] = left[folder]
                elif wrong := [name for name in left[folder] if not survey.is_right(name)]:
                    looks[folder] = self._look(root, folder, survey, wrong, patience)
            left = again | self._commit(root, looks)
            if not left:
                return

    def is_settled(self, root: StorageRoot, names: Path, stat: Stat, looked_ns: int) -> bool:
        """True if a change after `looked_ns` cannot hide behind this signature.

        A change gives the file the time of then as both its times, so it shows unless both are of just now. Only a
        program that puts the modification time back in the very same tick of the clock is not seen until the next one.
        """
        granularity = root.storage.granularity_ns(names[:-1], stat.device)
        return (
            granularity == 0 or looked_ns - stat.ctime_ns > granularity or abs(looked_ns - stat.mtime_ns) > granularity
        )

    # Finding out

    def _mend_folder(self, root: StorageRoot, folder: Path, patience: Patience) -> bool:
        """Make the rows of a folder and of those above it agree with the disk; False if there is no such folder."""
        for depth in range(1, len(folder) + 1):
            names = folder[:depth]
            if self._survey(root, names, ()) is None:
                self.mend(root, {names[:-1]: names[-1:]}, patience)
                if self._survey(root, names, ()) is None:
                    return False
        return folder != ()

    def _survey(self, root: StorageRoot, folder: Path, names: Collection[str]) -> _Survey | None:
        """The members as they are.

        None if the folder is not the one that the index knows: what is missing there says nothing of its members.
        """
        stats = root.storage.find(folder, names)
        stat, top = root.storage.stat(folder), root.storage.stat(())
        with self._database.reading() as connection:
            chain = index.chain(connection, root.id, folder)
            if len(chain) <= len(folder) or stat is None or top is None:
                return None
            is_same_disk = Known(chain[0], top).is_same_inode
            if not Known(chain[-1], stat).agrees and (is_same_disk or not chain[-1].is_collection):
                return None
            rows = index.named(connection, chain[-1].id, names)
        return _Survey(chain, rows, stats, is_same_disk)

    def _look(
        self, root: StorageRoot, folder: Path, survey: _Survey, names: list[str], patience: Patience
    ) -> list[Seen]:
        """Look at members that the index has wrong, and hash what must be hashed."""
        parent = survey.chain[-1]
        moved = self._known_inodes(root, survey, names) if survey.is_same_disk else {}
        seen = []
        # In the order of the inodes, which is about that of the bytes on the disk.
        for name in sorted(names, key=lambda name: survey.stats[name].inode if name in survey.stats else 0):
            path, row, stat = (*folder, name), survey.rows.get(name), survey.stats.get(name)
            if stat is None:
                seen.append(Seen(name, row, None))
            elif row is None or not _is_unmounted(root, path, parent, row, stat):
                known = moved.get((stat.device, stat.inode), [])
                seen.append(_with_kept(root, path, self._see(root, path, row, stat, known, patience)))
        return seen

    def _known_inodes(
        self, root: StorageRoot, survey: _Survey, names: Iterable[str]
    ) -> dict[tuple[int, int], list[Row]]:
        """Resources that the index has at other names, but with the inodes of these."""
        wanted: dict[int, list[int]] = {}
        for name in names:
            row, stat = survey.rows.get(name), survey.stats.get(name)
            if stat is not None and (row is None or (row.device, row.inode) != (stat.device, stat.inode)):
                wanted.setdefault(stat.device, []).append(stat.inode)
        above = {row.id for row in survey.chain}
        found: dict[tuple[int, int], list[Row]] = {}
        with self._database.reading() as connection:
            for device, inodes in wanted.items():
                for row in index.by_inodes(connection, root.id, device, inodes):
                    if row.id not in above:
                        found.setdefault((row.device, row.inode), []).append(row)
        return found

    def _see(
        self, root: StorageRoot, path: Path, row: Row | None, stat: Stat, known: list[Row], patience: Patience
    ) -> Seen:
        """Look at one name; hash the bytes unless they are those of a resource that was moved here."""
        origin = None
        if known or stat.is_collection:
            born_ns = root.storage.born_ns(path)
            origin = self._origin(root, stat, born_ns, known)
            if stat.is_collection:
                return Seen(path[-1], row, stat, None, born_ns, False, origin)
            if origin is not None and _has_same_bytes(origin.row, stat):
                is_settled = self.is_settled(root, path, stat, time.time_ns())
                return Seen(path[-1], row, stat, origin.row.sha256, born_ns, is_settled, origin)
        try:
            hashed = hash_file(root, path, patience)
        except NotFound:
            return Seen(path[-1], row, None)
        except Failure:  # unreadable for the server; it is listed all the same
            return Seen(path[-1], row, stat, None, root.storage.born_ns(path), False, origin)
        if hashed.sha256 is None:
            self._hash_later(root, path)
        is_settled = hashed.sha256 is not None and self.is_settled(root, path, hashed.stat, hashed.looked_ns)
        return Seen(path[-1], row, hashed.stat, hashed.sha256, hashed.born_ns, is_settled, origin)

    def _origin(self, root: StorageRoot, stat: Stat, born_ns: int, known: list[Row]) -> Origin | None:
        """The resource that was moved, if it was."""
        for row in known:
            if not _is_same_inode(row, stat, born_ns):
                continue
            with self._database.reading() as connection:
                place = vanished.last_place(connection, row.id)
                gone = history.deleted(connection, row.id)
            if place is None:
                continue
            # What is not in the trash any more, a request was about to restore, which was interrupted.
            before = place.path if gone is None else history.parsed(gone.kept)
            if (place.is_vanished and gone is None) or not _is_at(root, before, row):
                return Origin(row, place)
        return None

    # Committing

    def _commit(self, root: StorageRoot, looks: dict[Path, list[Seen]]) -> dict[Path, list[str]]:
        """Write into the index what was seen; returns the names that have changed since, and are still wrong."""
        targets: list[Target] = [(root.id, (*folder, look.name)) for folder in looks for look in looks[folder]]
        origins = (look.origin for seen in looks.values() for look in seen)
        targets += [(root.id, origin.place.path) for origin in origins if origin is not None]
        left: dict[Path, list[str]] = {}
        work: list[tuple[Outcome, list[Seen]]] = []
        with self._guards.hold(*targets):
            for folder, seen in looks.items():
                survey = self._survey(root, folder, [look.name for look in seen])
                if survey is None:
                    left[folder] = [look.name for look in seen]
                    continue
                still = [_still(root, look, survey) for look in seen]
                changed = zip(seen, still, strict=True)
                if names := [look.name for look, now in changed if now is None and not survey.is_right(look.name)]:
                    left[folder] = names
                if news := [now for now in still if now is not None and now.has_news]:
                    outcome = Outcome(self._locks, folder, survey.chain[-1], is_same_disk=survey.is_same_disk)
                    work.append((outcome, news))
            if work:
                for outcome, names in self._database.commit(
                    lambda connection: _write(connection, work), spares_accounts=True
                ):
                    left.setdefault(outcome.folder, []).extend(names)
                for outcome, _ in work:
                    for path in outcome.surplus:
                        root.storage.drop(path)
                metrics.count("stale_rows", sum(len(news) for _, news in work))
        return left


def _write(connection: Connection, work: list[tuple[Outcome, list[Seen]]]) -> list[tuple[Outcome, list[str]]]:
    """Write all of it; returns the names that could not be written."""
    written = [(outcome, outcome.write(connection, seen)) for outcome, seen in work]
    return [(outcome, names) for outcome, names in written if names]


def _is_same_inode(row: Row, stat: Stat, born_ns: int) -> bool:
    """True if the row is of this very inode; their numbers are used again, so the time of birth is compared too."""
    if (row.is_collection, row.device, row.inode, row.born_ns) != (*stat[:3], born_ns):
        return False
    # Where it is not known, only a file can be recognised.
    return born_ns != 0 or (not stat.is_collection and _has_same_bytes(row, stat))


def _has_same_bytes(row: Row, stat: Stat) -> bool:
    """True if the hash in the row of an inode is still that of its bytes; a rename changes the ctime only."""
    return row.is_settled and row.sha256 is not None and (row.size, row.mtime_ns) == (stat.size, stat.mtime_ns)


def _is_at(root: StorageRoot, path: Path, row: Row) -> bool:
    """True if the inode of a row is (still) at a place on the disk."""
    stat = root.storage.stat(path)
    return stat is not None and (stat.device, stat.inode) == (row.device, row.inode)


def _is_unmounted(root: StorageRoot, path: Path, parent: Row, row: Row, stat: Stat) -> bool:
    """True if another disk was mounted in this folder and is not now: nothing on it has been deleted."""
    if not (row.is_collection and stat.is_collection) or row.device == parent.device:
        return False
    return stat.device == parent.device and not root.storage.scan(path)


def _with_kept(root: StorageRoot, path: Path, look: Seen) -> Seen:
    """The same with what was kept of a file in whose place a request has put another one."""
    row, stat = look.row, look.stat
    if row is None or stat is None or row.is_collection or stat.is_collection:
        return look
    if (row.device, row.inode, row.born_ns) == (stat.device, stat.inode, look.born_ns):
        return look
    return look._replace(kept=root.storage.kept_from(path, row.id, Identity.of(stat, look.born_ns)))


def _still(root: StorageRoot, look: Seen, survey: _Survey) -> Seen | None:
    """What was seen, if it is still so; None if a request, or something outside, has changed it since."""
    row, stat = survey.rows.get(look.name), survey.stats.get(look.name)
    if row != look.row:
        return None
    origin = look.origin
    if origin is not None and not origin.place.is_vanished and _is_at(root, origin.place.path, origin.row):
        return None
    if stat is None or look.stat is None:
        return look if stat == look.stat else None
    if stat == look.stat:
        return look
    is_same = stat[:3] == look.stat[:3] and (stat.is_collection or look.sha256 is None)
    return look._replace(stat=stat) if is_same else None
