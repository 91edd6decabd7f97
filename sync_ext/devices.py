"""The devices of a user: registering one, how far each is, and forgetting it."""

from typing import Annotated, Literal

from msgspec import Meta

from baludav.accounts.devices import Device
from baludav.errors import Forbidden, LimitReached, NotFound, TokenExpired
from baludav.tree.tokens import Token
from sync_ext.changes import position
from sync_ext.endpoints import BASE, Call, endpoint
from sync_ext.types import Answer, Body, ChangeToken, DeviceId, Time, matching, time_of

Name = Annotated[str, matching(r"[^/\\\u0000-\u001f\u007f-\u009f]*", min_length=1, max_length=100)]
DeviceType = Literal["desktop", "mobile", "server", "other"]


class NewDevice(Body):
    """A device to be registered."""

    name: Name
    device_type: DeviceType


class RegisteredDevice(Answer):
    """A new device, with its token, which cannot be seen again."""

    device_id: DeviceId
    name: str
    device_type: DeviceType
    token: str
    change_token: ChangeToken


class SyncState(Answer):
    """How far a device is."""

    device_id: DeviceId
    name: str
    device_type: DeviceType
    created_at: Time
    last_seen_at: Time
    change_token: ChangeToken
    status: Literal["synced", "behind", "conflicted"]
    pending_changes: Annotated[
        int | None,
        Meta(
            description="Paths that others changed since its change token, of the first 10,000 changes; null if that "
            "token has expired."
        ),
    ]
    conflicts: Annotated[int, Meta(ge=0, description="Conflicts of this device that are not resolved.")]


class SyncStates(Answer):
    """All devices of the user."""

    devices: list[SyncState]


class Acknowledgement(Body):
    """Up to where a device is."""

    change_token: ChangeToken


@endpoint("POST", "/devices", status=201, failures=(LimitReached,))
def register(call: Call, body: NewDevice) -> RegisteredDevice:
    """Register a device.

    It begins with nothing pending: what it finds in the state is not counted. Needs a password of the user: a
    device that could register others would outlive its own removal.
    """
    _require_password(call)
    device, token = call.ground.devices.add(call.principal.id, body.name, body.device_type, str(call.user.token()))
    call.headers.append(("Location", f"{BASE}/devices/{device.public_id}"))
    return RegisteredDevice(
        device_id=device.public_id, name=device.name, device_type=body.device_type, token=token,
        change_token=device.change_token,
    )  # fmt: skip


@endpoint("GET", "/devices")
def everything(call: Call) -> SyncStates:
    """List the devices of the user, oldest first."""
    return SyncStates(devices=_states(call, call.ground.devices.of(call.principal.id)))


@endpoint("GET", "/devices/{device_id}", failures=(NotFound,))
def one(call: Call, device_id: str) -> SyncState:
    """How far a device is."""
    return _states(call, [call.ground.devices.get(call.principal.id, device_id)])[0]


@endpoint("POST", "/devices/{device_id}/ack", failures=(NotFound, TokenExpired))
def acknowledge(call: Call, device_id: str, body: Acknowledgement) -> SyncState:
    """Say that the device has applied everything up to a change token.

    An older token than the last one changes nothing: it is an answer that came late.
    """
    device = call.ground.devices.get(call.principal.id, device_id)
    token, known = position(body.change_token, "change_token"), Token.parse(device.change_token)
    call.user.check_token(token)
    if (token.epoch, token.sight) != (known.epoch, known.sight) or token.number > known.number:
        device = call.ground.devices.confirm(device, str(token))
    return _states(call, [device])[0]


@endpoint("DELETE", "/devices/{device_id}", failures=(NotFound,))
def remove(call: Call, device_id: str) -> None:
    """Forget a device; its token ends at once. With the token of a device, only that device."""
    device = call.ground.devices.get(call.principal.id, device_id)
    if device.id != call.principal.device_id:
        _require_password(call)
    call.ground.devices.remove(call.principal.id, device_id)


def _require_password(call: Call) -> None:
    if call.principal.device_id is not None:
        raise Forbidden("The token of a device cannot do this; sign in with your password")


def _states(call: Call, devices: list[Device]) -> list[SyncState]:
    conflicts = call.ground.devices.open_conflicts(call.principal.id)
    return [_state(call, device, conflicts.get(device.id, 0)) for device in devices]


def _state(call: Call, device: Device, conflicts: int) -> SyncState:
    pending = call.user.pending(Token.parse(device.change_token), device.id)
    return SyncState(
        device_id=device.public_id,
        name=device.name,
        device_type=device.device_type,  # type: ignore[arg-type]  # one of them
        created_at=time_of(device.created_at),
        last_seen_at=time_of(device.last_seen_at),
        change_token=device.change_token,
        status="conflicted" if conflicts else "synced" if pending == 0 else "behind",
        pending_changes=pending,
        conflicts=conflicts,
    )
