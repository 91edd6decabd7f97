"""A folder with awkward names, and what a folder holds, for the clients that copy whole trees."""

import hashlib
import os
import random
from pathlib import Path
from unicodedata import normalize

AWKWARD = [
    "with space",
    " leading space",
    "100%",
    "%41",
    "%2F",
    "#hash",
    "what?",
    "a+b",
    "a&b;c=d",
    "it's",
    'say "yes"',
    "<tag>&amp;",
    "[1]{2}^`~!@$()",
    "back\\slash",
    "co:lon|pipe*star",
    ".hidden",
    "..two dots",
    "ends with a dot.",
    "🎌 日本",
    normalize("NFC", "schöne Grüße"),
    normalize("NFD", "Äpfel und Öl"),
    "n" * 196 + ".txt",
    "ü" * 100,
]


def contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder and "" for each folder, by names in the form that the server keeps."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = normalize("NFC", str(path.relative_to(folder)))
        assert name not in found, name
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found


def plant(folder: Path) -> Path:
    """Fill a new folder with awkward names, an empty file, an empty folder, and 5 MB in one file; old times."""
    chance = random.Random(7)
    folder.mkdir()
    for number, name in enumerate(AWKWARD):
        (folder / name).write_bytes(chance.randbytes(number * 37))
        below = folder / f"in {name}"[:70]
        below.mkdir()
        (below / name).write_bytes(chance.randbytes(100))
    (folder / "empty").write_bytes(b"")
    (folder / "empty folder").mkdir()
    (folder / "deep" / "er" / "est").mkdir(parents=True)
    (folder / "deep" / "er" / "est" / "file").write_bytes(b"deep")
    (folder / "5 MB").write_bytes(chance.randbytes(5_000_000))
    for number, path in enumerate(sorted(folder.rglob("*"))):
        os.utime(path, (1_400_000_000 + number, 1_400_000_000 + number))
    return folder
