"""Devices in the accounts: their tokens, and when they were seen."""

import pytest
from sqlalchemy import select

from baludav.accounts import devices as room
from baludav.accounts import passwords, signin
from baludav.accounts.accounts import Accounts
from baludav.accounts.devices import Device, Devices
from baludav.accounts.signin import SignIn
from baludav.db import tables
from baludav.db.engine import Database
from baludav.errors import LimitReached, NotFound, NotSignedIn, Unavailable
from tests.accounts.conftest import Clock

HERE = "192.0.2.1"


@pytest.fixture
def devices(database: Database, clock: Clock) -> Devices:
    return Devices(database, clock=clock)


@pytest.fixture
def bob(accounts: Accounts) -> int:
    return accounts.add("bob", "secret").id


def _last_seen(devices: Devices, device: Device) -> float:
    return devices.get(device.user_id, device.public_id).last_seen_at


def test_a_token_is_stored_hashed(devices: Devices, database: Database, bob: int) -> None:
    _, token = devices.add(bob, "phone", "mobile", "token")
    with database.reading() as connection:
        (row,) = connection.execute(select(tables.devices)).all()
    assert token not in str(row)
    assert token.replace("-", "") not in str(row)


def test_who_signs_in_with_a_token(devices: Devices, accounts: Accounts, sign_in: SignIn, bob: int) -> None:
    accounts.add("eve", "secret")
    device, token = devices.add(bob, "phone", "mobile", "token")
    for name in (None, "bob"):
        principal = sign_in.check(name, token, HERE)
        assert (principal.name, principal.device_id) == ("bob", device.id)
        assert sign_in.recall(sign_in.key(name, token, HERE)) == principal
    assert sign_in.check("bob", "secret", HERE).device_id is None
    for name, password in (("eve", token), (None, "secret"), (None, token[:-1]), (None, ""), (None, "é")):
        with pytest.raises(NotSignedIn):
            sign_in.check(name, password, HERE)


def test_a_wrong_token_does_not_slow_anybody_down(sign_in: SignIn, accounts: Accounts) -> None:
    """A device that was removed may go on asking for years, from behind the same address as the others."""
    accounts.add("bob", "secret")
    for _ in range(100):
        with pytest.raises(NotSignedIn):
            sign_in.check(None, "aaaa-" * 7 + "aaaa", HERE)
    assert sign_in.check("bob", "secret", HERE).name == "bob"


def test_a_token_that_has_ended_is_one_guess(
    devices: Devices, sign_in: SignIn, accounts: Accounts, bob: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a program sends it: its user must not be locked out by it, and it is hashed once."""
    device, token = devices.add(bob, "rclone", "other", "token")
    sign_in.check("bob", token, HERE)
    devices.remove(bob, device.public_id)
    hashed: list[str] = []
    real = passwords.verify
    monkeypatch.setattr(passwords, "verify", lambda *given: hashed.append(given[0]) or real(*given))
    for _ in range(100):
        with pytest.raises(NotSignedIn):
            sign_in.check("bob", token, HERE)
    assert hashed == [token]
    assert sign_in.check("bob", "secret", HERE).name == "bob"
    accounts.set_password("bob", token)
    assert sign_in.check("bob", token, HERE).device_id is None, "it is somebody's password after all"


@pytest.mark.parametrize("name", [None, "bob"])
def test_removing_a_device_counts_at_once(
    devices: Devices, elsewhere: Accounts, sign_in: SignIn, bob: int, name: str | None
) -> None:
    """Also when another process removes it."""
    device, token = devices.add(bob, "phone", "mobile", "token")
    sign_in.check(name, token, HERE)
    Devices(elsewhere.database).remove(bob, device.public_id)
    assert sign_in.recall(sign_in.key(name, token, HERE)) is None
    with pytest.raises(NotSignedIn):
        sign_in.check(name, token, HERE)
    with pytest.raises(NotFound):
        devices.confirm(device, "later")


def test_a_disabled_account_has_no_tokens(devices: Devices, accounts: Accounts, sign_in: SignIn, bob: int) -> None:
    _, token = devices.add(bob, "phone", "mobile", "token")
    accounts.disable("bob")
    for name in (None, "bob"):
        with pytest.raises(NotSignedIn):
            sign_in.check(name, token, HERE)
    accounts.delete("bob")
    assert devices.of(bob) == []


def test_seen_at_most_once_a_minute(devices: Devices, sign_in: SignIn, bob: int, clock: Clock) -> None:
    """Not with each request, and not with each connection."""
    device, token = devices.add(bob, "phone", "mobile", "token")
    begun = clock.now
    clock.pass_by(room.SEEN_EVERY - 1)
    sign_in.check(None, token, HERE)
    assert _last_seen(devices, device) == begun
    clock.pass_by(signin.REMEMBER + 1)
    for address in (HERE, "192.0.2.2"):
        sign_in.check(None, token, address)
    assert _last_seen(devices, device) == clock.now
    clock.pass_by(-10_000)  # a clock set back is followed
    sign_in.check(None, token, HERE)
    assert _last_seen(devices, device) == clock.now


def test_a_device_reads_while_the_disk_is_full(
    devices: Devices, sign_in: SignIn, bob: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it was seen cannot be noted then; it is signed in all the same."""
    device, token = devices.add(bob, "phone", "mobile", "token")
    clock.pass_by(room.SEEN_EVERY + 1)

    def refuse(self: Devices, owner: object) -> None:
        raise Unavailable()

    monkeypatch.setattr(Devices, "seen", refuse)
    assert sign_in.check(None, token, HERE).device_id == device.id


def test_a_limit_for_each_user(devices: Devices, accounts: Accounts, bob: int) -> None:
    devices.most = 2
    for name in ("one", "two"):
        devices.add(bob, name, "other", "token")
    with pytest.raises(LimitReached):
        devices.add(bob, "three", "other", "token")
    eve = accounts.add("eve", "secret").id
    devices.add(eve, "one", "other", "token")
    assert [device.name for device in devices.of(bob)] == ["one", "two"]
    with pytest.raises(NotFound):
        devices.get(eve, devices.of(bob)[0].public_id)
