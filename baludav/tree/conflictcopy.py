"""Names of conflict copies: `NAME (conflict YYYY-MM-DD HHMMSS DEVICE).EXT`, in UTC."""

import re
from datetime import UTC, datetime

from baludav.tree.paths import MAX_NAME, MAX_PATH, Path, stored

_MAX_DEVICE = 64  # bytes
_UNNAMED = "device"

# What stands for the name of a device holds no parentheses, so that a mark is found again; and nothing that Windows
# refuses in a name.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff()/\\:*?"<>|]')
_MARK = re.compile(r" \(conflict [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{6} [^()]+\)(?=(?:\.[^. ]{1,16}){0,2}$)")
# Short and without a blank, and not what a hidden name begins with; of two only as in `.tar.gz`.
_EXTENSION = re.compile(r"(?<=[^.])(?:\.tar)?\.[^. ]{1,16}$", re.IGNORECASE)


def is_conflict_copy(name: str) -> bool:
    """Whether this is the name of a conflict copy, which is never copied again."""
    return _MARK.search(name) is not None


def conflict_copy(path: Path, at: float, device: str) -> Path:
    """Where the bytes go that lose a conflict; a conflict copy gets a new mark in place of the old one.

    Args:
        at: when the conflict was found, in seconds since the epoch.
        device: its name.
    """
    name = _MARK.sub("", stored(path[-1]))
    extension = found[0] if (found := _EXTENSION.search(name)) else ""
    stem = name.removesuffix(extension)
    device = _cut(_UNSAFE.sub(" ", stored(device)), _MAX_DEVICE).strip() or _UNNAMED
    mark = f" (conflict {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H%M%S} {' '.join(device.split())})"
    above = sum(len(stored(part).encode()) + 1 for part in path[:-1]) + 1
    room = min(MAX_NAME, max(MAX_PATH - above, 0)) - len((mark + extension).encode())
    return (*path[:-1], _cut(stem, max(room, 1)) + mark + extension)


def _cut(text: str, most: int) -> str:
    """The beginning of a text in at most so many bytes of UTF-8, no letter torn."""
    return text.encode("utf-8", "ignore")[:most].decode("utf-8", "ignore")
