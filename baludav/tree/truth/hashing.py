"""The SHA-256 of bytes on the disk, with the stat signature under which it was taken."""

import hashlib
import os
import time
from collections.abc import Callable
from typing import NamedTuple

from baludav.tree.disk import kernel
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.storage import Stat
from baludav.tree.paths import Path
from baludav.tree.roots import StorageRoot

REQUEST_SECONDS = 20.0  # how long one request may hash; what takes longer is finished in the background
_SMALL = 1 << 16
_CHUNK = 1 << 20
_ATTEMPTS = 3


class Patience(NamedTuple):
    """How long somebody waits for hashes.

    Attributes:
        is_over: asked while bytes are hashed.
        most: bytes of one file that are hashed at once; None: any number.
    """

    is_over: Callable[[], bool] = lambda: False
    most: int | None = None


ENDLESS = Patience()


def of_a_request() -> Patience:
    """The patience of a request that begins now."""
    end = time.monotonic() + REQUEST_SECONDS
    return Patience(lambda: time.monotonic() > end)


class Hashed(NamedTuple):
    """A file that was looked at.

    Attributes:
        sha256: lower-case hex; None if the file kept changing, is too large or took too long.
        born_ns: when the inode came to be; 0 if unknown.
        looked_ns: when the look began.
    """

    stat: Stat
    sha256: str | None
    born_ns: int
    looked_ns: int


def hash_file(root: StorageRoot, names: Path, patience: Patience = ENDLESS) -> Hashed:
    """Hash a file.

    Raises:
        NotFound: no file there.
        Unavailable: the disk cannot read it.
    """
    fd = root.storage.open(names)
    try:
        born_ns = kernel.born_ns(fd)
        stat = _stat_of(fd)
        for _attempt in range(_ATTEMPTS):
            if patience.most is not None and stat.size > patience.most:
                break
            looked_ns, before = time.time_ns(), stat
            digest = hash_descriptor(fd, patience)
            stat = _stat_of(fd)
            if before == stat or digest is None:
                return Hashed(stat, digest, born_ns, looked_ns)
        return Hashed(stat, None, born_ns, time.time_ns())
    finally:
        os.close(fd)


def _stat_of(fd: int) -> Stat:
    with translated():
        stat = Stat.of(os.fstat(fd))
    assert stat is not None  # it was opened as a regular file
    return stat


def hash_descriptor(fd: int, patience: Patience = ENDLESS) -> str | None:
    """SHA-256 of an open file's bytes, lower-case hex; None when the patience is over.

    Raises:
        Unavailable: the disk cannot read them.
    """
    with translated():
        return _hash(fd, patience)


def _hash(fd: int, patience: Patience) -> str | None:
    start = os.pread(fd, _SMALL, 0)
    digest = hashlib.sha256(start)
    offset = len(start)
    if offset < _SMALL and not os.pread(fd, 1, offset):
        return digest.hexdigest()
    buffer = memoryview(bytearray(_CHUNK))
    while size := os.preadv(fd, [buffer], offset):
        digest.update(buffer[:size])
        offset += size
        if patience.is_over():
            return None
    return digest.hexdigest()
