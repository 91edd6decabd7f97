"""A disk in memory that only one server sees."""

import subprocess
from pathlib import Path

import pytest

_ALONE = ("unshare", "--map-root-user", "--mount")


def small_disk(folder: Path, megabytes: int) -> tuple[str, ...]:
    """What to put before a command that is to have such a disk at a folder; skips the test where that is forbidden."""
    folder.mkdir()
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs {folder}"
    if subprocess.run([*_ALONE, "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount anything")
    return (*_ALONE, "sh", "-c", f'{mount} && exec "$@"', "sh")
