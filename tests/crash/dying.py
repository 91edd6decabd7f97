"""A process that dies at one step of what it does."""

import itertools
import os
import signal
import sys

from baludav.tree import steps


def die_at(number: int) -> None:
    """Let this process be killed when it reaches the step of this number, counted from now on."""
    seen = itertools.count(1)

    def reached(step: str) -> None:
        if next(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    for module in list(sys.modules.values()):
        if getattr(module, "reached", None) is steps.reached and module is not steps:
            module.reached = reached  # type: ignore[attr-defined]
