"""Waiting for the disk, of which a server with few threads wants to know."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

_around: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext


def let_others_run(around: Callable[[], AbstractContextManager[None]]) -> None:
    """Do this around each wait of this process from now on."""
    global _around
    _around = around


def waiting() -> AbstractContextManager[None]:
    """Inside, the calling thread is about to wait for the disk."""
    return _around()
