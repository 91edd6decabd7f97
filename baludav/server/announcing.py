"""Tells the local network where the server is (DNS-SD over multicast DNS, RFC 6763), in a process of its own.

The library works with threads, which the master must not have when it forks, and each worker would announce for
itself. So the announcement is a program: the master starts it, asks it to announce again, and to withdraw. It ends
with its master.
"""

import contextlib
import ctypes
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from baludav.log.setup import configure

if TYPE_CHECKING:
    import zeroconf

_EVERYWHERE = {"0.0.0.0": (4,), "::": (4, 6), "": (4, 6)}  # noqa: S104
_PR_SET_PDEATHSIG = 1
_WITHDRAW_SECONDS = 5.0


@dataclass(frozen=True)
class Announced:
    """What the network is told.

    Attributes:
        scheme: http or https.
        host: the address that the server listens on.
        path: of the tree, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    path: str


class Announcer:
    """The announcement of one server; for the master. What fails in it is a line in the log and nothing else."""

    def __init__(self, log_level: str, log_format: str) -> None:
        self._log = [log_level, log_format]
        self._process: subprocess.Popen[bytes] | None = None
        self._announced: Announced | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.withdraw()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_WITHDRAW_SECONDS)
            self._process.kill()
            self._process.wait()

    def announce(self, announced: Announced | None) -> None:
        """Announce this, again if it is announced already; None: nothing any more."""
        is_same = announced == self._announced
        self._announced = announced
        if is_same and self._tell(signal.SIGHUP):
            return
        self.withdraw()
        if announced is not None:
            words = [announced.scheme, announced.host, str(announced.port), announced.path]
            command = [sys.executable, "-m", "baludav.server.announcing", *words, str(os.getpid()), *self._log]
            try:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            except OSError as error:
                logging.getLogger(__name__).warning("the network is not told of this server: %s", error)

    def withdraw(self) -> None:
        """Tell the network that the server goes; does not wait."""
        self._tell(signal.SIGTERM)

    def _tell(self, number: int) -> bool:
        """Send a signal; False if there is nobody to get it."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.send_signal(number)
        return True


def main(scheme: str, host: str, port: str, path: str, master: str, log_level: str, log_format: str) -> None:
    """The program: announces until SIGTERM, SIGINT or the end of its master, and again at SIGHUP."""
    numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # in each thread: they are waited for
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(master):
        return
    configure(log_level, log_format)
    logger = logging.getLogger("baludav.server.announcing")  # not `__main__`, as it is called here
    import zeroconf

    announced = Announced(scheme, host, int(port), path)
    try:
        with contextlib.closing(_opened(host)) as network:
            service = service_of(announced)
            network.register_service(service, allow_name_change=True)
            logger.info("the network is told of %s", service.name)
            while signal.sigwait(numbers) == signal.SIGHUP:
                network.update_service(service)
                logger.info("the network is told of %s once more", service.name)
            network.unregister_all_services()
    except (OSError, zeroconf.Error) as error:
        logger.warning("the network is not told of this server: %s", error or type(error).__name__)


def service_of(announced: Announced) -> "zeroconf.ServiceInfo":
    """The service, under the name of this machine."""
    import zeroconf

    name = socket.gethostname().partition(".")[0]
    kind = f"_webdav{'s' if announced.scheme == 'https' else ''}._tcp.local."
    return zeroconf.ServiceInfo(
        kind, f"{name}.{kind}", port=announced.port, properties={"path": announced.path}, server=f"{name}.local.",
        addresses=[ipaddress.ip_address(address).packed for address in addresses(announced.host)],
    )  # fmt: skip


def addresses(host: str) -> list[str]:
    """The addresses at which other machines reach a server that listens on `host`."""
    if host not in _EVERYWHERE:
        return list(
            dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        )
    import ifaddr

    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            address = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            if address.version in _EVERYWHERE[host] and not address.is_loopback:
                found.append(str(address))
    return found


def _opened(host: str) -> "zeroconf.Zeroconf":
    """The network, at the interfaces that the server listens on."""
    import zeroconf

    if host not in _EVERYWHERE:
        return zeroconf.Zeroconf(interfaces=addresses(host))
    if 6 in _EVERYWHERE[host]:
        with contextlib.suppress(OSError):  # a machine without IPv6
            return zeroconf.Zeroconf(ip_version=zeroconf.IPVersion.All)
    return zeroconf.Zeroconf(ip_version=zeroconf.IPVersion.V4Only)


if __name__ == "__main__":
    main(*sys.argv[1:])
