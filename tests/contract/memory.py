"""A storage in memory: what the words of the contract mean, without a disk. It keeps nothing after a crash."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from baludav import errors
from baludav.tree.disk.storage import CopiedFile, CrossDevice, Identity, Kept, Staged, Stat, Storage
from baludav.tree.paths import RESERVED, Path, is_visible

_SPACE = 1 << 40
_clock = itertools.count(1_700_000_000_000_000_000)
_inodes = itertools.count(2)
_names = itertools.count()


class _Node:
    """A folder (`members`) or a file (`fd`)."""

    def __init__(self, *, is_folder: bool) -> None:
        self.inode = next(_inodes)
        self.born_ns = self.mtime_ns = self.ctime_ns = next(_clock)
        self.members: dict[str, _Node] | None = {} if is_folder else None
        self.fd = -1 if is_folder else os.memfd_create("memory")

    def stat(self) -> Stat:
        size = 0 if self.members is not None else os.fstat(self.fd).st_size
        return Stat(self.members is not None, 1, self.inode, size, self.mtime_ns, self.ctime_ns)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class MemoryStaged:
    def __init__(self, node: _Node | None = None) -> None:
        self.node = node or _Node(is_folder=False)
        self.begun: Path | None = None
        self.size = self.node.stat().size

    @property
    def fd(self) -> int:
        return self.node.fd

    def write(self, data: bytes | bytearray | memoryview) -> None:
        os.pwrite(self.fd, data, self.size)
        self.size += len(data)

    def free(self) -> int:
        return 1 << 30

    def copy_from(self, fd: int, size: int) -> None:
        self.write(os.pread(fd, size, 0))

    def copy_range(self, fd: int, start: int, size: int, at: int) -> None:
        os.pwrite(self.fd, os.pread(fd, size, start), at)
        self.size = max(self.size, at + size)

    def finish(self, *, mtime_ns: int | None, sync: bool) -> None:
        self.node.mtime_ns = next(_clock) if mtime_ns is None else mtime_ns

    @property
    def born_ns(self) -> int:
        return self.node.born_ns

    @property
    def identity(self) -> Identity:
        return Identity(self.node.inode, self.node.born_ns)

    def discard(self) -> None:
        self.size = 0

    def leave(self) -> None:
        pass


class MemoryFilling(NamedTuple):
    storage: "MemoryStorage"
    path: Path

    def copy(self, name: str, source: int, size: int, mtime_ns: int) -> CopiedFile:
        staged = MemoryStaged()
        staged.copy_from(source, size)
        staged.finish(mtime_ns=mtime_ns, sync=False)
        path = (*self.path, name)
        return CopiedFile(self.storage.put(staged, path), staged.born_ns, self.storage.open(path))


class MemoryAside(NamedTuple):
    storage: "MemoryStorage"
    parent: dict[str, _Node]
    name: str
    node: _Node
    owner: int

    def put_back(self) -> None:
        self.parent[self.name] = self.node

    def put_away(self) -> Path:
        return self.storage._put_away(self.node, self.owner)


class MemoryStorage:
    def __init__(self) -> None:
        self._top = _Node(is_folder=True)
        self._staged = _Node(is_folder=True)
        self._begun: dict[Path, _Node] = {}
        self._ever_begun: dict[Path, _Node] = {}

    def _find(self, path: Path) -> _Node | None:
        node = self._top
        if path[:1] == (RESERVED,):
            node, path = self._staged, path[1:]
        for name in path:
            if node.members is None or name not in node.members:
                return None
            node = node.members[name]
        return node

    def _folder(self, path: Path) -> dict[str, _Node]:
        node = self._find(path)
        if node is None or node.members is None:
            raise errors.Conflict
        return node.members

    def stat(self, path: Path) -> Stat | None:
        node = self._find(path)
        return None if node is None else node.stat()

    def born_ns(self, path: Path) -> int:
        node = self._find(path)
        return 0 if node is None else node.born_ns

    def scan(self, path: Path) -> list[tuple[str, Stat]]:
        node = self._find(path)
        members = {} if node is None else node.members or {}
        return [(name, member.stat()) for name, member in members.items() if is_visible(name)]

    def find(self, folder: Path, names: Iterable[str]) -> dict[str, Stat]:
        members = dict(self.scan(folder))
        return {name: members[name] for name in names if name in members}

    def watch(self, notifier: int, path: Path) -> int | None:
        node = self._find(path)
        if node is None or node.members is None:
            raise errors.NotFound
        return None

    def open(self, path: Path) -> int:
        node = self._find(path)
        if node is None or node.members is not None:
            raise errors.NotFound
        return os.open(f"/proc/self/fd/{node.fd}", os.O_RDONLY | os.O_CLOEXEC)

    def open_known(self, path: Path, signature: Stat) -> int | None:
        return self.open(path) if self.stat(path) == signature else None

    def free(self, path: Path = ()) -> int:
        return _SPACE

    def granularity_ns(self, path: Path, device: int) -> int:
        return 0

    def stage(self, folder: Path) -> MemoryStaged:
        self._folder(folder)
        return MemoryStaged()

    def begin(self, folder: Path) -> Path:
        self._folder(folder)
        path = (RESERVED, "uploads", str(next(_names)))
        self._begun[path] = self._ever_begun[path] = _Node(is_folder=False)
        return path

    def is_begun(self, begun: Path, path: Path) -> bool:
        return self._ever_begun.get(begun) is self._find(path) is not None

    def begun(self) -> list[Path]:
        return list(self._begun)

    def resume(self, path: Path) -> MemoryStaged:
        if path not in self._begun:
            raise errors.NotFound
        staged = MemoryStaged(self._begun[path])
        staged.begun = path
        return staged

    def adopt(self, staged: Staged, folder: Path) -> None:
        self._folder(folder)

    def put(self, staged: Staged, path: Path) -> Stat:
        assert isinstance(staged, MemoryStaged)
        self._begun = {where: node for where, node in self._begun.items() if node is not staged.node}
        return self._place(staged.node, self._folder(path[:-1]), path[-1])

    def take_back(self, staged: Staged, path: Path, kept: Path | None, *, has_replaced: bool) -> None:
        assert isinstance(staged, MemoryStaged)
        folder = self._folder(path[:-1])
        is_in_place = folder.get(path[-1]) is staged.node
        if is_in_place and staged.begun is not None:
            self._begun[staged.begun] = staged.node
        if is_in_place and kept is None and not has_replaced:
            del folder[path[-1]]
        if kept is not None:
            node = self._take(kept)[1]
            if is_in_place:
                folder[path[-1]] = node

    def _place(self, node: _Node, folder: dict[str, _Node], name: str) -> Stat:
        old = folder.get(name)
        if old is not None and (old.members is not None or node.members is not None):
            raise errors.Conflict
        folder[name] = node
        node.ctime_ns = next(_clock)
        return node.stat()

    def make_folder(self, path: Path) -> Stat:
        folder = self._folder(path[:-1])
        if path[-1] in folder:
            raise errors.Conflict
        return self._place(_Node(is_folder=True), folder, path[-1])

    def move(self, source: Path, target_storage: Storage, target: Path) -> Stat:
        if not isinstance(target_storage, MemoryStorage):
            raise CrossDevice
        origin = self._folder(source[:-1])
        if source[-1] not in origin:
            raise errors.NotFound
        moved = target_storage._place(origin[source[-1]], target_storage._folder(target[:-1]), target[-1])
        del origin[source[-1]]
        return moved

    def _take(self, path: Path) -> tuple[dict[str, _Node], _Node]:
        if self._find(path) is None:
            raise errors.NotFound
        folder = self._folder(path[:-1])
        return folder, folder.pop(path[-1])

    def _put_away(self, node: _Node, owner: int, name: str = "") -> Path:
        name = name or f"{owner}-{next(_names)}"
        assert self._staged.members is not None
        self._staged.members[name] = node
        return (RESERVED, name)

    def take_aside(self, path: Path, owner: int) -> MemoryAside:
        folder, node = self._take(path)
        return MemoryAside(self, folder, path[-1], node, owner)

    def put_away(self, path: Path, owner: int) -> Path:
        return self._put_away(self._take(path)[1], owner)

    def keep(self, path: Path, owner: int, successor: Identity) -> Path:
        node = self._find(path)
        if node is None:
            raise errors.NotFound
        name = f"{owner}-{successor.inode}-{successor.since_ns}"
        left = self._find((RESERVED, name))
        if left is not None and left is not node:
            self._put_away(left, owner)
        return self._put_away(node, owner, name)

    def kept_from(self, path: Path, owner: int, successor: Identity) -> Kept | None:
        kept = (RESERVED, f"{owner}-{successor.inode}-{successor.since_ns}")
        stat = self.stat(kept)
        return None if stat is None else Kept(kept, owner, stat)

    def kept(self) -> list[Kept]:
        assert self._staged.members is not None
        return [
            Kept((RESERVED, name), int(name.partition("-")[0]), node.stat())
            for name, node in self._staged.members.items()
            if "-" in name
        ]

    def drop(self, path: Path) -> None:
        self._begun.pop(path, None)
        if self._find(path) is not None:
            self._take(path)

    def stage_folder(self, folder: Path) -> tuple[Path, Stat]:
        self._folder(folder)
        path = (RESERVED, str(next(_names)))
        return path, self.make_folder(path)

    @contextlib.contextmanager
    def filling(self, path: Path) -> Iterator["MemoryFilling"]:
        if self.stat(path) is None:
            raise errors.NotFound
        yield MemoryFilling(self, path)

    def sync_all(self, path: Path) -> None:
        pass

    def set_mtime(self, path: Path, mtime_ns: int) -> Stat:
        node = self._find(path)
        if node is None:
            raise errors.NotFound
        node.mtime_ns, node.ctime_ns = mtime_ns, next(_clock)
        return node.stat()

    def sweep(self, *, older_than_ns: int) -> int:
        return 0

    def close(self) -> None:
        pass
