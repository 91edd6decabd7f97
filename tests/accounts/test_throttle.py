"""Guessing is slowed down, for the guesser and nobody else."""

import pytest
from sqlalchemy import select

from baludav.accounts import passwords, throttle
from baludav.accounts.accounts import Accounts
from baludav.accounts.signin import SignIn
from baludav.accounts.trail import Trail
from baludav.db.tables import sign_in_failures
from baludav.errors import NotSignedIn, TooManyRequests

HERE, THERE = "192.0.2.1", "198.51.100.1"
WRONG = "wrong"


def fail(sign_in: SignIn, name: str = "bob", address: str = HERE, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(NotSignedIn):
            sign_in.check(name, WRONG, address)


def wait(sign_in: SignIn, name: str = "bob", password: str = WRONG, address: str = HERE) -> int:
    with pytest.raises(TooManyRequests) as error:
        sign_in.check(name, password, address)
    assert error.value.headers == (("Retry-After", str(error.value.retry_after)),)
    return error.value.retry_after


@pytest.fixture(autouse=True)
def bob(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts.add("bob", "secret")
    # Slow hashes are not what is tested here.
    monkeypatch.setattr(passwords, "verify", lambda password, stored: stored is not None and password == "secret")


def test_delays_grow(sign_in: SignIn, clock) -> None:
    fail(sign_in, times=5)
    delays = []
    for _ in range(11):
        delays.append(wait(sign_in))
        clock.pass_by(delays[-1])
        fail(sign_in)
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_while_throttled_nothing_is_compared(sign_in: SignIn, clock) -> None:
    """The right password gets the same answer, or the delay would be no hindrance to guessing."""
    fail(sign_in, times=5)
    assert wait(sign_in, password="secret") == 1
    assert wait(sign_in) == 1  # asking again does not make it longer
    clock.pass_by(1)
    assert sign_in.check("bob", "secret", HERE).name == "bob"


def test_a_remembered_password_is_no_way_round(sign_in: SignIn) -> None:
    """Otherwise somebody behind the same address could try passwords against what is remembered."""
    sign_in.check("bob", "secret", HERE)
    fail(sign_in, times=5)
    wait(sign_in, password="secret")


def test_a_success_clears_the_account_at_this_address(sign_in: SignIn) -> None:
    fail(sign_in, times=4)
    sign_in.check("bob", "secret", HERE)
    fail(sign_in, times=4)
    sign_in.check("bob", "secret", HERE)


def test_a_success_from_elsewhere_is_not_locked_out(sign_in: SignIn) -> None:
    fail(sign_in, times=5)
    wait(sign_in)
    assert sign_in.check("bob", "secret", THERE).name == "bob"


def test_other_accounts_at_the_address_go_on(accounts: Accounts, sign_in: SignIn) -> None:
    accounts.add("eve", "secret")
    fail(sign_in, times=5)
    assert sign_in.check("eve", "secret", HERE).name == "eve"


def test_unknown_users_count_alike(sign_in: SignIn) -> None:
    fail(sign_in, name="nobody", times=5)
    assert wait(sign_in, name="nobody") == 1


def test_case_does_not_give_more_guesses(sign_in: SignIn) -> None:
    fail(sign_in, name="nobody", times=3)
    fail(sign_in, name="NOBODY", times=2)
    wait(sign_in, name="Nobody")


def test_an_address_is_counted_over_all_accounts(accounts: Accounts, sign_in: SignIn) -> None:
    for number in range(throttle.FREE_FOR_ADDRESS):
        fail(sign_in, name=f"user{number}")
    assert wait(sign_in, password="secret") == 1
    assert sign_in.check("bob", "secret", THERE).name == "bob"


def test_one_ipv6_customer_is_one_address(sign_in: SignIn) -> None:
    for number in range(5):
        fail(sign_in, address=f"2001:db8::{number}")
    wait(sign_in, address="2001:db8::ffff")
    fail(sign_in, address="2001:db8:0:1::1")


def test_an_account_attacked_from_everywhere(sign_in: SignIn) -> None:
    """Each address gets one guess then, and the owner still gets in."""
    for number in range(throttle.ATTACKED):
        fail(sign_in, address=f"10.0.0.{number}")
    fail(sign_in, address="10.0.1.1")
    assert wait(sign_in, address="10.0.1.1") == 1
    assert sign_in.check("bob", "secret", THERE).name == "bob"


def test_workers_share_the_counts(elsewhere: Accounts, sign_in: SignIn, trail: Trail, clock) -> None:
    other = SignIn(elsewhere, trail, clock=clock)
    fail(sign_in, times=3)
    fail(other, times=2)
    wait(sign_in)
    wait(other)


def test_failures_are_forgotten(accounts: Accounts, sign_in: SignIn, clock) -> None:
    fail(sign_in, times=5)
    fail(sign_in, address=THERE)
    clock.pass_by(throttle.WINDOW + 1)
    fail(sign_in, times=5)
    with accounts.database.reading() as connection:
        keys = connection.scalars(select(sign_in_failures.c.key)).all()
    assert len(keys) == 3  # the rows of the other address are gone
    assert not any(THERE in key for key in keys)


def test_a_clock_set_back_locks_nobody_out(sign_in: SignIn, clock) -> None:
    """The password is good at once, instead of when the time comes again, and guessing is slowed down as before."""
    fail(sign_in, times=5)
    wait(sign_in)
    clock.pass_by(-86_400)
    assert sign_in.check("bob", "secret", HERE).name == "bob"
    fail(sign_in, times=5)
    assert wait(sign_in) >= 1


def test_an_app_password_is_not_throttled(accounts: Accounts, sign_in: SignIn) -> None:
    """160 bits are not guessed, so a device is not locked out by its neighbour with an old password."""
    phone = accounts.add_app_password("bob", "phone")
    fail(sign_in, times=5)
    assert sign_in.check("bob", phone, HERE).name == "bob"
    wait(sign_in, password="secret")  # and it does not clear the count
    assert sign_in.check("bob", phone, HERE).name == "bob"


@pytest.mark.parametrize("name", ["x" * 100_000, "a\0b", "\udcff", "ﬃ" * 300])
def test_any_name_can_be_counted(sign_in: SignIn, name: str) -> None:
    fail(sign_in, name=name, times=5)
    wait(sign_in, name=name)
