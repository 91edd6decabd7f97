"""Writing a file without sending it: the bytes are named, and the server has them already."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from baludav.errors import (
    Conflict,
    InsufficientStorage,
    Locked,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    TooLarge,
)
from baludav.tree.http.preconditions import Conditions
from baludav.tree.reading import Terms
from sync_ext.changes import File, file_of
from sync_ext.endpoints import Call, endpoint
from sync_ext.types import Body, PathText, Sha256, Size, Time, ns_of_time, parsed


class KnownFile(Body):
    """A file to be written.

    - `base_sha256`: of the bytes that must be there now, as `If-Match` says in a PUT; null: nothing may be there.
    - `modified_at`: modification time; without it, now.
    """

    path: PathText
    sha256: Sha256
    size: Size
    base_sha256: Sha256 | None = None
    modified_at: Annotated[Time, Meta(description="From 1970 to 2200.")] | UnsetType = UNSET


@endpoint(
    "POST", "/files",
    failures=(NotFound, PreconditionFailed, Locked, Conflict, MethodNotAllowed, InsufficientStorage, TooLarge),
)  # fmt: skip
def write(call: Call, body: KnownFile) -> File:
    """Write a file whose bytes the user has already, somewhere in their files, versions or trash.

    404 if they are not there: then the file is uploaded by PUT. Whether another user has them is never told.
    """
    if body.base_sha256 is None:
        conditions = Conditions(if_none_match="*")
    else:
        conditions = Conditions(if_match=frozenset((body.base_sha256,)))
    modified_ns = None if body.modified_at is UNSET else ns_of_time(body.modified_at, "modified_at")
    terms = Terms(conditions, lambda tag: None)
    written = call.user.write_known(parsed(body.path), terms, body.sha256, body.size, modified_ns=modified_ns)
    return file_of(written.resource)
