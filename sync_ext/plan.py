"""The plan for a device: what it has is compared with what there is, and it is told what to do."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from baludav.errors import BadRequest, Invalid, NotFound, PathTooLong, TokenExpired
from baludav.tree.paths import RESERVED, Path, is_reserved, parse_decoded
from baludav.tree.reading import Resource
from baludav.tree.records.conflicts import Found
from baludav.tree.tokens import Token
from baludav.tree.tree import UserTree
from sync_ext.actions import Action, Clash, DeleteHere, DeleteThere, Download, Here, There, Upload, Wait, Why
from sync_ext.changes import File
from sync_ext.conflicts import ConflictOfDevice, conflict_of
from sync_ext.decision import decide, is_mass_deletion
from sync_ext.endpoints import Call, endpoint
from sync_ext.spelling import above
from sync_ext.types import (
    Answer,
    Body,
    ChangeToken,
    DeviceId,
    Etag,
    PathText,
    Sha256,
    Size,
    Time,
    quoted,
    shown,
    time_of_ns,
)

_MOST_BYTES = 32 * 1024 * 1024  # of a list: about 100,000 files


class ListedFile(Body):
    """A file that a device has, or that it once had in common with the server and has no more.

    - `sha256`: of the bytes that it has now; null: it had this file, and has it no more.
    - `base_sha256`: of the bytes that device and server last had in common at this path; null: never any.

    A path that is not listed was never known to the device: what the server has there is new to it. So a deletion
    must be listed, with `sha256` null and its `base_sha256`, until a plan has been carried out; then it is forgotten.
    What is equal is told by `sha256` alone; size and time are for those who read the list.
    """

    path: PathText
    sha256: Sha256 | None
    base_sha256: Sha256 | None = None
    size: Size | None = None
    modified_at: Time | None = None


class DeviceList(Body):
    """Everything that a device has.

    `change_token` is the last one that the device has. If the server does not know that moment any more, because its
    index was lost or restored from an older backup, nothing is deleted on the device: what is as it was in common, and
    is not there any more, is uploaded again.
    """

    device_id: DeviceId
    files: list[ListedFile]
    change_token: ChangeToken | None = None


class PlannedUpload(Answer):
    """A file to PUT, with one of the two conditions. Collections above it that are missing are made first."""

    path: PathText
    if_match: Etag | None
    if_none_match: Literal["*"] | None


class LocalDeletion(Answer):
    """A file to be deleted by the device, if it still has these bytes."""

    path: PathText
    sha256: Sha256


class RemoteDeletion(Answer):
    """What to DELETE, with this condition. A collection goes with all that is below it, as nothing there is kept."""

    path: PathText
    is_collection: bool
    if_match: Etag


class UndecidedPath(Answer):
    """A path of which nothing can be said now.

    - `not_hashed`: the server does not know its bytes yet; it tells in its changes when it does.
    - `blocked`: by a conflict, of another name or of a file where the other side has a collection.
    - `read_only`: the user may not change it on the server.
    - `name`: the server cannot store this name.
    """

    path: PathText
    reason: Why


class Plan(Answer):
    """What the device does, in this order: local deletions, downloads, remote deletions, uploads.

    A device looks once more whether a file of its own is still as listed before it deletes or replaces it. After each
    step it remembers what it has in common with the server at that path now. Conflicts are for its user to resolve.

    `mass_deletion`: one side is suddenly empty, or would lose more than half of the files that the device has (or had
    in common with the server), not counting what only moved: ask the user first.
    """

    to_download: list[File]
    to_upload: list[PlannedUpload]
    to_delete_local: list[LocalDeletion]
    to_delete_remote: list[RemoteDeletion]
    conflicts: list[ConflictOfDevice]
    undecided: list[UndecidedPath]
    mass_deletion: bool
    change_token: Annotated[ChangeToken, Meta(description="To be acknowledged when all is done.")]


@endpoint("POST", "/changes", failures=(NotFound,), most_bytes=_MOST_BYTES)
def plan(call: Call, body: DeviceList) -> Plan:
    """Decide what a device has to do, by comparing everything that it has with everything there is.

    Changes nothing, except that it records the conflicts. Any device can ask at any time, also one whose change token
    has expired.
    """
    return plan_for(call.user, call.ground.devices.get(call.principal.id, body.device_id).id, body)


def plan_for(user: UserTree, device_id: int, body: DeviceList) -> Plan:
    """The plan for a device of a user."""
    here, impossible = _listed(body.files)
    if body.change_token is not None and not _is_remembered(user, body.change_token):
        # What the device calls common is so no more: that it is missing here does not mean that somebody deleted it.
        here = [file._replace(base=None) if file.sha256 == file.base else file for file in here]
    there: list[There] = []
    token = user.everything(lambda resource: there.append(_there(resource)))
    actions = [*_permitted(decide(here, there), _read_only(user)), *impossible]
    clashes = [_found(action) for action in actions if isinstance(action, Clash)]
    undecided = {_names(action.path) for action in actions if isinstance(action, Wait)}
    conflicts = user.record_conflicts(device_id, clashes, undecided)
    return _plan(actions, [conflict_of(one) for one in conflicts], is_mass_deletion(here, there, actions), token)


def _listed(files: Sequence[ListedFile]) -> tuple[list[Here], list[Wait]]:
    """What the device has, and what of it the server could not store under this name.

    Raises:
        Invalid: a path cannot be, or two cannot be together.
    """
    here: list[Here] = []
    impossible: list[Wait] = []
    seen: set[str] = set()
    for number, file in enumerate(files):
        try:
            names = parse_decoded(file.path)
        except PathTooLong:
            impossible.append(Wait(file.path, Why.NAME))
            continue
        except BadRequest as failure:
            raise Invalid(str(failure), field=f"files[{number}].path") from failure
        if shown(names) != file.path or not names:
            raise Invalid("A path has one slash before each name, and none at its end", field=f"files[{number}].path")
        if file.path in seen:
            raise Invalid("This path is listed twice", field=f"files[{number}].path")
        seen.add(file.path)
        if RESERVED in file.path.casefold() and any(map(is_reserved, names)):
            impossible.append(Wait(file.path, Why.NAME))
        else:
            here.append(Here(file.path, file.sha256, file.base_sha256))
    collections = above(file.path for file in here if file.sha256 is not None)
    for number, file in enumerate(files):
        if file.sha256 is not None and file.path in collections:
            raise Invalid("Files are listed below this one", field=f"files[{number}].path")
    return here, impossible


def _is_remembered(user: UserTree, change_token: str) -> bool:
    try:
        return user.remembers(Token.parse(change_token))
    except TokenExpired:
        return False


def _there(resource: Resource) -> There:
    path = shown(resource.path)
    if resource.is_collection:
        may_go = resource.place.root is not None and not resource.place.is_mount
        return There(path, None, True, resource.etag if may_go else None)
    return There(path, resource.sha256, False, resource.etag, resource.size, resource.modified_ns)


def _read_only(user: UserTree) -> tuple[str, ...]:
    """What the paths begin with that the user may not write."""
    places = [user.namespace.place(mount) for mount, _ in user.namespace.roots()]
    return tuple(shown(place.path) + "/" for place in places if not place.can_write)


def _permitted(actions: Iterable[Action], read_only: tuple[str, ...]) -> list[Action]:
    return [
        Wait(action.path, Why.READ_ONLY)
        if isinstance(action, Upload | DeleteThere | Clash) and action.path.startswith(read_only)
        else action
        for action in actions
    ]


def _found(clash: Clash) -> Found:
    other = None if clash.other is None else _names(clash.other)
    return Found(_names(clash.path), clash.kind, clash.base, clash.here, clash.there, other)


def _names(path: str) -> Path:
    return tuple(path[1:].split("/"))


def _plan(actions: Iterable[Action], conflicts: list[ConflictOfDevice], is_mass: bool, token: Token) -> Plan:
    plan = Plan([], [], [], [], conflicts, [], is_mass, str(token))
    for action in actions:
        match action:
            case Download(path, there):
                modified_at = time_of_ns(there.modified_ns)
                plan.to_download.append(File(path, there.size, there.sha256, quoted(there.sha256), modified_at))
            case Upload(path, replaces):
                plan.to_upload.append(PlannedUpload(path, quoted(replaces), "*" if replaces is None else None))
            case DeleteHere(path, sha256):
                plan.to_delete_local.append(LocalDeletion(path, sha256))
            case DeleteThere(path, etag, is_collection):
                plan.to_delete_remote.append(RemoteDeletion(path, is_collection, f'"{etag}"'))
            case Wait(path, why):
                plan.undecided.append(UndecidedPath(path, why))
    return plan
