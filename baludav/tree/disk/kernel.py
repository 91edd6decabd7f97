"""The few Linux system calls that Python does not offer: confined opening, birth times, reflinks, inotify.

Everything else in `baludav.tree` uses `os`. Constants are those of the kernel's uapi headers.
"""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator

_OPENAT2 = 437  # the same number on every architecture (Linux 5.6)
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_FICLONE = 0x40049409
_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800

# inotify(7)
IN_MODIFY = 0x00000002
IN_ATTRIB = 0x00000004
IN_CLOSE_WRITE = 0x00000008
IN_MOVED_FROM = 0x00000040
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE = 0x00000200
IN_UNMOUNT = 0x00002000
IN_Q_OVERFLOW = 0x00004000
IN_IGNORED = 0x00008000
IN_ISDIR = 0x40000000
_IN_ONLYDIR = 0x01000000
_IN_EXCL_UNLINK = 0x04000000
_WATCHED = (
    IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
    | _IN_ONLYDIR | _IN_EXCL_UNLINK
)  # fmt: skip
_EVENT = struct.Struct("iIII")
_STATFS_SIZE = 256  # more than any architecture's

# statfs(2): file systems that other machines, or programs behind the kernel's back, change without an event here.
_ELSEWHERE = {
    0x6969: "nfs", 0xFF534D42: "cifs", 0xFE534D42: "smb2", 0x517B: "smb", 0x564C: "ncp", 0x65735546: "fuse",
    0x01021997: "9p", 0x00C36400: "ceph", 0x5346414F: "afs", 0x6B414653: "kafs", 0x73757245: "coda",
    0x01161970: "gfs2", 0x7461636F: "ocfs2", 0x0BD00BD0: "lustre", 0x47504653: "gpfs", 0x19830326: "beegfs",
    0x20030528: "orangefs", 0xAAD7AAEA: "panfs", 0x786F4256: "vboxsf", 0xBACBACBC: "vmhgfs", 0x7C7C6673: "prl_fs",
}  # fmt: skip
# File systems whose journal keeps the order of what is done to names, so that a sync of one folder brings all of it
# that was done before to the disk, in other folders too.
_ORDERED = {0xEF53: "ext4", 0x58465342: "xfs", 0x01021994: "tmpfs"}

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
    _checked(_libc.syncfs(fd))


def tells_changes(fd: int) -> bool:
    """True if every change on the file system of an open folder is made through this kernel, which can tell it."""
    return _kind(fd) not in _ELSEWHERE


def keeps_order(fd: int) -> bool:
    """True if a sync of one folder brings to the disk what was done to names before, anywhere on its file system."""
    return _kind(fd) in _ORDERED


def _kind(fd: int) -> int:
    """The magic number of a file system, statfs(2)."""
    found = ctypes.create_string_buffer(_STATFS_SIZE)
    _checked(_libc.fstatfs(fd, found))
    return ctypes.c_long.from_buffer(found).value & 0xFFFFFFFF


def notifier() -> int:
    """A new inotify descriptor, which does not block.

    Raises:
        OSError: EMFILE when the user has too many of them.
    """
    return _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def watch(notifier: int, folder: int) -> int:
    """Watch an open folder (O_PATH will do); the number of the watch, which is the same for the same inode.

    Raises:
        OSError: ENOSPC when the user has too many watches.
    """
    return _checked(_libc.inotify_add_watch(notifier, b"/proc/self/fd/%d" % folder, _WATCHED))


def unwatch(notifier: int, watch: int) -> None:
    """End a watch; harmless if it has ended."""
    _libc.inotify_rm_watch(notifier, watch)


def events(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Watch, mask and name of each event that was read from an inotify descriptor."""
    offset = 0
    while offset < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size
        yield watch, mask, data[offset : offset + length].rstrip(b"\0")
        offset += length


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def share_blocks(source: int, target: int) -> bool:
    """Let an empty file share the blocks of another; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
            raise
        return False
    return True


def copy_bytes(source: int, target: int, size: int) -> None:
    """Copy a whole file into an empty one, in the kernel where it can, else by hand."""
    copy_range(source, 0, size, target, 0)
    offset = size
    while chunk := os.pread(source, 1 << 18, offset):  # it has grown meanwhile
        write_all(target, chunk, offset)
        offset += len(chunk)


def copy_range(source: int, start: int, size: int, target: int, at: int) -> None:
    """Copy `size` bytes from `start` in one file to `at` in another: in the kernel where it can, else by hand."""
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source, target, size - done, start + done, at + done)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EBADF):
                raise
            break
        if count == 0:
            break
        done += count
    while done < size and (chunk := os.pread(source, min(1 << 18, size - done), start + done)):
        write_all(target, chunk, at + done)
        done += len(chunk)


def write_all(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`; a short write means the disk is full, and the next one says so."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view = view[done:]
        offset += done
