"""Starting the server, and the first start."""

import contextlib
import fcntl
import ipaddress
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from baludav.cli import privileges
from baludav.cli.asked import Asked, opened
from baludav.config import Config, ConfigError

if TYPE_CHECKING:
    import socket
    from ssl import SSLContext

    from baludav.app import App, House
    from baludav.db.damage import Damage
    from baludav.limits.common import Common
    from baludav.server.announcing import Announced
    from baludav.server.workers import Plan

_log = logging.getLogger(__name__)

_PLAIN = (
    "Passwords would cross the network unencrypted: set ssl_certificate and ssl_private_key in wsgidav.yaml, "
    "or start with --tls self-signed, or set allow_plain_http: true behind a proxy that encrypts"
)


@click.command()
@click.option("--host", help="Address to listen on; 127.0.0.1 by default, 0.0.0.0 for every network.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 8080 by default.")
@click.option("--workers", type=click.IntRange(0, 256), help="Worker processes; 0: one for each core.")
@click.option("--tls", type=click.Choice(["off", "self-signed"]), help="Encrypt with a certificate made here.")
@click.pass_obj
def serve(asked: Asked, host: str | None, port: int | None, workers: int | None, tls: str | None) -> int:
    """Serve until stopped with Ctrl-C or SIGTERM.

    The first start creates the data folder, the index and an account `admin`, whose random password is printed
    once (unless BALUDAV_ADMIN_PASSWORD gives one).

    \b
      baludav serve
      baludav serve --host 0.0.0.0 --tls self-signed
      BALUDAV_DATA=/srv/baludav baludav serve --port 8443
    """

    def read() -> Config:
        return asked.config(host=host, port=port, workers=workers, tls=tls)

    config = read()
    require_sense(config)
    from baludav.log.setup import configure
    from baludav.server import memory

    memory.keep_together()
    configure(config.settings.log_level, config.settings.log_format)
    listener, context = _as_root(config)
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with claimed(config.folder), _mended(config) as house:
        password = _first_start(house)
        house.tree.prepare()
        house.close()  # nothing may be open when the workers are forked
        return _serve(config, password, read, listener, context or _ssl(config))


@click.command()
@click.pass_obj
def init(asked: Asked) -> None:
    """Create the data folder, the index and the account `admin` without serving.

    Safe to repeat: what is there already stays as it is.
    """
    config = asked.config()
    with opened(config) as house:
        password = _first_start(house)
    click.echo(f"Data folder: {config.folder}")
    click.echo(_welcome(url(config), password))


def url(config: Config, port: int | None = None) -> str:
    """Where the DAV tree is, as a person would type it."""
    scheme = "https" if config.is_encrypted else "http"
    host = {"0.0.0.0": "localhost", "::": "localhost", "": "localhost"}.get(config.host, config.host)  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    number = port or config.port
    return f"{scheme}://{host}{'' if number == {'http': 80, 'https': 443}[scheme] else f':{number}'}/dav/"


