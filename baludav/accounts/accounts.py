"""Keeps the accounts: who may sign in, what they belong to, and how much they may store.

Every change raises the account's `revision`, by which each worker sees that what it remembers is out of date.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, exists, select, update

from baludav.accounts import passwords
from baludav.accounts.names import AccountError, checked, folded
from baludav.db import audit
from baludav.db.audit import Kind, happened
from baludav.db.engine import Database
from baludav.db.statements import Statement
from baludav.db.tables import app_passwords, memberships, users

__all__ = ["Account", "AccountError", "Accounts", "AppPassword", "Credential", "Principal"]

_LONGEST_PASSWORD = 1024  # characters
_LONGEST_LABEL = 100  # characters
_LARGEST_QUOTA = (1 << 63) - 1
SEEN_EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Principal:
    """Who makes a request (RFC 3744 §2).

    Attributes:
        quota: bytes; None means the default of the configuration.
        revision: rises with each change to the account.
        device_id: the device whose token the request was signed with; None for a password.
        device: its name, or the label of the app password; empty for the password itself.
    """

    id: int
    name: str
    is_admin: bool
    groups: frozenset[str]
    quota: int | None
    revision: int
    device_id: int | None = field(default=None, kw_only=True)
    device: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Account(Principal):
    """A principal as administrators see it.

    Attributes:
        created_at: seconds since the epoch.
    """

    is_disabled: bool
    created_at: float


class AppPassword(NamedTuple):
    """A password one program signs in with; its secret is known to nobody here.

    Attributes:
        created_at: seconds since the epoch, as is `last_used_at`, to a minute or two.
    """

    label: str
    created_at: float
    last_used_at: float | None


class UsedAppPassword(NamedTuple):
    """An app password that somebody signs in with, and when that was noted last, in seconds since the epoch."""

    id: int
    label: str
    last_used_at: float | None


class Credential(NamedTuple):
    """What sign-in needs to know about an account."""

    user_id: int
    password_hash: str
    is_disabled: bool
    revision: int


_by_name = select(users).where(users.c.name == bindparam("name"))
_by_id = select(users).where(users.c.id == bindparam("id"))
_everyone = select(users).order_by(users.c.name)
_groups_of = select(memberships.c.group_name).where(memberships.c.user_id == bindparam("id"))
_all_groups = select(memberships.c.user_id, memberships.c.group_name)
_credential = select(users.c.id, users.c.password_hash, users.c.is_disabled, users.c.revision).where(
    users.c.name == bindparam("name")
)
_quota = Statement(select(users.c.quota).where(users.c.name == bindparam("name")))
_app_password = select(app_passwords.c.id, app_passwords.c.label, app_passwords.c.last_used_at).where(
    app_passwords.c.user_id == bindparam("id"), app_passwords.c.secret_hash == bindparam("secret_hash")
)
_used = update(app_passwords).where(app_passwords.c.id == bindparam("which")).values(last_used_at=bindparam("now"))


class Accounts:
    """All accounts of one installation.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self._clock = clock

    # Looking

    def list(self) -> tuple[Account, ...]:
        """Everybody, by name."""
        with self.database.snapshot() as connection:
            rows = connection.execute(_everyone).all()
            members = connection.execute(_all_groups).all()
        groups: dict[int, set[str]] = {}
        for user_id, group in members:
            groups.setdefault(user_id, set()).add(group)
        return tuple(_account(row, groups.get(row.id, ())) for row in rows)

    def get(self, name: str) -> Account:
        """One account.

        Raises:
            AccountError: there is none of this name.
        """
        with self.database.snapshot() as connection:
            row = connection.execute(_by_name, {"name": _spelled(name)}).first()
            if row is None:
                raise _unknown(name)
            return _account(row, connection.scalars(_groups_of, {"id": row.id}).all())

    def is_empty(self) -> bool:
        """True if there is no account at all."""
        with self.database.reading() as connection:
            return connection.execute(select(users.c.id).limit(1)).first() is None

    def quota(self, name: str) -> int | None:
        """The quota of one account in bytes; None without one, and for an unknown name."""
        with self.database.reading() as connection:
            quota: int | None = _quota.scalar(connection, {"name": name})
        return quota

    # Changing

    def add(
        self,
        name: str,
        password: str,
        is_admin: bool = False,
        quota: int | None = None,
        groups: Iterable[str] = (),
    ) -> Account:
        """Make a new account.

        Args:
            quota: bytes; None for the default.

        Raises:
            AccountError: the name is taken or cannot be used, or the password is empty.
        """
        name = checked(name)
        values: dict[str, Any] = {
            "name": name,
            "password_hash": _hashed(password),
            "is_admin": is_admin,
            "is_disabled": False,
            "quota": _checked_quota(quota),
            "revision": 1,
            "created_at": self._clock(),
        }
        wanted = _checked_groups(groups)
        given = ["an admin"] * is_admin + [f"groups {', '.join(sorted(wanted))}"] * bool(wanted)
        added = happened(Kind.USER_ADDED, name, detail="; ".join(given), at=self._clock())

        def work(connection: Connection) -> None:
            taken = next(
                (other for other in connection.scalars(select(users.c.name)) if folded(other) == folded(name)), None
            )
            if taken is not None:
                raise AccountError(f"There is a user {taken!r} already; choose another name")
            key = connection.execute(users.insert(), values).inserted_primary_key
            assert key is not None
            _write_groups(connection, key[0], wanted)
            audit.record(connection, added)

        self.database.commit(work)
        return self.get(name)

    def set_password(self, name: str, password: str) -> None:
        """Replace the password; app passwords stay."""
        self._change(name, Kind.PASSWORD_CHANGED, password_hash=_hashed(password))

    def disable(self, name: str) -> None:
        """Refuse this user from the next request on; nothing is deleted."""
        self._change(name, Kind.USER_DISABLED, is_disabled=True)

    def enable(self, name: str) -> None:
        """Let a disabled user in again."""
        self._change(name, Kind.USER_ENABLED, is_disabled=False)

    def set_quota(self, name: str, quota: int | None) -> None:
        """Limit what the home may hold, in bytes; None for the default."""
        detail = "the default" if quota is None else f"{quota} bytes"
        self._change(name, Kind.QUOTA_CHANGED, detail=detail, quota=_checked_quota(quota))

    def set_groups(self, name: str, groups: Iterable[str]) -> None:
        """Make the user a member of these groups and no others."""
        wanted = _checked_groups(groups)
        self._change(
            name, Kind.GROUPS_CHANGED, lambda connection, user_id: _write_groups(connection, user_id, wanted),
            detail=", ".join(sorted(wanted)) or "none",
        )  # fmt: skip

    def delete(self, name: str) -> None:
        """Forget the account, its app passwords and its locks. Its files are not touched."""
        self._change(
            name,
            Kind.USER_DELETED,
            lambda connection, user_id: connection.execute(delete(users).where(users.c.id == user_id)),
        )

    # App passwords

    def add_app_password(self, name: str, label: str) -> str:
        """A new password for one program.

        Returns:
            str: the secret, to be shown once; it cannot be read again.
        """
        label = _checked_label(label)
        secret = passwords.generate_app_password()
        values = {"label": label, "secret_hash": passwords.app_password_hash(secret), "created_at": self._clock()}

        def work(connection: Connection, user_id: int) -> None:
            named = _labelled(user_id, label)
            if connection.scalar(select(exists().where(*named))):
                raise AccountError(f"{name!r} has an app password {label!r} already; revoke it or choose another label")
            connection.execute(app_passwords.insert(), values | {"user_id": user_id})

        self._change(name, Kind.APP_PASSWORD_ADDED, work, detail=label)
        return secret

    def list_app_passwords(self, name: str) -> tuple[AppPassword, ...]:
        """The app passwords of one user, oldest first."""
        user_id = self.get(name).id
        with self.database.reading() as connection:
            found = connection.execute(
                select(app_passwords.c.label, app_passwords.c.created_at, app_passwords.c.last_used_at)
                .where(app_passwords.c.user_id == user_id)
                .order_by(app_passwords.c.id)
            ).all()
        return tuple(AppPassword(*row) for row in found)

    def revoke_app_password(self, name: str, label: str) -> None:
        """Refuse this app password from the next request on."""
        label = _checked_label(label)

        def work(connection: Connection, user_id: int) -> None:
            if not connection.execute(delete(app_passwords).where(*_labelled(user_id, label))).rowcount:
                raise AccountError(f"{name!r} has no app password {label!r}; see `baludav user app-password list`")

        self._change(name, Kind.APP_PASSWORD_REVOKED, work, detail=label)

    # For sign-in

    def credential(self, name: str) -> Credential | None:
        """What a password of this user is compared with."""
        with self.database.reading() as connection:
            row = connection.execute(_credential, {"name": _spelled(name)}).first()
        return Credential(*row) if row is not None else None

    def principal(self, user_id: int) -> Account | None:
        """The account of this id as it is now; None if it was deleted."""
        with self.database.snapshot() as connection:
            row = connection.execute(_by_id, {"id": user_id}).first()
            return _account(row, connection.scalars(_groups_of, {"id": user_id}).all()) if row is not None else None

    def app_password(self, user_id: int, secret_hash: str) -> UsedAppPassword | None:
        """The user's app password that this is the hash of; None if it is that of none."""
        with self.database.reading() as connection:
            row = connection.execute(_app_password, {"id": user_id, "secret_hash": secret_hash}).first()
        return None if row is None else UsedAppPassword._make(row)

    def app_password_used(self, used: UsedAppPassword) -> None:
        """Note that an app password was used, if the last note is not of the same minute."""
        now = self._clock()
        if used.last_used_at is None or not 0 <= now - used.last_used_at < SEEN_EVERY:
            noted = {"which": used.id, "now": now}
            self.database.commit(lambda connection: connection.execute(_used, noted), spares_accounts=True)

    def rehash(self, credential: Credential, password: str) -> None:
        """Store the same password under today's parameters, unless it was changed meanwhile."""
        statement = (
            update(users)
            .where(users.c.id == credential.user_id, users.c.password_hash == credential.password_hash)
            .values(password_hash=passwords.hash_password(password))
        )
        self.database.commit(lambda connection: connection.execute(statement))

    def _change(
        self, name: str, kind: Kind, work: Callable[[Connection, int], Any] | None = None, detail: str = "",
        **values: Any,
    ) -> None:  # fmt: skip
        """Change one account in one transaction, its revision and the audit trail included."""
        spelled = _spelled(name)
        event = happened(kind, spelled, detail=detail, at=self._clock())

        def change(connection: Connection) -> None:
            user_id = connection.scalar(select(users.c.id).where(users.c.name == spelled))
            if user_id is None:
                raise _unknown(name)
            raised = update(users).where(users.c.id == user_id).values(revision=users.c.revision + 1, **values)
            connection.execute(raised)
            if work is not None:
                work(connection, user_id)
            audit.record(connection, event)

        self.database.commit(change)


