"""What an inspection finds, and how it looks at things that may be under way."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from baludav.tree.paths import Path
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.checking import Progress

_PAUSE = 0.25  # seconds between two looks
_LONGEST = 6  # times the patience


class Finding(NamedTuple):
    """Something wrong.

    Attributes:
        where: a storage root and a path in it.
        advice: what to do about it.
    """

    where: str
    what: str
    advice: str


class Counted:
    """How far it is, in files."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def one_more(self) -> None:
        """One more file is done."""
        self._done += 1
        self._progress(min(self._done, self._total), self._total)


def after(patience: float, suspects: list[Path], look: Callable[[list[Path]], Mapping[Path, object]]) -> list[Path]:
    """Those that look wrong in the same way for as long as the patience lasts.

    What keeps changing all the time is not damaged, but somebody's work, and is not waited for without end.

    Args:
        patience: seconds.
        look: how each of those looks that are still wrong.
    """
    seen: dict[Path, tuple[object, float]] = {}
    found: list[Path] = []
    end = time.monotonic() + _LONGEST * patience
    while True:
        now = time.monotonic()
        wrong = look(suspects)
        for path, looks in wrong.items():
            if path not in seen or seen[path][0] != looks:
                seen[path] = looks, now
        found += [path for path in wrong if now - seen[path][1] >= patience]
        suspects = [path for path in wrong if now - seen[path][1] < patience]
        if not suspects or now >= end:
            return found
        time.sleep(_PAUSE)


def where(root: StorageRoot, path: Path) -> str:
    """How a finding names a path."""
    return f"{root.kind} {root.name}: {'/'.join(path)}"
