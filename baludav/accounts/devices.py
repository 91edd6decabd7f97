"""Keeps the devices: clients that sync, each with a token of its own and the last change token it confirmed.

A token is 160 random bits like an app password, and stored like one. Ending it raises the revision of its account,
by which each worker sees that what it remembers is out of date.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, update

from baludav.accounts import passwords
from baludav.accounts.accounts import SEEN_EVERY, Credential
from baludav.config import Limits
from baludav.db import audit
from baludav.db.audit import Kind, happened
from baludav.db.engine import Database
from baludav.db.tables import conflicts, devices, users
from baludav.errors import LimitReached, NotFound


class Device(NamedTuple):
    """A registered client of one user.

    Attributes:
        id: never shown to anybody; `public_id` is.
        device_type: desktop, mobile, server or other.
        created_at: seconds since the epoch, as is `last_seen_at`.
        change_token: up to where it has applied all changes.
    """

    id: int
    public_id: str
    user_id: int
    name: str
    device_type: str
    created_at: float
    last_seen_at: float
    change_token: str


class TokenOwner(NamedTuple):
    """The device that a token belongs to, and the account that is signed in with it."""

    device_id: int
    name: str
    last_seen_at: float
    credential: Credential


_columns = [devices.c[name] for name in Device._fields]
_of_user = select(*_columns).where(devices.c.user_id == bindparam("user"))
_everything = _of_user.order_by(devices.c.id)
_one = _of_user.where(devices.c.public_id == bindparam("public_id"))
_owner = (
    select(
        devices.c.id,
        devices.c.name,
        devices.c.last_seen_at,
        users.c.id,
        users.c.password_hash,
        users.c.is_disabled,
        users.c.revision,
    )
    .join(users, users.c.id == devices.c.user_id)
    .where(devices.c.token_hash == bindparam("token_hash"))
)
_open_conflicts = (
    select(conflicts.c.device_id, func.count())
    .where(conflicts.c.user_id == bindparam("user"), conflicts.c.resolution.is_(None))
    .group_by(conflicts.c.device_id)
)
_seen = update(devices).where(devices.c.id == bindparam("which")).values(last_seen_at=bindparam("now"))


class Devices:
    """The devices of all users.

    Attributes:
        most: of one user.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(
        self, database: Database, *, most: int = Limits().devices, clock: Callable[[], float] = time.time
    ) -> None:
        self.most = most
        self._database = database
        self._clock = clock

    def add(self, user_id: int, name: str, device_type: str, change_token: str) -> tuple[Device, str]:
        """Register a device.

        Returns:
            the device, and its token, to be shown once; it cannot be read again.
        Raises:
            LimitReached: the user has as many as one may have.
        """
        token = passwords.generate_app_password()
        now = self._clock()
        added = happened(Kind.DEVICE_ADDED, detail=name, at=now)
        values: dict[str, Any] = {
            "public_id": secrets.token_hex(16),
            "user_id": user_id,
            "name": name,
            "device_type": device_type,
            "token_hash": passwords.app_password_hash(token),
            "created_at": now,
            "last_seen_at": now,
            "change_token": change_token,
        }

        def work(connection: Connection) -> None:
            count = connection.scalar(select(func.count()).where(devices.c.user_id == user_id)) or 0
            if count >= self.most:
                told = f"You have {count} devices; delete one that you do not use any more"
                raise LimitReached(told).at("devices")
            connection.execute(devices.insert(), values)
            audit.record(connection, added._replace(user=_name_of(connection, user_id)))

        self._database.commit(work)
        return self.get(user_id, values["public_id"]), token

    def of(self, user_id: int) -> list[Device]:
        """The devices of one user, oldest first."""
        with self._database.reading() as connection:
            return [Device._make(row) for row in connection.execute(_everything, {"user": user_id})]

    def get(self, user_id: int, public_id: str) -> Device:
        """One device of a user.

        Raises:
            NotFound: this user has no such device.
        """
        with self._database.reading() as connection:
            return _found(connection, user_id, public_id)

    def public_ids(self, user_id: int) -> dict[int, str]:
        """The public ids of a user's devices, by id."""
        return {device.id: device.public_id for device in self.of(user_id)}

    def open_conflicts(self, user_id: int) -> dict[int, int]:
        """How many conflicts of each device of a user are not resolved, by device id; those without are missing."""
        with self._database.reading() as connection:
            return dict(map(tuple, connection.execute(_open_conflicts, {"user": user_id})))

    def remove(self, user_id: int, public_id: str) -> None:
        """Forget a device; its token is refused from the next request on.

        Raises:
            NotFound: this user has no such device.
        """
        removed = happened(Kind.DEVICE_REMOVED, at=self._clock())

        def work(connection: Connection) -> None:
            device = _found(connection, user_id, public_id)
            connection.execute(delete(devices).where(devices.c.id == device.id))
            raised = update(users).where(users.c.id == user_id).values(revision=users.c.revision + 1)
            connection.execute(raised)
            audit.record(connection, removed._replace(user=_name_of(connection, user_id), detail=device.name))

        self._database.commit(work)

    def confirm(self, device: Device, change_token: str) -> Device:
        """Record up to where a device has applied all changes.

        Raises:
            NotFound: it was removed meanwhile.
        """
        statement = update(devices).where(devices.c.id == device.id).values(change_token=change_token)

        def work(connection: Connection) -> None:
            if not connection.execute(statement).rowcount:
                raise NotFound("There is no such device")

        self._database.commit(work)
        return device._replace(change_token=change_token)

    # For sign-in

    def owner_of(self, token_hash: str) -> TokenOwner | None:
        """Whose token this is the hash of."""
        with self._database.reading() as connection:
            row = connection.execute(_owner, {"token_hash": token_hash}).first()
        return None if row is None else TokenOwner(*row[:3], Credential(*row[3:]))

    def seen(self, owner: TokenOwner) -> None:
        """Note that a device signed in, if the last note is not of the same minute."""
        now = self._clock()
        if not 0 <= now - owner.last_seen_at < SEEN_EVERY:
            noted = {"which": owner.device_id, "now": now}
            self._database.commit(lambda connection: connection.execute(_seen, noted), spares_accounts=True)


def _name_of(connection: Connection, user_id: int) -> str:
    return connection.scalar(select(users.c.name).where(users.c.id == user_id)) or ""


def _found(connection: Connection, user_id: int, public_id: str) -> Device:
    row = connection.execute(_one, {"user": user_id, "public_id": public_id}).first()
    if row is None:
        raise NotFound("There is no such device")
    return Device._make(row)