def _spelled(name: str) -> str:
    """The name as it would be stored; a name that could not be stored finds nobody."""
    try:
        return checked(name)
    except AccountError:
        return ""


def _unknown(name: str) -> AccountError:
    return AccountError(f"There is no user {name!r}; see `baludav user list`")


def _account(row: Row[Any], groups: Iterable[str]) -> Account:
    return Account(
        id=row.id, name=row.name, is_admin=row.is_admin, groups=frozenset(groups), quota=row.quota,
        revision=row.revision, is_disabled=row.is_disabled, created_at=row.created_at,
    )  # fmt: skip


def _hashed(password: str) -> str:
    if not password:
        raise AccountError("A password cannot be empty; choose one")
    if len(password) > _LONGEST_PASSWORD or any(ord(letter) < 32 or ord(letter) == 127 for letter in password):
        # HTTP Basic cannot carry control characters (RFC 7617 §2).
        raise AccountError(f"A password has up to {_LONGEST_PASSWORD} characters on one line; choose another")
    return passwords.hash_password(password)


def _checked_quota(quota: int | None) -> int | None:
    if quota is not None and not 0 <= quota <= _LARGEST_QUOTA:
        raise AccountError("A quota is a number of bytes, 0 or more; write for example 10GB")
    return quota


def _checked_groups(groups: Iterable[str]) -> frozenset[str]:
    return frozenset(checked(group, "group") for group in groups)


def _checked_label(label: str) -> str:
    label = label.strip()
    if not label or len(label) > _LONGEST_LABEL or not label.isprintable():
        raise AccountError(f"A label has 1 to {_LONGEST_LABEL} printable characters; choose another")
    return label


def _labelled(user_id: int, label: str) -> tuple[Any, Any]:
    return app_passwords.c.user_id == user_id, app_passwords.c.label == label


def _write_groups(connection: Connection, user_id: int, groups: Iterable[str]) -> None:
    connection.execute(delete(memberships).where(memberships.c.user_id == user_id))
    for group in sorted(groups):
        connection.execute(memberships.insert(), {"user_id": user_id, "group_name": group})
