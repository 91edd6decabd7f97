"""The few Linux system calls that Python does not offer: confined opening, birth times, reflinks.

Everything else in `baludav.tree` uses `os`. Constants are those of the kernel's uapi headers.
"""

import ctypes
import errno
import fcntl
import os

_OPENAT2 = 437  # the same number on every architecture (Linux 5.6)
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_FICLONE = 0x40049409
_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _StatxTime(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_uint32), ("_pad", ctypes.c_int32))


class _Statx(ctypes.Structure):
    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("_head", ctypes.c_uint8 * 60),
        ("_atime", _StatxTime),
        ("btime", _StatxTime),
        ("_tail", ctypes.c_uint8 * 160),
    )


_HOW_SIZE = ctypes.sizeof(_OpenHow)
_hows: dict[int, tuple[int, _OpenHow]] = {}  # by flags, with the address


def open_beneath(folder: int, path: bytes, flags: int) -> int:
    """Open `path` below the open `folder`, following no symbolic link and never leaving the folder.

    One system call decides, so nothing can be swapped for a link between a check and the use.

    Raises:
        OSError: ELOOP for a symbolic link anywhere in the path, EXDEV for `..` or an absolute path.
    """
    known = _hows.get(flags)
    if known is None:
        resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
        how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
        known = _hows[flags] = (ctypes.addressof(how), how)
    while True:
        fd = _syscall(_OPENAT2, folder, path, known[0], _HOW_SIZE)
        if fd >= 0:
            return int(fd)
        code = ctypes.get_errno()
        if code == errno.ENOSYS or code == errno.EPERM:  # before Linux 5.6, or a sandbox that does not know it
            return _open_each(folder, path, flags)
        if code not in (errno.EINTR, errno.EAGAIN):  # EAGAIN: a rename raced with the look-up
            raise OSError(code, os.strerror(code))


def _open_each(folder: int, path: bytes, flags: int) -> int:
    """The same by opening each component with O_NOFOLLOW."""
    *parents, last = path.split(b"/")
    if b".." in (*parents, last) or path.startswith(b"/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    fd = os.dup(folder)
    try:
        for name in parents:
            below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
        found = os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    finally:
        os.close(fd)
    return found


def born_ns(fd: int) -> int:
    """When the inode was created, in nanoseconds; 0 where the file system does not say."""
    found = _Statx()
    if _libc.statx(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, ctypes.byref(found)) != 0:
        return 0
    if not found.mask & _STATX_BTIME:
        return 0
    return int(found.btime.seconds) * 1_000_000_000 + int(found.btime.nanoseconds)


def sync_file_system(fd: int) -> None:
    """syncfs(2): bring all of a file system to the disk."""
    if _libc.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def copy_bytes(source: int, target: int, size: int) -> None:
    """Copy a whole file: shared blocks where the file system can, in the kernel where it can, else by hand."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
            raise
    offset = 0
    while offset < size:
        try:
            done = os.copy_file_range(source, target, size - offset, offset, offset)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EBADF):
                raise
            break
        if done == 0:
            break
        offset += done
    while chunk := os.pread(source, 1 << 18, offset):
        write_all(target, chunk, offset)
        offset += len(chunk)


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`; a short write means the disk is full, and the next one says so."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view = view[done:]
        offset += done
