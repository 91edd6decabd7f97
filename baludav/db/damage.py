"""A damaged or lost index: noticed before it is served from, and never destroyed.

The bytes are the truth, so a new index can always be made from them. What only the old one knew is gone with it, unless
somebody mends the file that is kept aside.
"""

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

_WAL_MAGIC = (0x377F0682, 0x377F0683)  # little and big endian checksums
_PARTS = ("", "-wal", "-shm")


class Damage(NamedTuple):
    """What was wrong with an index.

    Attributes:
        what: in words.
        kept: files that were renamed, as they are called now.
        is_lost: nothing of the index is left; else only its last changes may be.
    """

    what: str
    kept: list[Path]
    is_lost: bool


def set_aside(file: Path, *, is_first: bool) -> Damage | None:
    """Rename what is damaged of an index that nobody has open; None if it is sound.

    Args:
        is_first: there is nothing yet that an index could have told of, so that none is missing.
    """
    if not file.exists() or file.stat().st_size == 0:
        return None if is_first else Damage("is missing", _renamed(file, _PARTS), is_lost=True)
    wal = file.with_name(f"{file.name}-wal")
    damage = None
    if _is_noise(wal):
        # SQLite would overwrite it, and say nothing of the commits that may be in it.
        damage = Damage("has lost its last changes (the write-ahead log is damaged)", [], is_lost=False)
        damage.kept.extend(_renamed(file, ("-wal", "-shm")))
    what = _problem(file)
    if what is None:
        return damage
    return Damage(f"is damaged ({what})", [*(damage.kept if damage else ()), *_renamed(file, _PARTS)], is_lost=True)


def _problem(file: Path) -> str | None:
    """What SQLite finds wrong with a database file; None if nothing, or if it cannot even be opened now."""
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError:
        return None  # no permission, no room, no descriptor: opening it says so
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else " ".join(found.split())


def _is_noise(wal: Path) -> bool:
    if not wal.exists() or wal.stat().st_size == 0:
        return False
    with wal.open("rb") as opened:
        return int.from_bytes(opened.read(4), "big") not in _WAL_MAGIC


def _renamed(file: Path, parts: tuple[str, ...]) -> list[Path]:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = []
    for part in parts:
        there = file.with_name(file.name + part)
        if there.exists():
            kept.append(there.rename(file.with_name(f"{file.name}-damaged-{stamp}{part}")))
    return kept
