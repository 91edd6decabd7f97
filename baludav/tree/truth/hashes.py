"""Hashes of bytes on their way in: SHA-256, which is their entity-tag, and others that a client wants."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from baludav.tree.disk.oserrors import translated
from baludav.tree.truth.hashing import ENDLESS, Patience

_CHUNK = 1 << 20


class _Hash(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Adler32:
    """A checksum of old ownCloud clients; it protects against accidents only."""

    def __init__(self) -> None:
        self._sum = 1

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._sum = zlib.adler32(data, self._sum)

    def hexdigest(self) -> str:
        return f"{self._sum:08x}"


def _md5() -> _Hash:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> _Hash:
    return hashlib.sha1(usedforsecurity=False)


_MAKE: dict[str, Callable[[], _Hash]] = {
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "sha1": _sha1,
    "md5": _md5,
    "adler32": _Adler32,
}
LENGTHS = {name: len(make().hexdigest()) for name, make in _MAKE.items()}
"""Hexadecimal digits of each hash, by its name."""


class Hashes:
    """The hashes of one stream of bytes.

    Args:
        others: names of hashes beside SHA-256.
        sha256: one that has taken what came before.
    """

    def __init__(self, others: Iterable[str] = (), sha256: Any = None) -> None:
        self._hashes = {name: _MAKE[name]() for name in dict.fromkeys(("sha256", *others))}
        if sha256 is not None:
            self._hashes["sha256"] = sha256

    @property
    def sha256(self) -> Any:
        """The SHA-256 object itself, to be copied or gone on with."""
        return self._hashes["sha256"]

    def update(self, data: bytes | bytearray | memoryview) -> None:
        for one in self._hashes.values():
            one.update(data)

    def read(self, fd: int, patience: Patience = ENDLESS) -> bool:
        """Take all bytes of an open file; False when the patience was over before the end."""
        buffer = memoryview(bytearray(_CHUNK))
        offset = 0
        with translated():
            while size := os.preadv(fd, [buffer], offset):
                self.update(buffer[:size])
                offset += size
                if patience.is_over():
                    return False
        return True

    def digests(self) -> dict[str, str]:
        """The hashes so far, in lower-case hexadecimal digits, by name."""
        return {name: one.hexdigest() for name, one in self._hashes.items()}
