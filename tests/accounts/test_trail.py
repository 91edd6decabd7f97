"""What is gathered for the audit trail: one row for what is alike, and nothing that could be a secret."""

from collections.abc import Iterator

import pytest

from baludav.accounts import trail as room
from baludav.accounts.accounts import Accounts
from baludav.accounts.devices import Devices
from baludav.accounts.signin import REMEMBER, SignIn
from baludav.accounts.throttle import FREE_FOR_ACCOUNT
from baludav.accounts.trail import Trail
from baludav.db import audit
from baludav.db.audit import Event, Kind, happened
from baludav.db.engine import Database
from baludav.errors import DiskFull, Forbidden, NotFound, NotSignedIn, TooManyRequests
from baludav.origin import Origin, coming_from
from tests.serving import wait_for

HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def bob(accounts: Accounts) -> str:
    accounts.add("bob", "secret")
    return "bob"


@pytest.fixture
def elsewhere_trail(elsewhere: Accounts, clock) -> Iterator[Trail]:
    """That of another process."""
    other = Trail(elsewhere.database, clock=clock)
    yield other
    other.close()


def found(database: Database, *kinds: Kind, user: str | None = None) -> list[Event]:
    with database.reading() as connection:
        return list(audit.find(connection, kinds=kinds, user=user))


def ask(sign_in: SignIn, name: str | None, password: str, address: str = HERE, client: str = "rclone/v1.71") -> None:
    with coming_from(Origin(address, client)):
        sign_in.check(name, password, address)


def test_a_client_that_signs_in_is_one_row(bob: str, sign_in: SignIn, trail: Trail, database: Database, clock) -> None:
    """However often it asks, and on whichever connection; another address or program is another row."""
    begun = clock.now
    for _ in range(50):
        ask(sign_in, bob, "secret")
    trail.flush()
    (first,) = found(database, Kind.SIGN_IN)
    assert first == Event(
        Kind.SIGN_IN, "bob", "", HERE, "rclone/v1.71", "", "", times=1, first_at=begun, last_at=begun
    )  # fmt: skip
    ask(sign_in, bob, "secret", THERE)
    ask(sign_in, bob, "secret", client="davfs2/1.6")  # within the minute in which nothing is hashed
    trail.flush()
    rows = {(event.address, event.client) for event in found(database, Kind.SIGN_IN)}
    assert rows == {(HERE, "rclone/v1.71"), (THERE, "rclone/v1.71"), (HERE, "davfs2/1.6")}


def test_who_still_signs_in_is_seen_by_the_hour(
    bob: str, sign_in: SignIn, trail: Trail, database: Database, clock
) -> None:
    begun = clock.now
    ask(sign_in, bob, "secret")
    trail.flush()
    clock.pass_by(REMEMBER + 1)
    ask(sign_in, bob, "secret")
    trail.flush()
    assert [(event.first_at, event.last_at) for event in found(database, Kind.SIGN_IN)] == [(begun, begun)]
    clock.pass_by(room.SEEN_EVERY)
    ask(sign_in, bob, "secret")
    trail.flush()
    (event,) = found(database, Kind.SIGN_IN)
    assert (event.first_at, event.last_at, event.times) == (begun, clock.now, 1)


def test_devices_and_app_passwords_are_named(
    bob: str, accounts: Accounts, sign_in: SignIn, trail: Trail, database: Database
) -> None:
    phone = accounts.add_app_password(bob, "phone")
    _, token = Devices(database).add(accounts.get(bob).id, "laptop", "desktop", "1-1")
    ask(sign_in, bob, phone)
    ask(sign_in, None, token)
    ask(sign_in, bob, token)
    trail.flush()
    assert [event.device for event in found(database, Kind.SIGN_IN)] == ["phone", "laptop"]
    assert sign_in.check(None, token, HERE).device == "laptop"


