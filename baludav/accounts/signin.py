"""Signs users in: compares passwords, slowly by design, and remembers for a minute what it has compared.

Remembering spares each request 20 ms of hashing. It must not hide a change: after whatever any process commits to
accounts and throttle, the next request reads the account's revision and the throttle again.
"""

import hmac
import logging
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from sqlalchemy import bindparam, select

from baludav.accounts import passwords, throttle
from baludav.accounts.accounts import Accounts, Credential, Principal
from baludav.accounts.devices import Devices
from baludav.accounts.throttle import Throttle
from baludav.accounts.trail import Trail
from baludav.db.statements import Statement
from baludav.db.tables import users
from baludav.errors import Failure, NotSignedIn, TooManyRequests

log = logging.getLogger(__name__)

REMEMBER = 60.0  # seconds
_MOST = 4096  # credentials remembered at a time
_TURNS = 32

_state = Statement(select(users.c.revision, users.c.is_disabled).where(users.c.id == bindparam("id")))


class _Signer(NamedTuple):
    """The account whose secret was right, and the device or app password that it belongs to, if it does."""

    credential: Credential
    device_id: int | None = None
    device: str = ""


class _Remembered:
    """A credential that was right a short time ago."""

    __slots__ = ("keys", "mark", "principal", "until")

    def __init__(self, principal: Principal, keys: throttle.Keys | None, until: float, mark: bytes | None) -> None:
        self.principal = principal
        self.keys = keys  # None: an app password or a device's token, which is not throttled
        self.until = until
        self.mark = mark


