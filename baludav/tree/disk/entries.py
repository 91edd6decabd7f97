"""Single entries of folders: written, read, renamed and removed by descriptor and name."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator

from baludav.tree.disk import kernel
from baludav.tree.paths import Path

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY
_UNKNOWN = 1 << 60  # bytes


def write_file(folder_fd: int, name: str, data: bytes) -> None:
    """Create a small file and bring it to the disk, or leave none."""
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder_fd)
    try:
        kernel.write_all(fd, data, 0)
        os.fsync(fd)
    except BaseException:
        os.unlink(name, dir_fd=folder_fd)
        raise
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


def described(fd: int) -> os.stat_result:
    """What the system says of a file that was just opened; closed again if it says nothing."""
    try:
        return os.fstat(fd)
    except OSError:
        os.close(fd)
        raise


def free_bytes(fd: int) -> int:
    """Bytes that may still be stored on the file system of an open file or folder."""
    found = os.fstatvfs(fd)
    # Some network file systems tell nothing.
    return found.f_bavail * found.f_frsize if found.f_blocks else _UNKNOWN


@contextlib.contextmanager
def renamed(source: str, source_fd: int, target: str, target_fd: int) -> Iterator[None]:
    """Rename an entry; back again if what follows fails."""
    os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.rename(target, source, src_dir_fd=target_fd, dst_dir_fd=source_fd)
        raise


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
