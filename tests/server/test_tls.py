"""The same server behind TLS."""

import http.client
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.conftest import Running


@pytest.fixture(scope="module")
def encrypted(
    start: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Running, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("tls")
    server = start(tls=str(folder))
    assert (folder / "key.pem").stat().st_mode & 0o077 == 0
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))


def test_transfers(encrypted: tuple[Running, ssl.SSLContext]) -> None:
    """A client that trusts the certificate uploads and downloads, several requests on one connection."""
    server, context = encrypted
    connection = http.client.HTTPSConnection("localhost", server.port, timeout=30, context=context)
    body = os.urandom(5_000_000)
    for _ in range(2):
        connection.request("PUT", "/a", body)
        assert b'"length": 5000000' in connection.getresponse().read()
        connection.request("GET", "/file")
        assert connection.getresponse().read() == server.file.read_bytes()
    connection.close()


def test_those_who_never_shake_hands_hold_nobody_up(encrypted: tuple[Running, ssl.SSLContext]) -> None:
    """Silent clients, half a handshake and plain HTTP on this port leave the others alone."""
    server, context = encrypted
    opened = [server.connect() for _ in range(400)]  # more than there may be threads
    for number, connection in enumerate(opened):
        if number % 3 == 1:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01")
        elif number % 3 == 2:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client = http.client.HTTPSConnection("localhost", server.port, timeout=30, context=context)
    client.request("GET", "/normal")
    assert client.getresponse().status == 200
    client.close()
    for connection in opened:
        connection.close()


def test_certificates_are_made_once(tmp_path: Path) -> None:
    """A second start uses the same certificate, so that clients need to accept it only once."""
    from baludav.server.tls import self_signed

    first = self_signed(tmp_path, "nas.example.org")[0].read_bytes()
    assert self_signed(tmp_path, "nas.example.org")[0].read_bytes() == first