class SignIn:
    """Sign-in for one process.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, accounts: Accounts, trail: Trail, *, clock: Callable[[], float] = time.time) -> None:
        self._accounts = accounts
        self._trail = trail
        self._devices = Devices(accounts.database, clock=clock)
        self._clock = clock
        self._glance = accounts.database.glance
        self._mark = accounts.database.accounts_mark
        self._throttle = Throttle(accounts.database, clock)
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, _Remembered] = {}
        self._ended: dict[bytes, int | None] = {}  # app passwords and tokens that are none, with the revision
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    def check(self, name: str | None, password: str, address: str) -> Principal:
        """Who this is. May take as long as hashing a password does.

        Args:
            name: None if the password is the token of a device, which says by itself whose it is.
            address: where the request comes from, as `client_address` tells.

        Raises:
            NotSignedIn: unknown or disabled user, or wrong password.
            TooManyRequests: so many failures that the password was not even compared.
        """
        name = _spelled(name)
        try:
            principal = self._checked(name, password, address)
        except TooManyRequests:
            self._trail.throttled(name if self._accounts.credential(name) else None, address)
            raise
        self._trail.signed_in(principal, address)
        return principal

    def _checked(self, name: str, password: str, address: str) -> Principal:
        digest = self.key(name, password, address)
        principal = self.recall(digest)
        if principal is not None:
            return principal
        # One at a time for each account: a client that opens 16 connections is hashed once, and one that tries
        # 16 passwords at once does not get them all in before the first failure is counted.
        with self._turns[hash(name or password) % _TURNS]:
            principal = self.recall(digest)
            return principal if principal is not None else self._compare(digest, name, password, address)

    def still_holds(self, principal: Principal) -> bool:
        """False if the account was changed in any way since somebody signed in with it; about 5 µs."""
        state = self._glance.rows(_state, {"id": principal.id})
        return bool(state) and state[0][0] == principal.revision and not state[0][1]

    def key(self, name: str | None, password: str, address: str) -> bytes:
        """What `recall` finds a credential by; it does not give the password away."""
        # The address belongs to it: what one address may skip, another must not.
        parts = "\0".join((_spelled(name), password, address)).encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, parts, "sha256")

    def recall(self, digest: bytes) -> Principal | None:
        """Who this is, if it is remembered; never hashes a password.

        Raises:
            TooManyRequests: as `check` does.
        """
        found = self._remembered.get(digest)
        if found is None:
            return None
        if not 0 <= found.until - self._clock() <= REMEMBER:
            self._forget(digest)
            return None
        mark = self._mark.read()
        if mark is not None and mark == found.mark:
            return found.principal
        if not self.still_holds(found.principal):
            self._forget(digest)
            return None
        if found.keys is not None:
            self._require_patience(found.keys)
        found.mark = mark  # taken before reading, so a commit in between is noticed next time
        return found.principal

    def _compare(self, digest: bytes, name: str, password: str, address: str) -> Principal:
        mark = self._mark.read()
        keys = throttle.keys(name, address)
        credential = self._accounts.credential(name) if name else None
        # Nobody guesses 160 bits, so neither throttling nor a slow hash is needed here, and a device with an app
        # password is not locked out by another behind the same address that has an old password.
        secret = passwords.app_password_hash(password)
        if secret is not None:
            owner = self._owner(name, secret, credential)
            if owner is not None:
                return self._remember(digest, owner, None, mark) or self._compare(digest, name, password, address)
        revision = credential.revision if credential else None
        if not name or self._ended.get(digest, -1) == revision:
            self._refuse(name, address, credential)
        self._require_patience(keys)
        is_right = passwords.verify(password, credential.password_hash if credential else None)
        if not is_right or credential is None or credential.is_disabled:
            self._throttle.failed(keys)
            if secret is not None:
                # A program that was not told goes on sending it; that is no new guess, which would slow down
                # everybody who signs in with this name from behind the same address.
                self._note_ended(digest, revision)
            self._refuse(name, address, credential)
        if passwords.needs_rehash(credential.password_hash):
            self._accounts.rehash(credential, password)
        self._throttle.succeeded(keys)
        signer = _Signer(credential)
        return self._remember(digest, signer, keys, mark) or self._compare(digest, name, password, address)

    def _owner(self, name: str, secret: str, credential: Credential | None) -> _Signer | None:
        """Whose secret this is; None if not this user's, or of no use."""
        used = None if credential is None else self._accounts.app_password(credential.user_id, secret)
        if credential is not None and used is not None:
            if credential.is_disabled:
                return None
            self._note_use(lambda: self._accounts.app_password_used(used))
            return _Signer(credential, device=used.label)
        owner = self._devices.owner_of(secret)
        if owner is None or owner.credential.is_disabled:
            return None
        if name and (credential is None or owner.credential.user_id != credential.user_id):
            return None
        self._note_use(lambda: self._devices.seen(owner))
        return _Signer(owner.credential, owner.device_id, owner.name)

    @staticmethod
    def _note_use(note: Callable[[], None]) -> None:
        try:
            note()
        except Failure as failure:  # a full disk must not keep a device from reading
            log.warning("a device was seen, which could not be noted: %s", failure)

    def _note_ended(self, digest: bytes, revision: int | None) -> None:
        with self._lock:
            if len(self._ended) >= _MOST:
                self._ended.clear()
            self._ended[digest] = revision

    def _refuse(self, name: str, address: str, credential: Credential | None) -> NoReturn:
        if not name:
            self._trail.failed(None, address, "the token of no device")
        elif credential is None:
            self._trail.failed(None, address, "no such user")
        else:
            self._trail.failed(name, address, "disabled" if credential.is_disabled else "wrong password")
        if passwords.app_password_hash(name) is not None:
            name = "***"  # a program that was told so little that it put its token here
        log.warning("sign-in failed: %s from %s", f"user {name[:80]!a}" if name else "a device", ascii(address))
        raise NotSignedIn()

    def _require_patience(self, keys: throttle.Keys) -> None:
        seconds = self._throttle.wait(keys)
        if seconds:
            raise TooManyRequests(seconds)

    def _remember(
        self,
        digest: bytes,
        signer: _Signer,
        keys: throttle.Keys | None,
        mark: bytes | None,
    ) -> Principal | None:
        """Who this is from now on; None if the account was changed while the password was compared."""
        account = self._accounts.principal(signer.credential.user_id)
        if account is None or account.revision != signer.credential.revision:
            return None
        # Not the account itself: what only administrators see does not travel with a request.
        principal = Principal(
            account.id, account.name, account.is_admin, account.groups, account.quota, account.revision,
            device_id=signer.device_id, device=signer.device,
        )  # fmt: skip
        with self._lock:
            self._remembered.pop(digest, None)
            if len(self._remembered) >= _MOST:  # the one to expire first stands first
                del self._remembered[next(iter(self._remembered))]
            self._remembered[digest] = _Remembered(principal, keys, self._clock() + REMEMBER, mark)
        return principal

    def _forget(self, digest: bytes) -> None:
        with self._lock:
            self._remembered.pop(digest, None)


def _spelled(name: str | None) -> str:
    """A name as accounts have it; empty, as no name is, for a token that comes without."""
    return unicodedata.normalize("NFC", name or "")
