"""Waiting, of which a server with few threads wants to know: while one waits, another runs."""

import contextlib
import queue
from contextlib import AbstractContextManager
from typing import Protocol


class Others(Protocol):
    """Those who run while one waits."""

    def blocked(self) -> AbstractContextManager[None]:
        """Inside, the calling thread waits for the disk, or for somebody."""

    def rest(self, wake: queue.SimpleQueue[None]) -> None:
        """Let those run who have something to do and wait for their turn; ends when there is none, or by `wake`."""


class _Nobody:
    def blocked(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def rest(self, wake: queue.SimpleQueue[None]) -> None:
        pass


_others: Others = _Nobody()


def let_others_run(others: Others) -> None:
    """Whenever a thread of this process waits, from now on."""
    global _others
    _others = others


def waiting() -> AbstractContextManager[None]:
    """Inside, the calling thread is about to wait for the disk, or for somebody."""
    return _others.blocked()


def rest(wake: queue.SimpleQueue[None]) -> None:
    """Let those run first who wait for their turn to run; ends when nobody does, or something is put in `wake`."""
    _others.rest(wake)
