"""A number in memory that changes whenever an account may have changed, in whichever process.

A sign-in that is remembered is good as long as the number is: that costs a look at memory, where the index would have
to be asked after each commit of anybody.
"""

import contextlib
import mmap
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_SIZE = 8  # bytes
_CHANGING = bytes(_SIZE)


class Mark:
    """One process's door to the mark; any thread may use it.

    Args:
        file: made if it is not there; its folder exists.
    """

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._fd).st_size < _SIZE:
            os.pwrite(self._fd, _CHANGING, 0)
        self._memory = mmap.mmap(self._fd, _SIZE, prot=mmap.PROT_READ)

    def read(self) -> bytes | None:
        """The number; None while a change is under way, or if a process died in the middle of one."""
        number = self._memory[:]
        return None if number == _CHANGING else number

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Accounts may change inside; one process at a time.

        Whoever looks meanwhile may find the state before or after, and must not take it for good. A process that
        dies here leaves everybody asking the index until the next change, which is slower and never wrong.
        """
        os.pwrite(self._fd, _CHANGING, 0)  # by a system call: on a full disk it fails, where memory would kill us
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.pwrite(self._fd, secrets.token_bytes(_SIZE - 1) + b"\1", 0)

    def close(self) -> None:
        if self._fd >= 0:
            self._memory.close()
            os.close(self._fd)
            self._fd = -1
