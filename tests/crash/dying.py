"""A process that dies at one step of what it does, at each in turn."""

import itertools
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from baludav.tree import steps
from baludav.tree.tree import UserTree
from tests.crash.installation import open_installation, user_of

Say = Callable[[str], object]  # tells the client, who then knows
Work = Callable[[UserTree, Say], object]


@dataclass(frozen=True)
class Ending:
    """How far a process came.

    Attributes:
        step: that it died at, counted from 1, unless `has_passed`.
        folder: of its installation.
        said: what the client knows.
    """

    step: int
    folder: Path
    has_passed: bool
    said: list[str]


def each_step(
    pristine: Path, where: Path, work: Work, *, before: Callable[[UserTree], object] = lambda user: None
) -> Iterator[Ending]:
    """Work on a copy of an installation, killed at the first step, at the second, and so on; at last not killed.

    Each copy is like a restored backup: the index meets other inodes than those it knows.

    Args:
        before: is done first, and is not killed.
    """
    for step in itertools.count(1):
        folder = where / str(step)
        shutil.copytree(pristine, folder)
        ending = _worked(folder, step, work, before)
        yield ending
        if ending.has_passed:
            assert step > 1, "no step was reached"
            return
        shutil.rmtree(folder)


def _worked(folder: Path, step: int, work: Work, before: Callable[[UserTree], object]) -> Ending:
    """In a process of its own, forked: a new one would take ten times as long to begin as to do the work."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            house = open_installation(folder)
            user = user_of(house)
            before(user)
            die_at(step)
            work(user, lambda words: os.write(write, f"{words}\n".encode()))
            house.close()
            status = 0
        except BaseException:
            os.write(write, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(write)
    with open(read, encoding="utf-8") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), said
    return Ending(step, folder, status == 0, said.splitlines())


def die_at(which: int | str) -> None:
    """Let this process be killed when it reaches the step of this number, counted from now on, or of this name."""
    seen = itertools.count(1)

    def reached(step: str) -> None:
        if which in (next(seen), step):
            os.kill(os.getpid(), signal.SIGKILL)

    for module in list(sys.modules.values()):
        if getattr(module, "reached", None) is steps.reached and module is not steps:
            module.reached = reached  # type: ignore[attr-defined]
