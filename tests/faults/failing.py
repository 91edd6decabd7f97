"""Lets one call of the write path fail: a system call, or a statement of the database.

A place is a call and the lines of baludav that lead to it, the how-manyth time they do. Whoever explores lets an
operation run again and again, each time with the first place failing that has not failed yet, until a run meets none.
So nothing has to be listed, and a place that is met only now and then does not shift the others.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import sqlite3
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from sqlalchemy import Engine, event

from baludav.tree.disk import kernel

TOP = str(Path(__file__).resolve().parents[2])
ROOMS = ("baludav.tree", "baludav.db")

# What asks the kernel nothing, and `close`: Linux closes in any case, and what it could report was synced before.
_HARMLESS = {"close", "fsencode", "fsdecode", "fspath", "strerror"}

_WRITING = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
_OPENING = (errno.EIO, errno.EMFILE, errno.ENOSPC)
_CODES = {
    **dict.fromkeys(("open", "openat2", "scandir"), _OPENING),
    **dict.fromkeys(("pwrite", "copy_file_range", "fsync", "syncfs", "utime"), _WRITING),
    **dict.fromkeys(("rename", "link", "unlink", "mkdir", "rmdir"), _WRITING),
    **dict.fromkeys(("fcntl", "flock"), (errno.ENOLCK,)),
}
_LOOKS = {"stat", "fstat", "openat2", "scandir", "listdir", "pread", "preadv", "fcntl", "fstatvfs", "statx", "connect"}
_TURNS = 2  # of a loop, those that fail
_STATEMENT = (
    (sqlite3.OperationalError, "database is locked"),
    (sqlite3.OperationalError, "disk I/O error"),
    (sqlite3.OperationalError, "database or disk is full"),
    (sqlite3.DatabaseError, "database disk image is malformed"),
)
_CONNECT = ((sqlite3.OperationalError, "unable to open database file"),)
_ENDS_THE_TRANSACTION = ("disk I/O error", "database or disk is full")  # as SQLite does by itself


@dataclass(frozen=True)
class Place:
    """A call, and the lines that lead to it, innermost first."""

    call: str
    lines: tuple[str, ...]
    turn: int

    def __str__(self) -> str:
        return f"{self.call} (turn {self.turn}) at {' < '.join(self.lines)}"

    def is_within(self, function: str) -> bool:
        return any(line.endswith(f" {function}") for line in self.lines)

    @property
    def is_look(self) -> bool:
        """It changes nothing."""
        return self.call in _LOOKS or self.call.startswith("SELECT")

    @property
    def is_removal(self) -> bool:
        """What could not be removed now is removed at the next start."""
        return any(line.endswith((" drop", " discard", " remove")) for line in self.lines) or self.call == "unlink"


RELEASE = struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)
Fault = tuple[Place, object]


@dataclass
class Faults:
    """What has failed so far, over many runs of one operation.

    Attributes:
        kind: `kernel` or `database`: what fails.
        seed: which of its causes the first call fails with; the others take turns.
        looks: what has failed, of this or another operation, before anything was changed.
        tried: what has failed of this operation.
        fired: what has failed in this run.
        met: how many calls this run has made before that.
    """

    kind: str
    seed: int = 0
    looks: set[Place] = field(default_factory=set)
    tried: set[Place] = field(default_factory=set)
    fired: Fault | None = None
    met: int = 0
    _has_changed: bool = False
    _turns: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    _thread: int = 0

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """While this lasts, one call that this thread makes fails: the first that has not failed before."""
        self.fired, self.met, self._thread = None, 0, threading.get_ident()
        self._has_changed = False
        self._turns.clear()
        with contextlib.ExitStack() as stack:
            if self.kind == "kernel":
                _replace_modules(stack, self)
            else:
                _Cursor.faults = self
                stack.callback(setattr, _Cursor, "faults", None)
            yield

    def due(self, call: str, causes: tuple[Any, ...]) -> Any:
        """What the call that is about to be made has to fail with; None if it may go on."""
        if self.fired is not None or threading.get_ident() != self._thread:
            return None
        lines = _lines(sys._getframe(2))
        self._turns[call, lines] += 1
        self.met += 1
        place = Place(call, lines, self._turns[call, lines])
        self._has_changed = self._has_changed or not place.is_look
        if place in self.tried or place.turn > _TURNS:
            return None
        if not self._has_changed:
            if place in self.looks:
                return None
            self.looks.add(place)
        cause = causes[(self.seed + len(self.tried)) % len(causes)]
        self.tried.add(place)
        self.fired = (place, cause)
        return cause


def _lines(frame: FrameType | None) -> tuple[str, ...]:
    found = []
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(TOP) and "/tests/" not in name and "/.venv/" not in name:
            found.append(f"{name[len(TOP) + 1 :]}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(found)


# ---- the kernel ----


class _Failing:
    """A module whose functions may fail."""

    def __init__(self, module: Any, faults: Faults) -> None:
        self._module = module
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if name in _HARMLESS or not callable(found) or isinstance(found, type):
            return found

        def call(*args: Any, **named: Any) -> Any:
            code = None if _is_release(args) else self._faults.due(name, _CODES.get(name, (errno.EIO,)))
            if code is not None:
                raise OSError(code, os.strerror(code))
            return found(*args, **named)

        return call


def _is_release(args: tuple[Any, ...]) -> bool:
    """Whether a lock is given back, of a whole file, for which the kernel needs nothing."""
    return args[1:] == (fcntl.LOCK_UN,) or args[1:] == (fcntl.F_OFD_SETLK, RELEASE)


class _FailingLibc:
    """The C library, whose functions say by -1 and errno that they failed."""

    def __init__(self, libc: Any, faults: Faults) -> None:
        self._libc = libc
        self._faults = faults

    def __getattr__(self, name: str) -> Callable[..., int]:
        return _failing_call(name, getattr(self._libc, name), self._faults)


def _failing_call(name: str, function: Any, faults: Faults) -> Callable[..., int]:
    def call(*args: Any) -> int:
        code = faults.due(name, _CODES.get(name, (errno.EIO,)))
        if code is not None:
            ctypes.set_errno(code)
            return -1
        return int(function(*args))

    return call


def _replace_modules(stack: contextlib.ExitStack, faults: Faults) -> None:
    for module in [module for name, module in sys.modules.items() if name.startswith(ROOMS)]:
        for name, real in (("os", os), ("fcntl", fcntl)):
            if getattr(module, name, None) is real:
                _replace(stack, module, name, _Failing(real, faults))
    _replace(stack, kernel, "_libc", _FailingLibc(kernel._libc, faults))
    _replace(stack, kernel, "_syscall", _failing_call("openat2", kernel._syscall, faults))


def _replace(stack: contextlib.ExitStack, module: ModuleType, name: str, value: object) -> None:
    stack.callback(setattr, module, name, getattr(module, name))
    setattr(module, name, value)


# ---- the database ----


class _Cursor(sqlite3.Cursor):
    faults: Faults | None = None

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        faults = _Cursor.faults
        cause = None if faults is None else faults.due(" ".join(statement.split())[:70], _STATEMENT)
        if cause is not None:
            kind, message = cause
            if message in _ENDS_THE_TRANSACTION:
                self.connection.rollback()
            raise kind(message)
        return super().execute(statement, *parameters)


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(_Cursor)

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        return self.cursor().execute(statement, *parameters)  # type: ignore[no-any-return]


@contextlib.contextmanager
def failing_database() -> Iterator[None]:
    """While this lasts, databases are opened so that their statements can fail."""

    def connect(dialect: object, record: object, args: object, named: dict[str, Any]) -> None:
        faults = _Cursor.faults
        cause = None if faults is None else faults.due("connect", _CONNECT)
        if cause is not None:
            kind, message = cause
            raise kind(message)
        named["factory"] = _Connection

    event.listen(Engine, "do_connect", connect)
    try:
        yield
    finally:
        event.remove(Engine, "do_connect", connect)
