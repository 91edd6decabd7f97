"""Logins in two places: each secret for its own purpose, once, for a while, and only so many of them."""

import pytest
from sqlalchemy import func, select

from baludav.accounts import logins as room
from baludav.accounts.accounts import Account, Accounts
from baludav.accounts.logins import Granted, Logins
from baludav.db import tables
from baludav.db.engine import Database
from baludav.errors import NotFound
from tests.accounts.conftest import Clock

HERE = "192.0.2.1"


@pytest.fixture
def logins(database: Database, clock: Clock) -> Logins:
    return Logins(database, clock=clock)


@pytest.fixture
def bob(accounts: Accounts) -> Account:
    return accounts.add("bob", "secret")


def _count(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(tables.logins)) or 0


def test_what_was_granted_is_collected_once(logins: Logins, bob: Account) -> None:
    asked = logins.begin("laptop", HERE)
    assert logins.client(asked.page) == "laptop"
    assert logins.collect(asked.program) is None
    logins.grant(asked.page, bob)
    assert logins.collect(asked.program) == Granted(bob.id, "laptop")
    assert logins.collect(asked.program) is None


def test_each_secret_is_for_one_purpose(logins: Logins, bob: Account) -> None:
    """The program cannot grant itself access, and who sees the address of the page cannot collect."""
    asked = logins.begin("laptop", HERE)
    with pytest.raises(NotFound):
        logins.client(asked.program)
    with pytest.raises(NotFound):
        logins.grant(asked.program, bob)
    logins.grant(asked.page, bob)
    assert logins.collect(asked.page) is None
    assert logins.collect("") is None
    assert logins.collect(asked.program) is not None


def test_the_first_grant_counts(logins: Logins, accounts: Accounts, bob: Account) -> None:
    eve = accounts.add("eve", "secret")
    asked = logins.begin("laptop", HERE)
    logins.grant(asked.page, bob)
    with pytest.raises(NotFound):
        logins.grant(asked.page, eve)
    with pytest.raises(NotFound):
        logins.client(asked.page)
    assert logins.collect(asked.program) == Granted(bob.id, "laptop")


def test_secrets_are_stored_hashed(logins: Logins, database: Database) -> None:
    asked = logins.begin("laptop", HERE)
    with database.reading() as connection:
        (row,) = connection.execute(select(tables.logins)).all()
    assert asked.program not in str(row)
    assert asked.page not in str(row)


@pytest.mark.parametrize("is_granted", [False, True])
def test_they_end_after_a_while(
    logins: Logins, database: Database, clock: Clock, bob: Account, *, is_granted: bool
) -> None:
    asked = logins.begin("laptop", HERE)
    if is_granted:
        logins.grant(asked.page, bob)
    clock.pass_by(room.LIFETIME)
    assert logins.collect(asked.program) is None
    with pytest.raises(NotFound):
        logins.grant(asked.page, bob)
    logins.begin("other", "192.0.2.2")
    assert _count(database) == 1


def test_a_change_of_the_account_ends_what_was_granted(logins: Logins, accounts: Accounts, bob: Account) -> None:
    for change in (
        lambda: accounts.set_password("bob", "another"),
        lambda: accounts.disable("bob"),
        lambda: accounts.delete("bob"),
    ):
        asked = logins.begin("laptop", HERE)
        logins.grant(asked.page, accounts.get("bob"))
        change()
        assert logins.collect(asked.program) is None


def test_an_address_ends_its_own_older_ones(logins: Logins, database: Database, bob: Account) -> None:
    """Not those of another, and not what was granted; a whole /64 of IPv6 is one address."""
    others = logins.begin("other", "192.0.2.2")
    granted = logins.begin("granted", "2001:db8::1")
    logins.grant(granted.page, bob)
    first = logins.begin("first", "2001:db8::2")
    for number in range(room.MOST_OF_ADDRESS):
        last = logins.begin("again", f"2001:db8::{number}")
    assert _count(database) == room.MOST_OF_ADDRESS + 1
    with pytest.raises(NotFound):
        logins.client(first.page)
    assert logins.client(last.page) == "again"
    assert logins.client(others.page) == "other"
    assert logins.collect(granted.program) is not None


def test_there_are_only_so_many(
    logins: Logins, database: Database, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST", 30)
    granted = logins.begin("granted", "192.0.2.250")
    logins.grant(granted.page, bob)
    for number in range(40):
        last = logins.begin("many", f"192.0.2.{number}")
    assert _count(database) == 30
    assert logins.client(last.page) == "many"
    assert logins.collect(granted.program) is not None
