"""The failures baludav can name, and the one table that turns them into HTTP statuses.

Raised by `baludav.tree` and `baludav.accounts`, translated at the edge by the DAV engine, the hot lane and
the REST API alike. A message is for the user who made the request: no disk path, no secret.
"""

from typing import ClassVar, Self


class Failure(Exception):
    """A request that cannot be done as asked.

    Attributes:
        status: HTTP status code.
        condition: name of the RFC 4918 §16 precondition or postcondition in the `DAV:` namespace, or None.
        headers: response headers that belong to this failure.
        limit: which of the `limits` in the configuration was reached, if one was.
        who: reached it, if that is not who made the request.
    """

    status: ClassVar[int] = 500
    condition: str | None = None
    limit: str | None = None
    who: str | None = None

    def __init__(self, message: str = "", *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n", 1)[0])
        self.headers = headers

    def at(self, limit: str, who: str | None = None) -> Self:
        """The same failure, which says that this limit was reached."""
        self.limit, self.who = limit, who
        return self


class BadRequest(Failure):
    """The request is malformed.

    Attributes:
        field: which value of the request is at fault, as in `limit` or `files[3].path`; None if none can be named.
    """

    status = 400

    def __init__(
        self, message: str = "", *, field: str | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message, headers=headers)
        self.field = field


class Invalid(BadRequest):
    """A value in the request body is not as described."""

    status = 422


class NotSignedIn(Failure):
    """Sign in with your user name and password, with an app password, or with the token of a device."""

    status = 401


class Forbidden(Failure):
    """You may not do this here."""

    status = 403

    def __init__(
        self, message: str = "", *, condition: str | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message, headers=headers)
        self.condition = condition


class NotFound(Failure):
    """There is nothing at this path."""

    status = 404


class MethodNotAllowed(Failure):
    """This method does not apply here."""

    status = 405


class RequestTimeout(Failure):
    """The body came too slowly."""

    status = 408


class Conflict(Failure):
    """The parent collection does not exist."""

    status = 409


class LimitReached(Failure):
    """There are as many as there may be."""

    status = 409


class OffsetMismatch(Failure):
    """This upload goes on elsewhere; ask how far it has come."""

    status = 409


class AlreadyResolved(Failure):
    """This conflict was resolved already."""

    status = 409


class LockTokenMismatch(Conflict):
    """The lock token is not that of the lock on this resource (RFC 4918 §9.11.1)."""

    condition = "lock-token-matches-request-uri"


class PreconditionFailed(Failure):
    """A precondition of the request does not hold (RFC 9110 §13, RFC 4918 §10.4)."""

    status = 412


class EtagMismatch(PreconditionFailed):
    """The resource does not have the entity-tag that If-Match expects."""


class AlreadyThere(PreconditionFailed):
    """The resource exists or has the entity-tag that If-None-Match excludes."""


class TooLarge(Failure):
    """The request body is larger than this server accepts."""

    status = 413


class PathTooLong(Failure):
    """The path, or a name in it, is too long."""

    status = 414


class UnsupportedMediaType(Failure):
    """This request body is not understood here."""

    status = 415


class TokenExpired(Failure):
    """This token says nothing any more: what you have must be compared with everything there is."""

    status = 403
    condition = "valid-sync-token"


class RangeNotSatisfiable(Failure):
    """The range lies outside the resource."""

    status = 416


class FailedDependency(Failure):
    """Not done, because another part of the request failed."""

    status = 424


class Locked(Failure):
    """The resource is locked (RFC 4918 §11.3).

    Attributes:
        lock_root: path of the lock root as this user sees it, for `DAV:href` in the condition.
    """

    status = 423
    condition = "lock-token-submitted"

    def __init__(self, message: str = "", *, lock_root: tuple[str, ...] = (), conflicting: bool = False) -> None:
        super().__init__(message)
        self.lock_root = lock_root
        if conflicting:
            self.condition = "no-conflicting-lock"


class ChecksumMismatch(Failure):
    """The bytes received do not have the checksum that was announced (tus 1.0, checksum extension)."""

    status = 460


class TooManyRequests(Failure):
    """Too many failed sign-ins; try again later.

    Args:
        retry_after: seconds to wait (RFC 9110 §10.2.3).
    """

    status = 429

    def __init__(self, retry_after: int, message: str = "") -> None:
        super().__init__(message, headers=(("Retry-After", str(retry_after)),))
        self.retry_after = retry_after


class Unexpected(Failure):
    """Something went wrong; the log of the server says what."""


class TooManyListeners(TooManyRequests):
    """You wait for changes on as many connections as one user may; close some, or try again later."""


class TooFast(TooManyRequests):
    """More requests come than one user, or one address, may make; try again later."""


class TooManyUploads(TooManyRequests):
    """You send as many files at once as one user may; try again when one of them has arrived."""


class NotImplementedHere(Failure):
    """This server does not know this method or option."""

    status = 501


class OtherServer(Failure):
    """The destination is on another server."""

    status = 502


class Unavailable(Failure):
    """The storage behind this path is not available; try again later."""

    status = 503


class InsufficientStorage(Failure):
    """There is not enough room (RFC 4918 §11.5)."""

    status = 507


class OverQuota(InsufficientStorage):
    """The quota would be exceeded (RFC 4331 §6)."""

    condition = "quota-not-exceeded"


class DiskFull(InsufficientStorage):
    """The disk is full."""

    condition = "sufficient-disk-space"


def broken_off(error: EOFError, told: str) -> Failure:
    """The failure of a request whose body ended too early: the one that its reader has named, if it has named one."""
    return error if isinstance(error, Failure) else BadRequest(told)


REASONS = {
    100: "Continue", 200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content",
    207: "Multi-Status", 303: "See Other", 304: "Not Modified", 308: "Permanent Redirect", 400: "Bad Request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 410: "Gone", 411: "Length Required",
    412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type",
    416: "Range Not Satisfiable", 417: "Expectation Failed", 421: "Misdirected Request",
    422: "Unprocessable Content", 423: "Locked", 424: "Failed Dependency", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 460: "Checksum Mismatch", 500: "Internal Server Error",
    501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}  # fmt: skip


def status_line(status: int) -> str:
    """Status and reason phrase, as in `201 Created` (RFC 9110 §15)."""
    return f"{status} {REASONS[status]}"