def test_failures_are_counted(bob: str, accounts: Accounts, sign_in: SignIn, trail: Trail, database, clock) -> None:
    """By account, address and hour; a name that is no account's may be a password, and is not kept."""
    for number in range(4):
        with pytest.raises(NotSignedIn):
            ask(sign_in, bob, f"wrong {number}", client=f"guesser/{number}")
    for name in ("hunter2", "correct horse"):
        with pytest.raises(NotSignedIn):
            ask(sign_in, name, "")
    with pytest.raises(NotSignedIn):
        ask(sign_in, None, "no token")
    accounts.disable(bob)
    with pytest.raises(NotSignedIn):
        ask(sign_in, bob, "secret", THERE)
    trail.flush()
    rows = [(event.user, event.address, event.detail, event.times) for event in found(database, Kind.SIGN_IN_FAILED)]
    assert sorted(rows) == [
        ("", HERE, "no such user", 2),
        ("", HERE, "the token of no device", 1),
        ("bob", HERE, "wrong password", 4),
        ("bob", THERE, "disabled", 1),
    ]
    clock.pass_by(room.PERIOD)
    with pytest.raises(NotSignedIn):
        ask(sign_in, bob, "wrong", HERE)
    trail.flush()
    assert len(found(database, Kind.SIGN_IN_FAILED)) == 5


def test_throttled_sign_ins_are_counted(bob: str, sign_in: SignIn, trail: Trail, database: Database) -> None:
    for number in range(FREE_FOR_ACCOUNT):
        with pytest.raises(NotSignedIn):
            ask(sign_in, bob, f"wrong {number}")
    for _ in range(3):
        with pytest.raises(TooManyRequests):
            ask(sign_in, bob, "secret")
    trail.flush()
    (event,) = found(database, Kind.SIGN_IN_THROTTLED)
    assert (event.user, event.address, event.times) == ("bob", HERE, 3)


def test_processes_share_the_rows(
    bob: str, sign_in: SignIn, trail: Trail, elsewhere_trail: Trail, database: Database
) -> None:
    principal = sign_in.check(bob, "secret", HERE)
    for one in (trail, elsewhere_trail):
        one.signed_in(principal, HERE)
        for _ in range(5):
            one.failed(bob, HERE, "wrong password")
        one.flush()
    assert [event.times for event in found(database, Kind.SIGN_IN)] == [1]
    assert [event.times for event in found(database, Kind.SIGN_IN_FAILED)] == [10]


def test_refusals(bob: str, sign_in: SignIn, trail: Trail, database: Database) -> None:
    """Only those that are about permission, and of somebody who is signed in; the first path stands for all."""
    principal = sign_in.check(bob, "secret", HERE)
    for number in range(3):
        trail.refused(principal, Forbidden("You may read here, but not write"), "PUT", f"/photos/{number}.jpg")
    trail.refused(None, Forbidden(), "PUT", "/x")
    trail.refused(principal, NotFound(), "GET", "/x")
    trail.refused(principal, Forbidden(condition="propfind-finite-depth"), "PROPFIND", "/x")
    on_disk = Forbidden("The disk is mounted read-only")
    on_disk.__cause__ = OSError()
    trail.refused(principal, on_disk, "PUT", "/x")
    trail.flush()
    (event,) = found(database, Kind.REFUSED)
    assert (event.user, event.path, event.times) == ("bob", "/photos/0.jpg", 3)
    assert event.detail == "PUT: You may read here, but not write"


def test_it_is_written_by_itself(bob: str, sign_in: SignIn, database: Database) -> None:
    ask(sign_in, bob, "secret")
    wait_for(lambda: found(database, Kind.SIGN_IN), 30, "the sign-in is in the trail")


