"""Finds out where a request comes from when reverse proxies stand in between.

Anybody can write `X-Forwarded-For`; only what a trusted proxy appended to it counts.
"""

import functools
import ipaddress
from collections.abc import Mapping
from typing import Any

from baludav.config import ConfigError

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@functools.lru_cache(maxsize=16)
def networks(trusted: tuple[str, ...]) -> tuple[_Network, ...]:
    """The configured proxies as networks.

    Raises:
        ConfigError: one of them is neither an address nor a network.
    """
    found: list[_Network] = []
    for text in trusted:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ConfigError(
                f"baludav.trusted_proxies: {text!r} is no address or network; write for example 10.0.0.0/8"
            ) from None
    return tuple(found)


def client_address(environ: Mapping[str, Any], trusted: tuple[str, ...] = ()) -> str:
    """The address of the client: the last one that no trusted proxy vouches for."""
    peer = str(environ.get("REMOTE_ADDR") or "")
    if not trusted or not _is_trusted(_parsed(peer), trusted):
        return peer
    for hop in reversed(str(environ.get("HTTP_X_FORWARDED_FOR") or "").split(",")):
        address = _parsed(hop)
        if address is None:
            break
        peer = str(address)
        if not _is_trusted(address, trusted):
            break
    return peer


def client_scheme(environ: Mapping[str, Any], trusted: tuple[str, ...] = ()) -> str:
    """`http` or `https`, as the client sees it."""
    scheme = str(environ.get("wsgi.url_scheme") or "http")
    if trusted and _is_trusted(_parsed(str(environ.get("REMOTE_ADDR") or "")), trusted):
        forwarded = str(environ.get("HTTP_X_FORWARDED_PROTO") or "").rpartition(",")[2].strip().lower()
        if forwarded in ("http", "https"):
            return forwarded
    return scheme


def is_forwarded(environ: Mapping[str, Any], trusted: tuple[str, ...] = ()) -> bool:
    """True if a trusted proxy hands on the request of somebody else; what runs beside it asks for itself."""
    return bool(environ.get("HTTP_X_FORWARDED_FOR")) and is_of_proxy(environ, trusted)


def is_of_proxy(environ: Mapping[str, Any], trusted: tuple[str, ...] = ()) -> bool:
    """True if the request comes from a trusted proxy, whoever's it is."""
    return bool(trusted) and _is_trusted(_parsed(str(environ.get("REMOTE_ADDR") or "")), trusted)


def is_loopback(address: str) -> bool:
    """True for an address of this machine itself."""
    parsed = _parsed(address)
    return parsed is not None and parsed.is_loopback


def counted(address: str) -> str:
    """What failures are counted under: an IPv4 address, or the /64 that one IPv6 customer has at least."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed) if parsed else address[:64]


def _is_trusted(address: _Address | None, trusted: tuple[str, ...]) -> bool:
    return address is not None and any(address in network for network in networks(trusted))


def _parsed(text: str) -> _Address | None:
    """An address with or without brackets, port and zone; an IPv4 address written as IPv6 becomes IPv4."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
