"""Single entries of the folder for temporary files: written, read and removed by descriptor and name."""

import errno
import json
import os

from baludav.tree.disk import kernel
from baludav.tree.paths import Path

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY


def write_file(folder_fd: int, name: str, data: bytes) -> None:
    """Create a small file and bring it to the disk."""
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder_fd)
    try:
        kernel.write_all(fd, data, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def read_record(folder_fd: int, name: str) -> Path | None:
    """Where something taken aside belongs; None if it cannot be told."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder_fd)
    except OSError:
        return None
    try:
        return tuple(json.loads(os.read(fd, 1 << 16)))
    except ValueError:
        return None
    finally:
        os.close(fd)


def unlinked(name: str, folder_fd: int) -> bool:
    """Remove it if it is no folder; False for a folder."""
    try:
        os.unlink(name, dir_fd=folder_fd)
    except IsADirectoryError:
        return False
    except OSError as error:
        if error.errno != errno.EPERM:  # what POSIX says for a folder
            raise
        return False
    return True


def remove(name: str, folder_fd: int) -> None:
    """Remove a file or a whole folder, following no link."""
    if unlinked(name, folder_fd):
        return
    fd = os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder_fd)
    try:
        for member in os.listdir(fd):
            remove(member, fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder_fd)