def is_loopback(host: str) -> bool:
    """True if only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_sense(config: Config) -> None:
    """Refuse what would serve, but not as meant."""
    from baludav.accounts.address import networks

    networks(config.settings.trusted_proxies)
    if config.settings.offload and not config.settings.trusted_proxies:
        raise ConfigError("baludav.offload: name the proxy that is to send the files in trusted_proxies")
    if not (config.is_encrypted or is_loopback(config.host) or config.settings.allow_plain_http):
        raise ConfigError(_PLAIN)
    for file in (config.certificate, config.private_key, config.certificate_chain):
        if file is not None:
            with open(file, "rb"):
                pass  # it can be read


def _as_root(config: Config) -> "tuple[socket.socket | None, SSLContext | None]":
    """Do what only root can and become the account of the configuration, if there is one to become.

    Returns:
        the listening socket, and the TLS settings if the certificate was given; None where that can be made later.
    """
    account = privileges.wanted(config)
    if account is None:
        if os.geteuid() == 0:
            _log.warning("This runs as root; name an account to become in run_as (wsgidav.yaml)")
        return None, None
    from baludav.server.workers import listen

    context = _ssl(config) if config.certificate else None
    listener = listen(config.host, config.port)
    try:
        privileges.become(account, config)
    except BaseException:
        listener.close()
        raise
    _log.info("Bound as root, and now %s for good (user %d, groups %s)", account.name, account.uid, os.getgroups())
    return listener, context


@contextlib.contextmanager
def _mended(config: Config) -> "Iterator[House]":
    """The rooms, on a new index if the old one is damaged or lost; says so, and what to do."""
    from baludav.db.damage import set_aside
    from baludav.db.restored import declare_new, declare_restored

    homes = config.folder / "files"
    damage = set_aside(config.folder / "index.db", is_first=not homes.is_dir() or not any(homes.iterdir()))
    with opened(config) as house:
        if damage is not None:
            (declare_new if damage.is_lost else declare_restored)(house.database)
            names = ", ".join(sorted(home.name for home in homes.iterdir())) if damage.is_lost else ""
            click.echo(_told_of(damage, names), err=True)
        yield house


def _told_of(damage: "Damage", homes: str) -> str:
    lines = [f"The index {damage.what}. No file was touched."]
    if damage.kept:
        lines.append(f"What is left of it is kept as {', '.join(file.name for file in damage.kept)}.")
    if damage.is_lost:
        lines += [
            "A new one is made from the files. Only a backup of index.db has the accounts, devices, locks and dead",
            "properties: stop the server, put it in its place, and run `baludav index restored`. Without a backup, add",
            f"each user again with `baludav user add NAME`, and their files are there. Homes found: {homes}.",
        ]
    return "\n".join(lines)


def _first_start(house: "House") -> str | None:
    """Make the account `admin` on the first start; its password if it is to be shown."""
    from baludav.accounts.first import ADMIN, create_admin

    password = create_admin(house.accounts, os.environ)
    if any(account.name == ADMIN for account in house.accounts.list()):
        house.tree.create_home(ADMIN)
    return password


def _welcome(address: str, password: str | None) -> str:
    lines = [f"WebDAV address: {address}"]
    if password is not None:
        lines += [
            "User name:      admin",
            f"Password:       {password}",
            "It is not shown again; `baludav user passwd admin` changes it.",
        ]
    return "\n".join(lines)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """One server for a data folder: a second one would clean up what the first is writing."""
    fd = os.open(folder / "serving", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise ConfigError(f"A server uses {folder}; stop it, or set BALUDAV_DATA to another folder") from None
    try:
        yield
    finally:
        os.close(fd)


def _serve(
    config: Config,
    password: str | None,
    read: Callable[[], Config],
    listener: "socket.socket | None",
    context: "SSLContext | None",
) -> int:
    from baludav.limits.common import Common
    from baludav.server.announcing import Announcer
    from baludav.server.workers import serve

    settings = config.settings
    is_shown = False
    latest = config
    announcer = Announcer(settings.log_level, settings.log_format)

    def ready(port: int) -> None:
        nonlocal is_shown
        if not is_shown:
            is_shown = True
            click.echo(_welcome(url(config, port), password))
        announcer.announce(announced(config, port) if latest.settings.mdns else None)

    def renew() -> "Plan":
        nonlocal latest
        asked = read()
        if asked.folder != config.folder:
            raise ConfigError(f"baludav.data: {asked.folder} instead of {config.folder} needs a restart")
        latest = asked
        return _plan(asked, config, context, common)

    common = Common(2 * config.workers + 2)  # those that leave, after a reload, count too
    try:
        with announcer:
            return serve(
                _plan(config, config, context, common), renew=renew, ready=ready, stopping=announcer.withdraw,
                listener=listener,
            )  # fmt: skip
    finally:
        if password is not None and not is_shown:  # it could not be learned any more
            click.echo(_welcome(url(config), password))


def _plan(config: Config, first: Config, context: "SSLContext | None", common: "Common") -> "Plan":
    """What workers are made by.

    Args:
        first: what the server was started with; address, number of workers and TLS stay as there.
    """
    from baludav.app import make_app
    from baludav.log.setup import configure
    from baludav.server.workers import Plan, ServerOptions

    settings, limits = config.settings, config.settings.limits
    options = ServerOptions(
        host=first.host,
        port=first.port,
        workers=first.workers,
        ssl=context,
        max_target=limits.request_line,
        max_head=limits.headers,
        keep_alive_seconds=limits.keep_alive_seconds,
        head_seconds=limits.head_seconds,
        body_seconds=limits.body_seconds,
        transfer_rate=limits.transfer_rate,
        graceful_seconds=settings.graceful_seconds,
    )

    def make() -> "App":
        configure(settings.log_level, settings.log_format)
        return make_app(config, common)

    return Plan(options, make)


def announced(config: Config, port: int) -> "Announced | None":
    """What the network is told of this server; None where it could not reach it."""
    from baludav.server.announcing import Announced

    if not config.settings.mdns or is_loopback(config.host):
        return None
    return Announced("https" if config.is_encrypted else "http", config.host, port, "/dav/")


def _ssl(config: Config) -> "SSLContext | None":
    if not config.is_encrypted:
        return None
    from baludav.server.tls import context, self_signed

    if config.certificate is not None and config.private_key is not None:
        return context(config.certificate, config.private_key, config.certificate_chain)
    return context(*self_signed(config.folder / "tls", config.host))
