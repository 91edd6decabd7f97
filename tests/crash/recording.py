"""What a process does to a folder on the disk, call by call, as strace saw it.

The folder's files are kept in memory as nodes, so that a call on a name finds the node that had the name then.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_CALLS = (
    "openat,openat2,close,dup,fcntl,write,pwrite64,ftruncate,fallocate,copy_file_range,sendfile,ioctl,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,"
    "fsync,fdatasync,syncfs,sync,sync_file_range,utimensat,newfstatat,fstat"
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(.*)")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_STRING = re.compile(r'^"((?:\\x[0-9a-f]{2})*)"$')
_FD = re.compile(r"^(\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>")
_SIGNATURE = re.compile(r"st_ino=(\d+),.*st_mtime=(\d+).*?st_mtime_nsec=(\d+)")


@dataclass(eq=False)
class Node:
    """A file or folder, whatever names it has.

    Attributes:
        data: of a file; None for a folder.
        entries: of a folder.
        first, first_entries: the same before anything was done.
        inode: number that the recorded process saw, 0 if it never looked.
        mtime_ns: as it saw it last.
    """

    data: bytearray | None
    entries: "dict[str, Node]" = field(default_factory=dict)
    inode: int = 0
    mtime_ns: int = 0
    first: bytes = b""
    first_entries: "dict[str, Node]" = field(default_factory=dict)


class Step(NamedTuple):
    """One thing that was done: what kind, to which nodes.

    kind  | node     | name | other    | other_name | at     | data
    entry | a folder | name | new node or None for gone
    move  | a folder | name | a folder | name: what was first there is there now
    data  | a file   |      |          |            | offset | bytes
    size  | a file   |      |          |            | size
    sync  | a file or folder; None for all
    told  |          | what the process says was done and is promised to last
    """

    kind: str
    node: Node | None = None
    name: str = ""
    other: Node | None = None
    other_name: str = ""
    at: int = 0
    data: bytes = b""


def load(folder: Path) -> Node:
    """A folder as it is on the disk; files with several names are one node."""
    known: dict[int, Node] = {}

    def one(path: Path) -> Node:
        stat = path.lstat()
        if stat.st_ino not in known:
            node = Node(None if path.is_dir() else bytearray(path.read_bytes()))
            node.inode, node.mtime_ns = stat.st_ino, stat.st_mtime_ns
            known[stat.st_ino] = node
            if node.data is None:
                node.entries = {member.name: one(member) for member in path.iterdir()}
            node.first, node.first_entries = bytes(node.data or b""), dict(node.entries)
        return known[stat.st_ino]

    return one(folder)


class Recording:
    """Turns the lines of a trace into steps."""

    def __init__(self, folder: Path) -> None:
        self.top = load(folder)
        self.steps: list[Step] = []
        self._folder = str(folder)
        self._open: dict[int, Node] = {}
        self._positions: dict[int, int] = {}

    def run(self, module: str, *arguments: str) -> None:
        """Run `python -m MODULE FOLDER ARGUMENTS`, which says on its standard error what it promises to last."""
        trace = Path(f"{self._folder}.trace")
        command = ["strace", "-f", "-qq", "-y", "-v", "-xx", "-s", "50000000", "-e", f"trace={_CALLS}"]
        child = subprocess.run(
            [*command, "-o", str(trace), sys.executable, "-m", module, self._folder, *arguments],
            cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert child.returncode == 0, child.stderr
        for line in _whole_lines(trace):
            found = _LINE.match(line)
            if found is not None and int(found[4]) >= 0:
                self._take(found[2], _split(found[3]), int(found[4]), line)

    def _take(self, call: str, arguments: list[str], result: int, line: str) -> None:
        take = getattr(self, f"_{call}", None)
        if take is not None:
            take(arguments, result)
        elif call not in ("fcntl", "ioctl", "fallocate", "sync_file_range"):
            raise AssertionError(f"what does this do? {line[:300]}")

    # ---- names ----

    def _at(self, fd: str, name: str) -> tuple[Node, str] | None:
        """The folder and the name in it; None outside of the folder that is watched."""
        found = _FD.match(fd)
        assert found is not None, fd
        whole = os.path.normpath(os.path.join(_text(found[2]), _text(name.strip('"'))))
        return self._place(whole)

    def _place(self, whole: str) -> tuple[Node, str] | None:
        if not whole.startswith(self._folder + "/"):
            return None
        *parents, last = whole[len(self._folder) + 1 :].split("/")
        node = self.top
        for parent in parents:
            node = node.entries[parent]
        return node, last

    def _node(self, fd: str) -> Node | None:
        return self._open.get(int(fd.partition("<")[0])) if fd[0].isdigit() else None

    def _entry(self, folder: Node, name: str, node: Node | None) -> None:
        if node is None:
            del folder.entries[name]
        else:
            folder.entries[name] = node
        self.steps.append(Step("entry", folder, name, node))

    # ---- calls ----

    def _openat(self, arguments: list[str], result: int) -> None:
        self._opened(arguments[0], arguments[1], " ".join(arguments[2:]), result)

    _openat2 = _openat

    def _opened(self, at: str, name: str, flags: str, fd: int) -> None:
        self._open.pop(fd, None)
        self._positions[fd] = 0
        if _text(name.strip('"')) in (".", ""):
            node = self._node(at)
            if node is not None:
                self._open[fd] = node
            return
        place = self._at(at, name)
        if place is None:
            return
        assert "O_TMPFILE" not in flags
        folder, last = place
        if last not in folder.entries:
            assert "O_CREAT" in flags, (name, flags)
            self._entry(folder, last, Node(bytearray()))
        node = folder.entries[last]
        self._open[fd] = node
        if "O_TRUNC" in flags and node.data:
            self._resize(node, 0)
        if "O_APPEND" in flags:
            self._positions[fd] = len(node.data or b"")

    def _close(self, arguments: list[str], _: int) -> None:
        self._open.pop(int(arguments[0].partition("<")[0]), None)

    def _dup(self, arguments: list[str], result: int) -> None:
        node = self._node(arguments[0])
        if node is not None:
            self._open[result] = node

    def _pwrite64(self, arguments: list[str], result: int) -> None:
        node = self._node(arguments[0])
        if node is not None:
            self._wrote(node, int(arguments[3]), _bytes(arguments[1])[:result])

    def _write(self, arguments: list[str], result: int) -> None:
        fd = int(arguments[0].partition("<")[0])
        node = self._open.get(fd)
        if fd == 2:
            word, _, name = _bytes(arguments[1]).decode().strip().partition(" ")
            if word == "told":
                self.steps.append(Step("told", name=name))
        elif node is not None:
            self._wrote(node, self._positions[fd], _bytes(arguments[1])[:result])
            self._positions[fd] += result

    def _copy_file_range(self, arguments: list[str], result: int) -> None:
        source, target = self._node(arguments[0]), self._node(arguments[2])
        if target is None:
            return
        assert source is not None
        assert source.data is not None
        start, at = (0 if "NULL" in given else int(given.strip("[]").split()[0]) for given in arguments[1:4:2])
        self._wrote(target, at, bytes(source.data[start : start + result]))

    def _wrote(self, node: Node, at: int, data: bytes) -> None:
        put(node, at, data)
        self.steps.append(Step("data", node, at=at, data=data))

    def _ftruncate(self, arguments: list[str], _: int) -> None:
        node = self._node(arguments[0])
        if node is not None:
            self._resize(node, int(arguments[1]))

    def _resize(self, node: Node, size: int) -> None:
        resize(node, size)
        self.steps.append(Step("size", node, at=size))

    def _mkdirat(self, arguments: list[str], _: int) -> None:
        place = self._at(arguments[0], arguments[1])
        if place is not None:
            self._entry(*place, Node(None))

    def _mkdir(self, arguments: list[str], _: int) -> None:
        self._mkdirat(["AT_FDCWD<>", *arguments], 0)

    def _unlinkat(self, arguments: list[str], _: int) -> None:
        place = self._at(arguments[0], arguments[1])
        if place is not None:
            self._entry(*place, None)

    def _unlink(self, arguments: list[str], _: int) -> None:
        self._unlinkat(["AT_FDCWD<>", *arguments], 0)

    _rmdir = _unlink

    def _linkat(self, arguments: list[str], _: int) -> None:
        source, target = self._at(arguments[0], arguments[1]), self._at(arguments[2], arguments[3])
        assert source is not None
        assert target is not None
        self._entry(*target, source[0].entries[source[1]])

    def _renameat(self, arguments: list[str], _: int) -> None:
        source, target = self._at(arguments[0], arguments[1]), self._at(arguments[2], arguments[3])
        assert "RENAME_EXCHANGE" not in arguments[-1]
        if source is None and target is None:
            return
        assert source is not None
        assert target is not None
        target[0].entries[target[1]] = source[0].entries.pop(source[1])
        self.steps.append(Step("move", *source, *target))

    _renameat2 = _renameat

    def _rename(self, arguments: list[str], _: int) -> None:
        self._renameat(["AT_FDCWD<>", arguments[0], "AT_FDCWD<>", arguments[1]], 0)

    def _fsync(self, arguments: list[str], _: int) -> None:
        node = self._node(arguments[0])
        if node is not None:
            self.steps.append(Step("sync", node))

    _fdatasync = _fsync

    def _syncfs(self, _: list[str], __: int) -> None:
        self.steps.append(Step("sync"))

    _sync = _syncfs

    def _utimensat(self, arguments: list[str], _: int) -> None:
        """Its effect is seen by the next look."""

    def _newfstatat(self, arguments: list[str], _: int) -> None:
        seen = _SIGNATURE.search(arguments[2])
        node = self._node(arguments[0])
        if arguments[1] != '""':
            place = self._at(arguments[0], arguments[1])
            node = None if place is None else place[0].entries.get(place[1])
        if node is not None and seen is not None:
            node.inode, node.mtime_ns = int(seen[1]), int(seen[2]) * 1_000_000_000 + int(seen[3])


def put(node: Node, at: int, data: bytes) -> None:
    """Write into a file."""
    assert node.data is not None
    node.data.extend(bytes(max(0, at - len(node.data))))
    node.data[at : at + len(data)] = data


def resize(node: Node, size: int) -> None:
    """Shorten a file, or lengthen it with zeros."""
    assert node.data is not None
    del node.data[size:]
    node.data.extend(bytes(size - len(node.data)))


def _whole_lines(trace: Path) -> Iterator[str]:
    """The lines of a trace, with calls that others interrupted put together where they end."""
    begun: dict[str, str] = {}
    with trace.open() as lines:
        for line in lines:
            line = line.rstrip("\n")
            if (start := _BEGUN.match(line)) is not None:
                begun[start[1]] = f"{start[1]} {start[2]}({start[3]}"
            elif (rest := _RESUMED.match(line)) is not None:
                yield begun.pop(rest[1]) + rest[3]
            else:
                yield line


def _split(arguments: str) -> list[str]:
    """The arguments of a call; strings are hexadecimal, so that no comma or bracket is in one."""
    found, depth, start = [], 0, 0
    for place, letter in enumerate(arguments):
        if letter in "{[":
            depth += 1
        elif letter in "}]":
            depth -= 1
        elif letter == "," and depth == 0:
            found.append(arguments[start:place].strip())
            start = place + 1
    return [*found, arguments[start:].strip()]


def _text(hexadecimal: str) -> str:
    return os.fsdecode(bytes.fromhex(hexadecimal.replace("\\x", "")))


def _bytes(argument: str) -> bytes:
    found = _STRING.match(argument)
    assert found is not None, argument[:100]
    return bytes.fromhex(found[1].replace("\\x", ""))
