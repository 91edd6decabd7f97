"""Where a request comes from: only a trusted proxy is believed."""

import pytest

from baludav.accounts.address import client_address, client_scheme, counted, is_forwarded, networks
from baludav.config import ConfigError

PROXIES = ("10.0.0.0/8", "::1", "127.0.0.1")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a client that lies
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # what it sent itself stands left
        ("10.0.0.1", "1.2.3.4, 198.51.100.1, 10.0.0.2", "198.51.100.1"),  # two proxies
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),  # a client inside the network
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),  # IPv4 on an IPv6 socket
        ("10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"),
        ("10.0.0.1", "<script>", "10.0.0.1"),
        ("", "1.2.3.4", ""),
    ],
)
def test_client_address(peer: str, forwarded: str, expected: str) -> None:
    assert client_address({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}, PROXIES) == expected


def test_without_proxies_the_peer_counts() -> None:
    assert client_address({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "1.2.3.4"}) == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [("10.0.0.1", "https", "https"), ("10.0.0.1", "http, HTTPS", "https"), ("10.0.0.1", "gopher", "http"),
     ("10.0.0.1", "", "http"), ("203.0.113.9", "https", "http")],
)  # fmt: skip
def test_client_scheme(peer: str, forwarded: str, expected: str) -> None:
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_PROTO": forwarded, "wsgi.url_scheme": "http"}
    assert client_scheme(environ, PROXIES) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [("10.0.0.1", "198.51.100.1", True), ("10.0.0.1", "", False), ("203.0.113.9", "198.51.100.1", False),
     ("", "198.51.100.1", False)],
)  # fmt: skip
def test_what_a_proxy_hands_on(peer: str, forwarded: str, *, expected: bool) -> None:
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}
    assert is_forwarded(environ, PROXIES) is expected
    assert not is_forwarded(environ)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
     ("fe80::1%eth0", "fe80::/64"), ("", ""), ("x" * 100, "x" * 64)],
)  # fmt: skip
def test_failures_are_counted_for_whole_customers(address: str, expected: str) -> None:
    """One IPv6 customer has 2^64 addresses, so they count as one."""
    assert counted(address) == expected


def test_a_wrong_proxy_is_named() -> None:
    with pytest.raises(ConfigError, match="trusted_proxies: 'nginx'"):
        networks(("nginx",))