def test_what_cannot_be_written_is_written_later(
    bob: str, sign_in: SignIn, trail: Trail, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is kept out by it, and what came meanwhile is counted with it."""
    principal = sign_in.check(bob, "secret", HERE)
    trail.flush()

    def commit(work: object, *, spares_accounts: bool) -> None:
        raise DiskFull()

    monkeypatch.setattr(database, "commit", commit)
    trail.failed(bob, HERE, "wrong password")
    with pytest.raises(DiskFull):
        trail.flush()
    trail.failed(bob, HERE, "wrong password")
    trail.signed_in(principal, THERE)
    monkeypatch.undo()
    trail.flush()
    assert [event.times for event in found(database, Kind.SIGN_IN_FAILED)] == [2]
    assert {event.address for event in found(database, Kind.SIGN_IN)} == {HERE, THERE}


def test_closing_writes_the_rest(bob: str, sign_in: SignIn, elsewhere_trail: Trail, database: Database) -> None:
    elsewhere_trail.failed(bob, HERE, "wrong password")
    elsewhere_trail.close()
    assert len(found(database, Kind.SIGN_IN_FAILED)) == 1


def test_changes_of_accounts_and_devices(accounts: Accounts, database: Database, clock) -> None:
    """Each is one row, in the transaction that makes it: a change that fails is none. They outlive the user."""
    with coming_from(Origin(client="baludav user (root)")):
        account = accounts.add("bob", "secret", is_admin=True, groups=["family", "staff"])
        accounts.set_password("bob", "other")
        accounts.disable("bob")
        accounts.enable("bob")
        accounts.set_quota("bob", 1000)
        accounts.set_groups("bob", [])
        app_password = accounts.add_app_password("bob", "phone")
        with pytest.raises(ValueError, match="phone"):
            accounts.add_app_password("bob", "phone")
        accounts.revoke_app_password("bob", "phone")
        devices = Devices(database, clock=clock)
        device, token = devices.add(account.id, "laptop", "desktop", "1-1")
        devices.remove(account.id, device.public_id)
        with pytest.raises(NotFound):
            devices.remove(account.id, device.public_id)
        accounts.delete("bob")
    events = found(database, user="bob")
    assert [(event.kind, event.detail) for event in events] == [
        (Kind.USER_ADDED, "an admin; groups family, staff"),
        (Kind.PASSWORD_CHANGED, ""),
        (Kind.USER_DISABLED, ""),
        (Kind.USER_ENABLED, ""),
        (Kind.QUOTA_CHANGED, "1000 bytes"),
        (Kind.GROUPS_CHANGED, "none"),
        (Kind.APP_PASSWORD_ADDED, "phone"),
        (Kind.APP_PASSWORD_REVOKED, "phone"),
        (Kind.DEVICE_ADDED, "laptop"),
        (Kind.DEVICE_REMOVED, "laptop"),
        (Kind.USER_DELETED, ""),
    ]
    assert {event.client for event in events} == {"baludav user (root)"}
    assert not {"secret", "other", app_password, token} & {str(value) for event in events for value in event}


def test_nothing_passes_for_another_row(database: Database) -> None:
    """Control characters are escaped, also those of terminals, and what is no text at all; nothing is endless."""
    nasty = "a\r\nb\x1b[2J\x00\u2028\u202e\udcff"
    with coming_from(Origin("192.0.2.1\n", nasty.encode("utf-8", "replace").decode("latin-1"))):
        event = happened(Kind.REFUSED, nasty, device=nasty, path=nasty * 10_000, detail=nasty)
    database.commit(lambda connection: audit.record(connection, event))
    (row,) = found(database)
    assert row.user == row.detail == r"a\r\nb\x1b[2J\x00\u2028\u202e\udcff"
    assert row.address == r"192.0.2.1\n"
    assert row.client == r"a\r\nb\x1b[2J\x00\u2028\u202e?"
    assert len(row.path) == 4096
    assert all(str(value).isprintable() for value in row)


def test_old_rows_go(database: Database) -> None:
    """Those that are too old, and of what anybody can cause those that are too many; never a change of an account."""

    def fill() -> None:
        for at in range(10):
            changed, refused = (happened(kind, at=float(at)) for kind in (Kind.USER_ADDED, Kind.REFUSED))
            database.commit(lambda connection, events=(changed, refused): audit.record(connection, *events))

    fill()
    assert database.commit(lambda connection: audit.prune(connection, 4.0)) == 8
    assert min(event.last_at for event in found(database)) == 4.0
    assert database.commit(lambda connection: audit.prune(connection, 4.0, most_gathered=2)) == 4
    assert [event.last_at for event in found(database, Kind.REFUSED)] == [8.0, 9.0]
    assert len(found(database, Kind.USER_ADDED)) == 6
