"""The local network is told of a server that it can reach, once, for as long as it serves."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zeroconf

from baludav.cli.serving import announced
from baludav.config import build
from baludav.server.announcing import Announced, Announcer, addresses, service_of
from tests.serving import Server, wait_for

EVERYWHERE = "0.0.0.0"  # noqa: S104
PLAIN, SAFE = "_webdav._tcp.local.", "_webdavs._tcp.local."


class Seen(zeroconf.ServiceListener):
    """What a client that looks around sees.

    Attributes:
        services: those that are there, by name.
    """

    def __init__(self) -> None:
        self.services: dict[str, zeroconf.ServiceInfo] = {}
        self._network = zeroconf.Zeroconf(ip_version=zeroconf.IPVersion.V4Only)
        self._browser = zeroconf.ServiceBrowser(self._network, [PLAIN, SAFE], self)

    def add_service(self, zc: zeroconf.Zeroconf, type_: str, name: str) -> None:
        found = zc.get_service_info(type_, name, timeout=10_000)
        if found is not None:
            self.services[name] = found

    update_service = add_service

    def remove_service(self, zc: zeroconf.Zeroconf, type_: str, name: str) -> None:
        self.services.pop(name, None)

    def at(self, port: int) -> list[zeroconf.ServiceInfo]:
        return [found for found in self.services.values() if found.port == port]

    def close(self) -> None:
        self._browser.cancel()
        self._network.close()


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Skips where multicast does not get from one socket of this machine to another."""
    try:
        seen = Seen()
    except OSError as error:
        pytest.skip(f"there is no multicast here: {error}")
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            own = zeroconf.Zeroconf(ip_version=zeroconf.IPVersion.V4Only)
            try:
                own.register_service(
                    service_of(Announced("http", "127.0.0.1", port, "/probe/")), allow_name_change=True
                )
                wait_for(lambda: seen.at(port), 20, "the probe is seen")
            except (AssertionError, OSError, zeroconf.Error) as error:
                pytest.skip(f"multicast does not come through here: {error}")
            finally:
                own.close()
        yield seen
    finally:
        seen.close()


def announcers(server: Server) -> list[int]:
    """The processes that announce it."""
    found = []
    for pid in server.pids():
        if b"baludav.server.announcing" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found.append(pid)
    return found


def test_a_server_is_found_and_goes(tmp_path: Path, seen: Seen) -> None:
    """One announcement for two workers, with the path; once more after a reload, and taken back at the stop."""
    environment = {"BALUDAV_HOST": EVERYWHERE, "BALUDAV_ALLOW_PLAIN_HTTP": "true"}
    with Server(tmp_path / "data", workers=2, environment=environment) as server:
        wait_for(lambda: seen.at(server.port), 60, "the server is seen")
        (found,) = seen.at(server.port)
        assert found.type == PLAIN
        assert found.name.startswith(socket.gethostname().partition(".")[0])
        assert found.properties == {b"path": b"/dav/"}
        assert not any(address.startswith("127.") for address in found.parsed_addresses())
        before = announcers(server)
        assert len(before) == 1
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "new workers serve" in server.log.read_text(), 60, "the reload is over")
        wait_for(lambda: "once more" in server.log.read_text(), 30, "it is announced again")
        assert announcers(server) == before
        assert len(seen.at(server.port)) == 1
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not seen.at(server.port), 30, "the announcement is taken back")
        server.process.wait(30)
        assert "not told" not in server.log.read_text()
        server.kill()


def test_it_ends_with_a_master_that_is_killed(tmp_path: Path, seen: Seen) -> None:
    environment = {"BALUDAV_HOST": EVERYWHERE, "BALUDAV_ALLOW_PLAIN_HTTP": "true"}
    with Server(tmp_path / "data", workers=1, environment=environment) as server:
        wait_for(lambda: seen.at(server.port), 60, "the server is seen")
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGKILL)
        wait_for(lambda: not seen.at(server.port), 30, "the announcement is taken back")
        server.kill()


@pytest.mark.parametrize(
    ("host", "others", "expected"),
    [
        (EVERYWHERE, {}, Announced("http", EVERYWHERE, 8080, "/dav/")),
        (EVERYWHERE, {"BALUDAV_TLS": "self-signed"}, Announced("https", EVERYWHERE, 8080, "/dav/")),
        ("127.0.0.1", {}, None),
        ("localhost", {}, None),
        (EVERYWHERE, {"BALUDAV_MDNS": "false"}, None),
    ],
)
def test_nobody_is_told_of_what_stays_here(host: str, others: dict[str, str], expected: Announced | None) -> None:
    """Of a server on this machine only, or one that shall not be announced."""
    assert announced(build({}, {"BALUDAV_HOST": host, **others}), 8080) == expected


def test_a_failure_is_a_line_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An address that this machine does not have: the server goes on, and the program ends."""
    with Announcer("info", "text") as announcer:
        announcer.announce(Announced("http", "192.0.2.199", 1, "/dav/"))
        told = ""

        def is_told() -> bool:
            nonlocal told
            told += capfd.readouterr().err
            return "the network is not told of this server" in told

        wait_for(is_told, 30, "the failure is said")
    assert told.count("\n") == 1
    assert "Traceback" not in told


@pytest.mark.parametrize(("scheme", "kind"), [("http", PLAIN), ("https", SAFE)])
def test_what_is_told(scheme: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "nas.example.org")
    found = service_of(Announced(scheme, "192.0.2.7", 8443, "/dav/"))
    assert (found.type, found.name, found.server, found.port) == (kind, f"nas.{kind}", "nas.local.", 8443)
    assert found.parsed_addresses() == ["192.0.2.7"]


def test_addresses_are_those_of_the_networks() -> None:
    """None is loopback's, and IPv6 is there only if the server listens on it."""
    assert addresses("192.0.2.7") == ["192.0.2.7"]
    assert all(":" not in address and not address.startswith("127.") for address in addresses(EVERYWHERE))
    assert set(addresses(EVERYWHERE)) <= set(addresses("::"))
