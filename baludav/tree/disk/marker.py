"""The marker of a storage root: a file that tells the expected disk from an empty mount point or another disk."""

import contextlib
import os
import secrets
from pathlib import Path

from baludav.tree.disk.entries import FOLDER_FLAGS, write_file
from baludav.tree.disk.oserrors import translated
from baludav.tree.paths import RESERVED

NAME = "root"
TEMPORARY = "tmp"  # what nobody can see yet, and what is on its way out
KEPT = "kept"  # what was overwritten or deleted
UPLOADS = "uploads"  # what comes in parts


def make(folder: Path) -> str:
    """Create a folder and its marker, once: of several processes that try, all get the same marker."""
    with translated():
        inside = folder / RESERVED
        (inside / TEMPORARY).mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(inside, FOLDER_FLAGS | os.O_NOFOLLOW)
        try:
            mark = secrets.token_hex(16)
            write_file(fd, mark, mark.encode())
            with contextlib.suppress(FileExistsError):
                os.link(mark, NAME, src_dir_fd=fd, dst_dir_fd=fd)
            os.unlink(mark, dir_fd=fd)
            os.fsync(fd)
        finally:
            os.close(fd)
    return read(folder) or mark


def read(folder: Path) -> str | None:
    """What the marker of a folder holds; None without one."""
    try:
        return (folder / RESERVED / NAME).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
