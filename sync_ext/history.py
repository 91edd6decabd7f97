"""Earlier bytes of a file, and what was deleted: looking at them, and having them back.

A restore is a write like any other, done by the device that asks: it is journalled, and what it replaces becomes a
version.
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from baludav.errors import Conflict, InsufficientStorage, Locked, NotFound
from baludav.tree.records.history import START
from sync_ext.changes import File, Limit, file_of
from sync_ext.endpoints import Call, endpoint
from sync_ext.types import (
    Answer,
    Body,
    DeviceId,
    Etag,
    PathText,
    Sha256,
    Size,
    Time,
    matching,
    parsed,
    quoted,
    shown,
    time_of_ns,
)

Id = Annotated[str, matching("[0-9]{1,18}")]
Cursor = Annotated[str, matching(r"[0-9]{1,19}\.[0-9]{1,19}")]
OwnDevice = Annotated[DeviceId | None, Meta(description="Which of the user's own devices did it.")]

_FAILURES = (NotFound, Conflict, Locked, InsufficientStorage)


class HistoryQuery(Body):
    """Whose history."""

    path: PathText


class FileVersion(Answer):
    """Bytes that a file had before.

    `created_at` is when they were replaced, `device_id` the device that had written them.
    """

    version: Id
    size: Size
    sha256: Sha256 | None
    created_at: Time
    modified_at: Time
    device_id: OwnDevice
    reason: Annotated[str, Meta(description="overwritten, restored (an older version took its place) or interrupted.")]


class History(Answer):
    """The versions of a file, newest first."""

    path: PathText
    versions: list[FileVersion]


class WantedVersion(Body):
    """Which version of which file."""

    path: PathText
    version: Id


class TrashQuery(Body):
    """Which page."""

    limit: Limit = 1000
    cursor: Cursor | UnsetType = UNSET


class TrashEntry(Answer):
    """Something that was deleted; a collection with all that was below it.

    Of a file that was deleted outside (over SMB or ssh, say) it is the newest version, if the server has one.
    """

    trash_id: Id
    path: PathText
    is_collection: bool
    size: Size
    deleted_at: Time
    device_id: OwnDevice


class Trash(Answer):
    """One page of what was deleted, newest first."""

    entries: list[TrashEntry]
    next_cursor: Cursor | None


class WantedEntry(Body):
    """What to have back."""

    trash_id: Id


class Restored(Answer):
    """Where it is now."""

    path: PathText
    is_collection: bool
    etag: Etag | None


@endpoint("GET", "/history", failures=(NotFound,))
def versions(call: Call, query: HistoryQuery) -> History:
    """The versions of a file, newest first."""
    path = parsed(query.path)
    devices = call.ground.devices.public_ids(call.principal.id)
    found = [
        FileVersion(
            version=str(version.id),
            size=version.size,
            sha256=version.sha256,
            created_at=time_of_ns(version.kept_ns),
            modified_at=time_of_ns(version.mtime_ns),
            device_id=None if version.device_id is None else devices.get(version.device_id),
            reason=version.reason,
        )
        for version in call.user.versions(path)
    ]
    return History(path=shown(path), versions=found)


@endpoint("POST", "/history/restore", failures=_FAILURES)
def restore_version(call: Call, body: WantedVersion) -> File:
    """Make the bytes of a version those of the file again; its present bytes become a version."""
    return file_of(call.user.restore_version(parsed(body.path), int(body.version)).resource)


@endpoint("GET", "/trash")
def trash(call: Call, query: TrashQuery) -> Trash:
    """What was deleted where the user may write, newest first."""
    devices = call.ground.devices.public_ids(call.principal.id)
    before = START if query.cursor is UNSET else _place(query.cursor)
    found = call.user.trash(most=query.limit + 1, before=before)
    page = found[: query.limit]
    last = page[-1].deleted if len(found) > len(page) else None
    return Trash(
        entries=[
            TrashEntry(
                trash_id=str(entry.deleted.resource_id),
                path=shown(entry.path),
                is_collection=entry.is_collection,
                size=entry.deleted.size,
                deleted_at=time_of_ns(entry.deleted.deleted_ns),
                device_id=None if entry.deleted.device_id is None else devices.get(entry.deleted.device_id),
            )
            for entry in page
        ],
        next_cursor=None if last is None else f"{last.deleted_ns}.{last.resource_id}",
    )


@endpoint("POST", "/trash/restore", failures=_FAILURES)
def restore_deleted(call: Call, body: WantedEntry) -> Restored:
    """Bring something back to where it was, or beside it if another has taken its place."""
    resource = call.user.restore_deleted(int(body.trash_id)).resource
    return Restored(path=shown(resource.path), is_collection=resource.is_collection, etag=quoted(resource.etag))


def _place(cursor: str) -> tuple[int, int]:
    deleted_ns, resource_id = (min(int(number), START[0]) for number in cursor.split("."))
    return deleted_ns, resource_id
