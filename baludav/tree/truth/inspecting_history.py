"""Looks for damage in the history: versions, the trash, and uploads that are under way."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from baludav.errors import Failure, NotFound
from baludav.tree.disk.storage import Stat
from baludav.tree.paths import Path
from baludav.tree.records import history, index
from baludav.tree.records import uploads as parts
from baludav.tree.records.history import Deleted, Version
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.checking import walk
from baludav.tree.truth.findings import Counted, Finding, after, where
from baludav.tree.truth.hashing import hash_file

if TYPE_CHECKING:
    from baludav.tree.tree import Tree

_HERE: Path = ()


class _History(NamedTuple):
    """What index and disk have of the history of a storage root, and of uploads that are under way."""

    entries: dict[Path, Version | Deleted]
    begun: set[Path]
    on_disk: set[Path]

    @property
    def missing(self) -> set[Path]:
        return {*self.entries, *self.begun} - self.on_disk

    @property
    def orphans(self) -> set[Path]:
        return self.on_disk - {*self.entries, *self.begun}


def _history(tree: "Tree", root: StorageRoot) -> _History:
    with tree.database.snapshot() as connection:
        trash, versions = history.trash_of(connection, root.id), history.all_versions(connection, root.id)
        begun = {history.parsed(one.begun) for one in parts.of_root(connection, root.id) if one.sha256 is None}
    # What is left of a file that was deleted outside is a version as well.
    entries: dict[Path, Version | Deleted] = {history.parsed(gone.kept): gone for gone in trash}
    entries |= {history.parsed(version.kept): version for version in versions}
    return _History(entries, begun, {*(kept.path for kept in root.storage.kept()), *root.storage.begun()})


def of_history(tree: "Tree", root: StorageRoot, counted: Counted, patience: float) -> Iterator[Finding]:
    """What is wrong with the history of a storage root."""
    now = _history(tree, root)

    def look(suspects: list[Path]) -> dict[Path, bool]:
        nonlocal now
        now = _history(tree, root)
        wrong = now.missing | now.orphans
        return {path: True for path in suspects if path in wrong}

    suspects = list(now.missing | now.orphans)
    for path in after(patience, suspects, look):
        if path in now.begun:
            yield Finding(where(root, path), "bytes of an unfinished upload are missing", "the next start forgets it")
        elif path in now.entries:
            advice = "restore the file from a backup, or let the next start forget it"
            yield Finding(where(root, path), f"{_named(now.entries[path])}: the bytes are missing", advice)
        else:
            advice = "the next start puts it into the history, or removes what is left of an upload"
            yield Finding(where(root, path), "kept, but the index does not know what it is", advice)
    for path, entry in now.entries.items():
        if path not in now.missing:
            yield from _of_entry(tree, root, path, entry, counted)


def _of_entry(
    tree: "Tree", root: StorageRoot, kept: Path, entry: Version | Deleted, counted: Counted
) -> Iterator[Finding]:
    """What is wrong with the bytes of a version, or of something in the trash."""
    expected = {_HERE: (entry.size, entry.sha256)} if isinstance(entry, Version) else _expected(tree, root, entry)
    wrong = []
    for names, stat in kept_files(root, kept):
        if not stat.is_collection:
            counted.one_more()
        if names not in expected:
            wrong.append((names, "on the disk, but not in the index"))
            continue
        size, sha256 = expected.pop(names)
        if sha256 is not None and not stat.is_collection:
            what = _other_bytes(root, (*kept, *names), size, sha256, stat)
            wrong += [(names, what)] if what else []
    wrong += [(names, "in the index, but not on the disk") for names in expected]
    if wrong and _history(tree, root).entries.get(kept) == entry:  # it was neither restored nor removed meanwhile
        advice = "it cannot be restored as it was; a backup may have it"
        for names, what in wrong:
            yield Finding(where(root, (*kept, *names)), f"{_named(entry)}: {what}", advice)


def _expected(tree: "Tree", root: StorageRoot, entry: Deleted) -> dict[Path, tuple[int, str | None]]:
    """Size and hash of each resource in something in the trash, by its path below it."""
    with tree.database.snapshot() as connection:
        rows = {row.id: row for row in index.subtree(connection, entry.resource_id)}
    found: dict[Path, tuple[int, str | None]] = {}
    for row in rows.values():
        names: Path = ()
        above = row
        while above.id != entry.resource_id and above.parent_id in rows:
            names = (above.name, *names)
            above = rows[above.parent_id]
        found[names] = row.size, row.sha256
    return found


def kept_files(root: StorageRoot, kept: Path) -> Iterator[tuple[Path, Stat]]:
    """What was put away at a path, with all below it, by its path below it."""
    stat = root.storage.stat(kept)
    if stat is not None:
        yield (), stat
        if stat.is_collection:
            for path, below in walk(root, kept):
                yield path[len(kept) :], below


def _other_bytes(root: StorageRoot, path: Path, size: int, sha256: str, stat: Stat) -> str:
    if stat.size != size:
        return f"has {stat.size} bytes instead of {size}"
    try:
        return "" if hash_file(root, path).sha256 == sha256 else "has other bytes than it had"
    except NotFound:
        return "went while it was read"
    except Failure as failure:
        return f"cannot be read: {failure}"


def _named(entry: Version | Deleted) -> str:
    return f"version {entry.id}" if isinstance(entry, Version) else f"/{entry.path} in the trash"
