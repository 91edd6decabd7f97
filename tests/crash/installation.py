"""A data folder with known content, operations on it, and the question whether all is well afterwards."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select

from baludav import config
from baludav.db.tables import storage_roots, upload_parts
from baludav.tree.reading import NO_TERMS, Resource
from baludav.tree.tree import UserTree
from baludav.tree.truth.checking import check
from baludav.tree.truth.refreshing import refresh
from baludav.tree.upkeep.recovery import recover
from providers.house import House, open_house

Tree = dict[str, bytes | None]  # bytes by path, None for a collection

BEFORE: Tree = {
    "file": b"old bytes",
    "other": b"other bytes" * 100,
    "d": None,
    "d/x": b"x" * 5000,
    "d/sub": None,
    "d/sub/y": b"y",
    "e": None,
    "e/z": b"z",
    "kept": b"never touched",
}
NOTED: Tree = {**BEFORE, "empty": b""}
"""What `prepare_noted` makes."""
NOTE = "{urn:x}note"


class Being(NamedTuple):
    """What a resource is beside its bytes.

    Attributes:
        versions: SHA-256 of each, the oldest first.
    """

    id: int | None
    properties: dict[str, bytes]
    versions: list[str | None]


def open_installation(folder: Path, durability: str = "safe") -> House:
    """The house on a data folder, with one user and one share that may be elsewhere."""
    share = folder / "share"
    share.mkdir(exist_ok=True)
    section = {"data": str(folder / "data"), "durability": durability}
    section["shares"] = {"pub": {"folder": str(share), "write": ["alice"]}}  # type: ignore[assignment]
    return open_house(config.build({"baludav": section}, {}))


def prepare(folder: Path) -> None:
    """Make the content of BEFORE."""
    house = open_installation(folder)
    house.accounts.add("alice", "alice's password")
    house.tree.create_home("alice")
    user = user_of(house)
    for name, body in BEFORE.items():
        if body is None:
            user.make_collection(path(name), NO_TERMS)
        else:
            put(user, name, body)
    user.look(("pub",))
    house.close()


def prepare_noted(folder: Path) -> None:
    """The same and an empty file, with a dead property on each resource, and a version of each file with bytes."""
    prepare(folder)
    house = open_installation(folder)
    user = user_of(house)
    put(user, "empty", b"")
    for name, body in NOTED.items():
        if body:
            put(user, name, b"older " + body)
            put(user, name, body)
        user.patch(path(name), NO_TERMS, {NOTE: f'<note xmlns="urn:x">of {name}</note>'.encode()})
    house.close()


def user_of(house: House) -> UserTree:
    return house.tree.of(house.accounts.get("alice"))


def path(name: str) -> tuple[str, ...]:
    return tuple(name.split("/"))


def put(user: UserTree, name: str, body: bytes) -> None:
    with user.open_write(path(name), NO_TERMS, length=len(body)) as upload:
        upload.write(body)
        upload.commit()


def content(user: UserTree, top: str = "") -> Tree:
    """Everything the user sees, read through the tree, each entity-tag compared with its bytes."""
    found: Tree = {}
    for name, member in _members(user, top).items():
        if member.is_collection:
            found[name] = None
            continue
        file = user.open(member.path)
        found[name] = os.pread(file.fd, 1 << 20, 0)
        file.close()
        assert member.etag == hashlib.sha256(found[name] or b"").hexdigest()
    return found


def beings(user: UserTree) -> dict[str, Being]:
    """What everything is that the user sees, by its path."""
    found = {}
    for name, member in _members(user, "").items():
        versions = [] if member.is_collection else user.versions(member.path)
        found[name] = Being(member.id, user.properties(member), [version.sha256 for version in reversed(versions)])
    return found


def _members(user: UserTree, top: str) -> dict[str, Resource]:
    found = {}
    left = [user.look(path(top) if top else ())]
    while left:
        for member in user.members(left.pop()):
            found["/".join(member.path)] = member
            if member.is_collection:
                left.append(member)
    return found


def history_of(user: UserTree) -> set[bytes]:
    """Every byte string in the versions and the trash of the user's home and share."""
    found = set()
    for _, root in user.namespace.roots():
        for kept in root.storage.kept():
            left = [(kept.path, kept.stat)]
            while left:
                where, stat = left.pop()
                if stat.is_collection:
                    left += [((*where, name), member) for name, member in root.storage.scan(where)]
                    continue
                fd = root.storage.open(where)
                found.add(os.pread(fd, 1 << 20, 0))
                os.close(fd)
    return found


def start_again(folder: Path) -> Tree:
    """What a start after a crash finds; fails unless index, disk and quota agree and nothing is left behind."""
    house = open_installation(folder)
    try:
        house.tree.prepare()
        for root in house.tree.roots.everything():
            for _ in refresh(house.tree, root):
                pass
        return agreed(house, folder)
    finally:
        house.close()


def agreed(house: House, folder: Path, *, has_debris: bool = False) -> Tree:
    """Everything the user sees; fails unless index, disk, history and quota agree and nothing is left behind.

    Args:
        has_debris: something could not be removed, and may be left until the next start.
    """
    found = content(user_of(house))
    assert check(house.tree, lambda done, total: None) == []
    lost = {body for body in BEFORE.values() if body} - {*found.values()} - history_of(user_of(house))
    assert not lost, "neither in the tree nor in its history"
    if has_debris:
        house.tree.prepare()
    for root in house.tree.roots.everything():
        assert recover(house.tree, root) == 0, "the history does not agree with the disk"
    sizes = sum(len(body or b"") for body in found.values())
    with house.database.reading() as connection:
        gathered = sum(connection.scalars(select(upload_parts.c.size)))
        assert sum(connection.scalars(select(storage_roots.c.used))) == sizes + gathered
    for top in (folder / "data/files/alice", folder / "share"):
        assert list((top / ".baludav/tmp").iterdir()) == []
    return found


def without(tree: Tree, *tops: str) -> Tree:
    return {name: body for name, body in tree.items() if not any(is_below(name, top) for top in tops)}


def is_below(name: str, top: str) -> bool:
    return name == top or name.startswith(top + "/")


def copied(tree: Tree, source: str, target: str) -> Tree:
    copies = {target + name[len(source) :]: body for name, body in tree.items() if is_below(name, source)}
    return {**without(tree, target), **copies}


def moved(tree: Tree, source: str, target: str) -> Tree:
    return without(copied(tree, source, target), source)


def copy(source: str, target: str) -> Callable[[UserTree], object]:
    return lambda user: user.copy(path(source), path(target), NO_TERMS, overwrite=True, is_infinite=True)


def move(source: str, target: str) -> Callable[[UserTree], object]:
    return lambda user: user.move(path(source), path(target), NO_TERMS, overwrite=True)
