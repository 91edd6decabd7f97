"""What the operating system refuses, as failures of `baludav.errors`."""

import errno
import logging

from baludav import errors

log = logging.getLogger(__name__)


class _Translated:
    """A context; one for all, since it is entered many times in a request."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise failure(error) from error


_TRANSLATED = _Translated()


def translated() -> _Translated:
    """A context in which OS errors become failures; the path of the disk stays out of the message."""
    return _TRANSLATED


def failure(error: OSError) -> errors.Failure:
    """The failure that an OS error means to a client."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.ELOOP | errno.EXDEV:
            return errors.NotFound()
        case errno.ENOSPC | errno.EFBIG:
            return errors.DiskFull()
        case errno.EDQUOT:
            return errors.OverQuota()
        case errno.ENAMETOOLONG:
            return errors.PathTooLong()
        case errno.EACCES | errno.EPERM:
            return errors.Forbidden("The server may not do this with the file on its disk")
        case errno.EROFS:
            # Nothing that the client did: it shall keep what it has and come again, and not take this for a refusal.
            return errors.Unavailable("The disk is mounted read-only now; what is there can be read")
        case errno.EEXIST | errno.ENOTEMPTY | errno.EISDIR:
            return errors.Conflict("Something else has appeared at this path; try again")
        case errno.EMFILE | errno.ENFILE | errno.ENOLCK | errno.ENOMEM:
            log.error("the system gives no more: %s", error)
            return errors.Unavailable("The server has too much to do at once; try again later")
        case _:
            log.error("storage failed: %s", error)
            return errors.Unavailable("The disk failed; nothing was changed")
