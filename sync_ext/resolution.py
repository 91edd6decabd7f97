"""What a device does next to resolve a conflict, each step under a condition that makes it safe to be late.

The bytes that lose stay in the history: what the server has becomes a version or goes to the trash when it is
replaced or deleted there; what only the device has is uploaded first, and deleted there into the trash.
"""

from typing import Literal, NamedTuple

from baludav.tree.records.conflicts import Kind
from sync_ext.actions import Clash
from sync_ext.spelling import composed

Resolution = Literal["keep_server", "keep_local", "keep_both"]


class Step(NamedTuple):
    """One thing that the device does; it stops at the first that fails, and asks for a new plan.

    Attributes:
        do: upload, download, delete and move change the server or ask it; delete_local and move_local are the
            device's, which then forgets at and below `path` what was in common.
        to: of a move.
        source: file of the device whose bytes are uploaded.
        etag: that the server's resource must have; None if nothing may be there (upload, or the destination of a
            move), or (delete) if it is that which the upload before has answered.
    """

    do: Literal["upload", "download", "delete", "delete_local", "move", "move_local"]
    path: str
    to: str | None = None
    source: str | None = None
    etag: str | None = None


class Now(NamedTuple):
    """What the server has at a path now."""

    etag: str
    is_collection: bool


def steps(
    conflict: Clash, resolution: Resolution, copy: str, now: Now | None, other: Now | None, *, may_copy: bool = True
) -> list[Step]:
    """What a device does next.

    Args:
        copy: path of the conflict copy.
        now, other: what is there now at the path of the conflict, and at the one that it collides with; `now` is
            None as well if the server takes both for one.
        may_copy: the path is not that of a conflict copy; else `keep_both` is `keep_local`, and the other bytes stay
            in the history.
    """
    if resolution == "keep_both" and not may_copy:
        resolution = "keep_local"
    if conflict.kind == Kind.NAME_COLLISION:
        return _of_names(conflict, resolution, copy, now, other)
    if conflict.kind == Kind.FILE_AND_COLLECTION and now is None:
        return []
    if conflict.kind == Kind.FILE_AND_COLLECTION and now is not None and not now.is_collection:
        return _against_file(conflict.path, resolution, copy, now)
    if conflict.kind == Kind.DELETED_HERE:
        return _of_nothing(conflict.path, resolution, now)
    return _of_file(conflict, resolution, copy, now)


def _of_file(conflict: Clash, resolution: Resolution, copy: str, now: Now | None) -> list[Step]:
    """The device has a file, and the server another, a collection, or nothing."""
    path = conflict.path
    bring = [Step("download", path)] if now is not None and not now.is_collection else []
    if resolution == "keep_server":
        kept = path if now is None else copy
        away = [Step("upload", kept, source=path), Step("delete", kept, etag=conflict.here)]
        return [*away, *(bring or [Step("delete_local", path)])]
    if now is None:
        return [Step("upload", path, source=path)]
    if resolution == "keep_both":
        return [Step("move_local", path, to=copy), Step("upload", copy, source=copy), *bring]
    if now.is_collection:
        return [Step("delete", path, etag=now.etag), Step("upload", path, source=path)]
    return [Step("upload", path, source=path, etag=now.etag)]


def _of_nothing(path: str, resolution: Resolution, now: Now | None) -> list[Step]:
    """The device has deleted what the server has."""
    if now is None:
        return []
    if resolution == "keep_local":
        return [Step("delete", path, etag=now.etag)]
    return [] if now.is_collection else [Step("download", path)]


def _against_file(path: str, resolution: Resolution, copy: str, now: Now) -> list[Step]:
    """The device has a collection, and the server a file. What is in the collection is never thrown away."""
    if resolution == "keep_local":
        return [Step("delete", path, etag=now.etag)]
    return [Step("move_local", path, to=copy), Step("download", path)]


def _of_names(conflict: Clash, resolution: Resolution, copy: str, now: Now | None, other: Now | None) -> list[Step]:
    path, theirs = conflict.path, conflict.other
    if other is None or theirs is None:
        return []
    if now is not None:  # the server has both
        if resolution == "keep_both":
            return [Step("move", theirs, to=copy, etag=other.etag)]
        if resolution == "keep_local":
            return [Step("delete", theirs, etag=other.etag)]
        return [Step("delete", path, etag=now.etag)]
    if conflict.here is None:  # a collection of the device; what is in it is never thrown away
        if resolution != "keep_local":
            return [Step("move_local", path, to=copy)]
        is_alike = other.is_collection
        return [Step("move", theirs, to=path, etag=other.etag) if is_alike else Step("delete", theirs, etag=other.etag)]
    if resolution == "keep_both":
        return [Step("move_local", path, to=copy), Step("upload", copy, source=copy)]
    if resolution == "keep_server":
        away = [Step("upload", copy, source=path), Step("delete", copy, etag=conflict.here)]
        return [*away, Step("delete_local", path)]
    if composed(path) == composed(theirs):  # to the server it is one name, which the device has twice
        return [Step("upload", path, source=path, etag=other.etag), Step("delete_local", path)]
    away = [] if other.is_collection else [Step("delete", theirs, etag=other.etag)]
    return [*away, Step("upload", path, source=path)]
