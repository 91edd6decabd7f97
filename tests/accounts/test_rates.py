"""How many requests users and addresses may make, by a clock of the tests."""

import dataclasses

import pytest

from baludav.accounts.accounts import Principal
from baludav.accounts.rates import COUNTED, Rates
from baludav.config import Settings, build
from baludav.errors import TooFast
from baludav.limits.buckets import Buckets
from baludav.limits.parts import Parts

SECOND = 1_000_000_000
ALICE = Principal(1, "alice", False, frozenset(), None, 0)
BOB = Principal(2, "bob", False, frozenset(), None, 0)
ALICE_LATER = dataclasses.replace(ALICE, revision=7, device_id=3)


class Clock:
    now = SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buckets(clock: Clock) -> Buckets:
    return Buckets(Parts(), clock=clock)


def test_without_a_limit_nothing_is_counted(buckets: Buckets) -> None:
    assert Rates.of(Settings(), buckets) is None
    for key in ("requests_per_user", "requests_per_address"):
        assert Rates.of(build({"baludav": {"limits": {key: 1}}}, {}).settings, buckets) is not None


def test_a_minute_s_worth_at_once_and_then_evenly(clock: Clock, buckets: Buckets) -> None:
    """Who waits as long as they are told is served; the user is the same on every device."""
    rates = Rates(30, 0, buckets)
    for _ in range(30):
        rates.admit_user(ALICE)
    with pytest.raises(TooFast) as refused:
        rates.admit_user(ALICE_LATER)
    failure = refused.value
    assert failure.headers == (("Retry-After", "2"),)
    assert (failure.status, failure.limit, failure.who) == (429, "requests_per_user", "alice")
    assert str(failure) == "You make more requests than one user may; try again in 2 s"
    rates.admit_user(BOB)
    clock.now += 2 * SECOND
    rates.admit_user(ALICE)
    with pytest.raises(TooFast):
        rates.admit_user(ALICE)
    clock.now += 60 * SECOND
    for _ in range(30):
        rates.admit_user(ALICE)


def _is_limited(rates: Rates, address: str, forwarded: str = "") -> bool:
    environ = {"REMOTE_ADDR": address, "HTTP_X_FORWARDED_FOR": forwarded}
    try:
        rates.admit(environ)
    except TooFast as failure:
        assert failure.limit == "requests_per_address"
        return True
    return False


def test_addresses(buckets: Buckets) -> None:
    """Each IPv4 address and each /64 of IPv6; an IPv4 address is the same however it is written."""
    rates = Rates(0, 1, buckets)
    for address, same, other in (
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1"),
    ):
        assert [_is_limited(rates, one) for one in (address, address, same, other)] == [False, True, True, False]


def test_a_proxy_hands_on_the_address(buckets: Buckets) -> None:
    """The client's counts if the proxy is trusted; else the proxy's own, whatever anybody writes."""
    rates = Rates(0, 1, buckets, ("10.0.0.1",))
    assert [_is_limited(rates, "10.0.0.1", client) for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [
        False, False, True,
    ]  # fmt: skip
    assert [_is_limited(rates, "10.0.0.2", client) for client in ("192.0.2.3", "192.0.2.4")] == [False, True]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine_has_no_limit(buckets: Buckets, address: str) -> None:
    rates = Rates(0, 1, buckets)
    assert not any(_is_limited(rates, address) for _ in range(5))


def test_what_was_counted_is_not_counted_again(buckets: Buckets) -> None:
    """The hot lane counts, and leaves it to WsgiDAV to answer."""
    rates = Rates(1, 1, buckets)
    environ = {"REMOTE_ADDR": "192.0.2.1", COUNTED: True}
    for _ in range(3):
        rates.admit(environ)
        rates.admit_principal(environ, ALICE)
