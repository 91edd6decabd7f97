"""The conflicts of the devices: which there are, and resolving them."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from baludav.errors import AlreadyResolved, NotFound, Unavailable
from baludav.tree.paths import Path
from baludav.tree.reading import Resource
from baludav.tree.records.conflicts import Conflict, Kind
from sync_ext import resolution
from sync_ext.actions import Clash
from sync_ext.endpoints import Call, endpoint
from sync_ext.resolution import Now, Resolution
from sync_ext.types import Answer, Body, DeviceId, Etag, PathText, Sha256, Time, matching, quoted, shown, time_of

ConflictId = Annotated[str, matching("[0-9a-f]{32}")]


class ConflictOfDevice(Answer):
    """What a device and the server both changed since they last had the same.

    - `base_sha256`, `local_sha256`, `server_sha256`: what both had in common and what each has; null: none, a
      collection, or not known.
    - `conflict_path`: where the bytes of the device go if both are kept. Null: this is a conflict copy itself, which
      is not copied again.
    - `collides_with`: only of a `name_collision`: what the server has under a name that differs from `path` in case
      or in how its letters are composed only; `server_sha256` is of it.
    """

    conflict_id: ConflictId
    path: PathText
    kind: Kind
    base_sha256: Sha256 | None
    local_sha256: Sha256 | None
    server_sha256: Sha256 | None
    device_id: DeviceId
    detected_at: Time
    conflict_path: PathText | None
    collides_with: PathText | None


class ConflictsQuery(Body):
    """Whose conflicts."""

    device_id: DeviceId | UnsetType = UNSET


class Conflicts(Answer):
    """Conflicts that are open, by path."""

    conflicts: list[ConflictOfDevice]


class Decision(Body):
    """What the user wants.

    - `keep_server`: what the server has is right; the bytes of the device are kept in the history.
    - `keep_local`: what the device has is right; the bytes of the server are kept in the history.
    - `keep_both`: what the device has is kept beside it, under the name of `conflict_path`. (If the path is that of a
      conflict copy itself, this is `keep_local`.)
    """

    resolution: Resolution


class Step(Answer):
    """One thing that the device does.

    - `upload`: PUT the bytes of its file `source` to `path`; collections above it that are missing are made first.
    - `download`: GET `path`, and let it take the place of what the device has there.
    - `delete`: DELETE `path`. After an upload to the same path, without `if_match`: with the entity-tag that the
      upload was answered with. If the device has a file there, it stays until the next plan.
    - `move`: MOVE `path` to `to`, with `Overwrite: F`.
    - `delete_local`: delete its own file `path`; it need not be there.
    - `move_local`: rename its own `path` to `to`.

    After the last two the device forgets, for `path` and below it, what was in common: so it does not list deletions.
    """

    action: Literal["upload", "download", "delete", "move", "delete_local", "move_local"]
    path: PathText
    to: PathText | None
    source: PathText | None
    if_match: Etag | None
    if_none_match: Literal["*"] | None


class ResolvedConflict(Answer):
    """What the device does next, in this order; at the first step that fails it stops, and asks for a new plan.

    Without any step, a new plan says all.
    """

    conflict_id: ConflictId
    path: PathText
    resolution: Resolution
    steps: Annotated[list[Step], Meta(description="Each on the condition that what it is about is as it was.")]


@endpoint("GET", "/conflicts", failures=(NotFound,))
def conflicts(call: Call, query: ConflictsQuery) -> Conflicts:
    """The conflicts of all devices of the user, or of one.

    They come from plans, and from requests of the device that were refused because an `If-Match` was outdated, or
    because there was something already where it uploaded with `If-None-Match: *`. A conflict ends when it is resolved,
    when a plan does not show it any more, and when the device has changed the server to what it has itself.
    """
    device = None if query.device_id is UNSET else call.ground.devices.get(call.principal.id, query.device_id).id
    return Conflicts(conflicts=[conflict_of(one) for one in call.user.conflicts(device)])


@endpoint("POST", "/conflicts/{conflict_id}/resolve", failures=(NotFound, AlreadyResolved))
def resolve(call: Call, conflict_id: str, body: Decision) -> ResolvedConflict:
    """Resolve a conflict as the user wants: the answer says what the device does next.

    Should the device not come to do it, the next plan finds the conflict again.
    """
    conflict = call.user.conflict(conflict_id)
    found = conflict.found
    now = _there(call, found.path)
    other = None if found.other is None else _there(call, found.other)
    if now is not None and other is not None and now.id == other.id:
        now = None
    clash = Clash(
        shown(found.path), found.kind, found.base_sha256, found.local_sha256, found.server_sha256,
        None if found.other is None else shown(found.other),
    )  # fmt: skip
    steps = resolution.steps(
        clash, body.resolution, shown(conflict.copy), _now(now), _now(other), may_copy=conflict.may_copy
    )
    call.user.resolve_conflict(conflict, body.resolution)
    return ResolvedConflict(
        conflict_id=conflict_id, path=clash.path, resolution=body.resolution, steps=[_step(step) for step in steps]
    )


def conflict_of(conflict: Conflict) -> ConflictOfDevice:
    """A conflict as the API writes it."""
    found = conflict.found
    return ConflictOfDevice(
        conflict_id=conflict.public_id,
        path=shown(found.path),
        kind=found.kind,
        base_sha256=found.base_sha256,
        local_sha256=found.local_sha256,
        server_sha256=found.server_sha256,
        device_id=conflict.device,
        detected_at=time_of(conflict.detected_at),
        conflict_path=shown(conflict.copy) if conflict.may_copy else None,
        collides_with=None if found.other is None else shown(found.other),
    )


def _there(call: Call, path: Path) -> Resource | None:
    try:
        return call.user.look(path)
    except NotFound:
        return None


def _now(resource: Resource | None) -> Now | None:
    if resource is None:
        return None
    if resource.etag is None:
        raise Unavailable("What the server has is still being hashed; try again later")
    return Now(resource.etag, resource.is_collection)


def _step(step: resolution.Step) -> Step:
    return Step(
        action=step.do,
        path=step.path,
        to=step.to,
        source=step.source,
        if_match=quoted(step.etag),
        if_none_match="*" if step.do == "upload" and step.etag is None else None,
    )
