"""What a disk may hold when the power fails: what was synced, and some of what was not.

As journalling file systems do it: what was done to names lasts in the order in which it was done, and a sync of
anything brings all that was done to names before it to the disk. Bytes last by themselves: those of a file that were
not synced may be there or not, each write for itself, whatever names the file has by then.
"""

import os
import random
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from baludav.tree.disk import kernel
from tests.crash.recording import Node, Step, put, resize

_INDEX = "index.db"


def none(chance: random.Random) -> bool:
    """Nothing lasts that was not synced."""
    return False


def everything(chance: random.Random) -> bool:
    """Everything lasts, as when only the process dies."""
    return True


def some(chance: random.Random) -> bool:
    """Each write may last."""
    return chance.random() < 0.5


def survivors(
    steps: Sequence[Step], moment: int, lasts: Callable[[random.Random], bool], chance: random.Random
) -> list[Step]:
    """The steps whose effect is on the disk after a power failure at a moment (a number of steps)."""
    done = steps[:moment]
    synced: dict[Node, int] = {}
    last_sync = 0
    for number, step in enumerate(done):
        if step.kind == "sync":
            last_sync = number
            for node in [step.node] if step.node is not None else {s.node for s in done[:number] if s.node}:
                synced[node] = number
    names_end = last_sync
    while names_end < moment and lasts(chance):
        names_end += 1
    kept = []
    for number, step in enumerate(done):
        if step.kind in ("entry", "move"):
            survives = number < names_end
        elif step.kind in ("data", "size"):
            assert step.node is not None
            survives = number < synced.get(step.node, 0) or lasts(chance)
        else:
            continue
        if survives:
            kept.append(step)
    return kept


class Disk:
    """A folder with some steps done to it.

    Args:
        top: what is there before; left as it is.
    """

    def __init__(self, top: Node, steps: Iterable[Step]) -> None:
        self._copies: dict[Node, Node] = {}
        self._top = self._of(top)
        for step in steps:
            self._do(step)

    def _of(self, node: Node) -> Node:
        """This disk's own copy of a node: as it was before, or empty for one that is new."""
        copy = self._copies.get(node)
        if copy is None:
            data = None if node.data is None else bytearray(node.first)
            copy = self._copies[node] = Node(data, inode=node.inode, mtime_ns=node.mtime_ns)
            copy.entries = {name: self._of(member) for name, member in node.first_entries.items()}
        return copy

    def _do(self, step: Step) -> None:
        assert step.node is not None
        node = self._of(step.node)
        if step.kind == "data":
            put(node, step.at, step.data)
        elif step.kind == "size":
            resize(node, step.at)
        elif step.kind == "move":
            assert step.other is not None
            self._of(step.other).entries[step.other_name] = node.entries.pop(step.name)
        elif step.other is None:
            del node.entries[step.name]
        else:
            node.entries[step.name] = self._of(step.other)

    def write(self, folder: Path) -> None:
        """Make the folder; the index then knows its files by the inodes that they have there."""
        places: dict[Node, Path] = {}
        self._write(self._top, folder, places)
        for node, place in places.items():
            os.utime(place, ns=(node.mtime_ns, node.mtime_ns))
        kept = _name_again(folder, places)
        for database in folder.rglob(_INDEX):
            _follow(database, places, kept)

    def _write(self, node: Node, place: Path, places: dict[Node, Path]) -> None:
        if node in places:
            os.link(places[node], place)
            return
        if node.data is not None:
            place.write_bytes(node.data)
        else:
            place.mkdir()
            for name, member in node.entries.items():
                if not name.endswith("-shm"):  # only ever in memory
                    self._write(member, place / name, places)
        places[node] = place


def _name_again(folder: Path, places: dict[Node, Path]) -> dict[str, str]:
    """Let the names of what was kept tell the inodes of this disk; returns the new names by the old ones."""
    found = {f"{node.inode:x}": place for node, place in places.items()}
    renamed = {}
    for kept in folder.rglob("kept/*-*-*"):
        owner, inode, _ = kept.name.split("-")
        if inode in found:
            now = found[inode].stat()
            renamed[kept.name] = f"{owner}-{now.st_ino:x}-{_born_ns(found[inode]) or now.st_mtime_ns:x}"
    for node, place in places.items():
        if place.name in renamed and place.parent.name == "kept":
            places[node] = place.with_name(renamed[place.name])
    for kept in list(folder.rglob("kept/*-*-*")):
        if kept.name in renamed:
            kept.rename(kept.with_name(renamed[kept.name]))
    return renamed


def _born_ns(place: Path) -> int:
    fd = os.open(place, os.O_PATH)
    try:
        return kernel.born_ns(fd)
    finally:
        os.close(fd)


def _follow(database: Path, places: dict[Node, Path], kept: dict[str, str]) -> None:
    """Give the signatures of the index the inodes and times of this disk, where they are right otherwise."""
    connection = sqlite3.connect(database)
    with connection:
        for node, place in places.items():
            now = place.stat()
            connection.execute(
                "UPDATE resources SET device = ?, inode = -?, ctime_ns = ?, born_ns = ?"
                " WHERE inode = ? AND is_collection = ? AND (is_collection OR (mtime_ns = ? AND size = ?))",
                (
                    *(now.st_dev, now.st_ino, now.st_ctime_ns, _born_ns(place)),
                    *(node.inode, node.data is None, node.mtime_ns, now.st_size),
                ),
            )
        for names in [(f"/{old}", f"/{new}") for old, new in kept.items()]:
            connection.execute("UPDATE versions SET kept = replace(kept, ?, ?)", names)
            connection.execute("UPDATE trash SET kept = replace(kept, ?, ?)", names)
        connection.execute("UPDATE resources SET inode = -inode WHERE inode < 0")
    connection.close()
