"""The command `baludav`: serving, accounts, the index and the configuration.

Every command works while the server runs; what it changes counts from the next request on. What goes wrong in an
expected way is one line on standard error. The heavy rooms are imported where they are used, so that `--help` is
quick.
"""

import contextlib
import errno
import functools
import ipaddress
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from baludav.config import Config, ConfigError, load, parse_size
from baludav.errors import Failure

if TYPE_CHECKING:
    from baludav.app import House
    from baludav.tree.checking import Difference, Progress

T = TypeVar("T")
_INTERRUPTED = 130  # as shells report SIGINT

_PLAIN = (
    "Passwords would cross the network unencrypted: set ssl_certificate and ssl_private_key in wsgidav.yaml, "
    "or start with --tls self-signed, or set allow_plain_http: true behind a proxy that encrypts"
)


@dataclass
class _Asked:
    """What was asked for before the command's name."""

    file: Path | None = None

    def config(self, **overrides: object) -> Config:
        """The configuration; options given on the command line override even the environment."""
        given = {f"BALUDAV_{key.upper()}": str(value) for key, value in overrides.items() if value is not None}
        return load(self.file, {**os.environ, **given})


class _Edge(click.Group):
    """Where failures become one line and an exit status."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        os.umask(0o077)  # what is created here is nobody else's
        extra.pop("standalone_mode", None)
        extra.setdefault("prog_name", "baludav")
        try:
            status = super().main(args, standalone_mode=False, **extra)
        except click.UsageError as error:
            status = _misused(error)
        except click.ClickException as error:
            status = _told(error.format_message())
        except (click.Abort, KeyboardInterrupt):
            status = _told("interrupted", _INTERRUPTED)
        except BrokenPipeError:  # `baludav user list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 1
        except OSError as error:
            status = _told(_explained(error))
        except (ConfigError, Failure, ValueError) as error:
            status = _told(str(error)) if _is_expected(error) else _unexpected(error)
        sys.exit(status if isinstance(status, int) else 0)


def _told(message: str, status: int = 1) -> int:
    click.echo(f"baludav: {' '.join(message.split())}", err=True)
    return status


def _misused(error: click.UsageError) -> int:
    message = error.format_message()
    if "\n" in message:  # a group without a command: its help
        click.echo(message, err=True)
        return error.exit_code
    path = error.ctx.command_path if error.ctx else "baludav"
    return _told(f"{message.rstrip('.')}; see `{path} --help`", error.exit_code)


def _is_expected(error: Exception) -> bool:
    from baludav.accounts.names import AccountError

    return isinstance(error, ConfigError | Failure | AccountError)


def _unexpected(error: Exception) -> int:
    raise error


def _explained(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    advice = {
        errno.EADDRINUSE: "another program uses this port; choose another one with --port or BALUDAV_PORT",
        errno.EADDRNOTAVAIL: "this machine has no such address; choose another one with --host or BALUDAV_HOST",
        errno.EACCES: "permission denied; run as the owner, or choose another data folder with BALUDAV_DATA",
        errno.EPERM: "not permitted; run as the owner, or choose another data folder with BALUDAV_DATA",
        errno.ENOSPC: "the disk is full; make room and try again",
        errno.EROFS: "the disk is read-only; choose another data folder with BALUDAV_DATA",
        errno.ENOTDIR: "not a folder; choose another data folder with BALUDAV_DATA",
        errno.EEXIST: "not a folder; choose another data folder with BALUDAV_DATA",
    }
    if error.errno == errno.EACCES and not error.filename:
        return "this port is reserved for root; choose one above 1023 with --port or BALUDAV_PORT"
    return where + advice.get(error.errno or 0, error.strerror or str(error))


@click.group("baludav", cls=_Edge, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file; wsgidav.yaml by default.")
@click.version_option(package_name="baludav")
@click.pass_context
def main(context: click.Context, file: Path | None) -> None:
    """baludav serves each user's files over WebDAV.

    \b
      baludav serve                          start; the first start prints a password
      baludav user add anna --quota 100GB    a new user with a home of her own
      baludav user app-password add anna phone
      baludav index check                    compare every file with the index

    Settings are read from wsgidav.yaml; BALUDAV_<KEY> in the environment overrides its baludav: section. Every
    command works while the server runs, and counts from the next request on.
    """
    context.obj = _Asked(file)


# Serving


@main.command()
@click.option("--host", help="Address to listen on; 127.0.0.1 by default, 0.0.0.0 for every network.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 8080 by default.")
@click.option("--workers", type=click.IntRange(0, 256), help="Worker processes; 0: one for each core.")
@click.option("--tls", type=click.Choice(["off", "self-signed"]), help="Encrypt with a certificate made here.")
@click.pass_obj
def serve(asked: _Asked, host: str | None, port: int | None, workers: int | None, tls: str | None) -> int:
    """Serve until stopped with Ctrl-C or SIGTERM.

    The first start creates the data folder, the index and an account `admin`, whose random password is printed
    once (unless BALUDAV_ADMIN_PASSWORD gives one).

    \b
      baludav serve
      baludav serve --host 0.0.0.0 --tls self-signed
      BALUDAV_DATA=/srv/baludav baludav serve --port 8443
    """
    config = asked.config(host=host, port=port, workers=workers, tls=tls)
    _require_sense(config)
    from baludav import log

    log.configure(config.settings.log_level)
    with _opened(config) as house:
        password = _first_start(house)
    return _serve(config, password)


@main.command()
@click.pass_obj
def init(asked: _Asked) -> None:
    """Create the data folder, the index and the account `admin` without serving.

    Safe to repeat: what is there already stays as it is.
    """
    config = asked.config()
    with _opened(config) as house:
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


def _require_sense(config: Config) -> None:
    """Refuse what would serve, but not as meant."""
    from baludav.accounts.address import networks

    networks(config.settings.trusted_proxies)
    if not (config.is_encrypted or is_loopback(config.host) or config.settings.allow_plain_http):
        raise ConfigError(_PLAIN)
    for file in (config.certificate, config.private_key, config.certificate_chain):
        if file is not None:
            with open(file, "rb"):
                pass  # it can be read


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


def _serve(config: Config, password: str | None) -> int:
    from baludav.app import make_app
    from baludav.server.workers import ServerOptions, serve

    is_shown = False

    def ready(port: int | None = None) -> None:
        nonlocal is_shown
        is_shown = True
        click.echo(_welcome(url(config, port), password))

    settings = config.settings
    options = ServerOptions(
        host=config.host,
        port=config.port,
        workers=config.workers,
        ssl=_ssl(config),
        keep_alive_seconds=settings.keep_alive_seconds,
        body_seconds=settings.body_seconds,
        graceful_seconds=settings.graceful_seconds,
    )
    try:
        return serve(options, functools.partial(make_app, config), ready=ready)
    finally:
        if password is not None and not is_shown:  # it could not be learned any more
            click.echo(_welcome(url(config), password))


def _ssl(config: Config) -> Any:
    if not config.is_encrypted:
        return None
    from baludav.server import tls

    if config.certificate is not None and config.private_key is not None:
        return tls.context(config.certificate, config.private_key, config.certificate_chain)
    return tls.context(*tls.self_signed(config.folder / "tls", config.host))


# Users


@main.group()
def user() -> None:
    """Users, their passwords, quotas and groups.

    \b
      baludav user add anna --quota 100GB --group family
      echo "correct horse" | baludav user add ben --password-stdin
      baludav user app-password add anna phone
      baludav user disable ben
    """


_name = click.argument("name")
_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Take the password from the first line of standard input."
)


@user.command("add")
@_name
@_password_stdin
@click.option("--admin", is_flag=True, help="May reach all homes and all shares.")
@click.option("--quota", metavar="SIZE", help="What the home may hold, such as 10GB or 512MiB.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group to be a member of; repeatable.")
@click.pass_obj
def user_add(
    asked: _Asked, name: str, password_stdin: bool, admin: bool, quota: str | None, groups: tuple[str, ...]
) -> None:
    """Make a new user with a home.

    Asks for a password on a terminal. Otherwise, without --password-stdin, makes one and prints it once.
    """
    limit = _size(quota) if quota is not None else None
    config = asked.config()
    password, is_made = _new_password(password_stdin)
    with _opened(config) as house:
        account = house.accounts.add(name, password, is_admin=admin, quota=limit, groups=groups)
        try:
            house.tree.create_home(account.name)
        except BaseException:
            house.accounts.delete(account.name)
            raise
    click.echo(f"Added {account.name}")
    if is_made:
        click.echo(f"Password: {password}\nIt is not shown again; `baludav user passwd {account.name}` changes it.")


@user.command("list")
@click.pass_obj
def user_list(asked: _Asked) -> None:
    """List all users: a table on a terminal, lines separated by tabs otherwise."""
    with _opened(asked.config()) as house:
        accounts = house.accounts.list()
    rows = [
        (
            account.name,
            "admin" if account.is_admin else "user",
            "disabled" if account.is_disabled else "enabled",
            _shown(account.quota),
            ", ".join(sorted(account.groups)),
            _day(account.created_at),
        )
        for account in accounts
    ]
    _table(("name", "role", "state", "quota", "groups", "since"), rows)


@user.command("passwd")
@_name
@_password_stdin
@click.pass_obj
def user_passwd(asked: _Asked, name: str, password_stdin: bool) -> None:
    """Change a password. App passwords stay as they are."""
    with _opened(asked.config()) as house:
        house.accounts.get(name)
        password, is_made = _new_password(password_stdin)
        house.accounts.set_password(name, password)
    click.echo(f"Password: {password}\nIt is not shown again." if is_made else f"Changed the password of {name}")


@user.command("disable")
@_name
@click.pass_obj
def user_disable(asked: _Asked, name: str) -> None:
    """Refuse a user from the next request on. Nothing is deleted."""
    with _opened(asked.config()) as house:
        house.accounts.disable(name)
    click.echo(f"Disabled {name}; `baludav user enable {name}` undoes it")


@user.command("enable")
@_name
@click.pass_obj
def user_enable(asked: _Asked, name: str) -> None:
    """Let a disabled user in again."""
    with _opened(asked.config()) as house:
        house.accounts.enable(name)
    click.echo(f"Enabled {name}")


@user.command("delete")
@_name
@click.option("--files", is_flag=True, help="Delete the files in the home as well. They cannot be brought back.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def user_delete(asked: _Asked, name: str, files: bool, yes: bool) -> None:
    """Delete a user. The files stay on the disk unless --files is given."""
    config = asked.config()
    with _opened(config) as house:
        account = house.accounts.get(name)
        folder = _home(config, account.name)
        if files and not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("--files deletes for good; add --yes to do so without being asked")
            click.confirm(f"Delete {account.name} and everything in {folder}?", abort=True)
        house.accounts.delete(account.name)
        house.tree.delete_home(account.name, files=files)
    click.echo(f"Deleted {account.name}" if files else f"Deleted {account.name}; the files stay in {folder}")


@user.command("quota")
@_name
@click.argument("size", required=False)
@click.pass_obj
def user_quota(asked: _Asked, name: str, size: str | None) -> None:
    """Show or set what a home may hold.

    SIZE is a number with a unit, such as 10GB or 512MiB, or `none` for the default of the configuration.
    """
    with _opened(asked.config()) as house:
        if size is not None:
            house.accounts.set_quota(name, _size(size))
        quota = house.accounts.get(name).quota
    click.echo(f"{name}: {_shown(quota)}")


@user.command("groups")
@_name
@click.argument("groups", nargs=-1)
@click.option("--none", "is_none", is_flag=True, help="Take the user out of all groups.")
@click.pass_obj
def user_groups(asked: _Asked, name: str, groups: tuple[str, ...], is_none: bool) -> None:
    """Show or set the groups of a user: those given, and no others.

    Shares name groups as @GROUP in wsgidav.yaml.
    """
    if groups and is_none:
        raise click.UsageError("give either groups or --none")
    with _opened(asked.config()) as house:
        if groups or is_none:
            house.accounts.set_groups(name, groups)
        found = house.accounts.get(name).groups
    click.echo(f"{name}: {', '.join(sorted(found)) or 'no groups'}")


@user.group("app-password")
def app_password() -> None:
    """Passwords for single programs, each revocable by itself.

    \b
      baludav user app-password add anna phone
      baludav user app-password list anna
      baludav user app-password revoke anna phone
    """


@app_password.command("add")
@_name
@click.argument("label")
@click.pass_obj
def app_password_add(asked: _Asked, name: str, label: str) -> None:
    """Make a password for the program called LABEL and print it once."""
    with _opened(asked.config()) as house:
        secret = house.accounts.add_app_password(name, label)
    click.echo(secret)
    click.echo("Not shown again; sign in with it in place of the password.", err=True)


@app_password.command("list")
@_name
@click.pass_obj
def app_password_list(asked: _Asked, name: str) -> None:
    """List the labels of a user's app passwords."""
    with _opened(asked.config()) as house:
        found = house.accounts.list_app_passwords(name)
    _table(("label", "since"), [(one.label, _day(one.created_at)) for one in found])


@app_password.command("revoke")
@_name
@click.argument("label")
@click.pass_obj
def app_password_revoke(asked: _Asked, name: str, label: str) -> None:
    """Refuse an app password from the next request on."""
    with _opened(asked.config()) as house:
        house.accounts.revoke_app_password(name, label)
    click.echo(f"Revoked {label}")


# The index


@main.group()
def index() -> None:
    """What the server knows about the files: their hashes, ids and history.

    The files themselves are the truth; both commands are safe while the server runs.
    """


@index.command("check")
@click.pass_obj
def index_check(asked: _Asked) -> int:
    """Read every file and compare it with the index. Changes nothing.

    Exit status 1 if there are differences, each of which is named on a line.
    """
    with _opened(asked.config()) as house, _progress("Checking") as progress:
        differences = _check(house, progress)
    for difference in differences:
        click.echo(f"{difference.root.kind} {difference.root.name}: {'/'.join(difference.path)}: {difference.what}")
    if differences:
        return _told(f"{_count(len(differences), 'difference')}; `baludav index rebuild` mends the index")
    click.echo("The index agrees with every file")
    return 0


@index.command("rebuild")
@click.pass_obj
def index_rebuild(asked: _Asked) -> None:
    """Read every file again and mend the index.

    Can be interrupted: the same command goes on where it stopped.
    """
    with _opened(asked.config()) as house, _progress("Rebuilding") as progress:
        try:
            count = _rebuild(house, progress)
        except KeyboardInterrupt:
            raise click.ClickException("interrupted; the same command goes on from here") from None
    click.echo(f"{_count(count, 'file')} in the index")


def _check(house: "House", progress: "Progress") -> "list[Difference]":
    from baludav.tree.checking import check

    return check(house.tree, progress)


def _rebuild(house: "House", progress: "Progress") -> int:
    from baludav.tree.checking import rebuild

    return rebuild(house.tree, progress)


# The configuration


@main.group("config")
def configuration() -> None:
    """The configuration file."""


@configuration.command("check")
@click.pass_obj
def config_check(asked: _Asked) -> None:
    """Read the configuration as `serve` would and show what it comes to."""
    config = asked.config()
    _require_sense(config)
    click.echo(f"{config.file or 'No configuration file'}: nothing is wrong")
    _table(
        ("setting", "value"),
        [
            ("address", url(config)),
            ("data folder", str(config.folder)),
            ("workers", str(config.workers)),
            ("durability", config.settings.durability),
            ("default quota", _shown(parse_size(config.settings.default_quota), "none")),
            *((f"share {name}", share.folder) for name, share in config.settings.shares.items()),
        ],
    )
    base = config.file.resolve().parent if config.file else Path.cwd()
    for name, share in config.settings.shares.items():
        folder = base / Path(share.folder).expanduser()
        if not folder.is_dir():
            click.echo(f"baludav: share {name}: {folder} is no folder now; it answers 503 until it is there", err=True)


# What the commands have in common


@contextlib.contextmanager
def _opened(config: Config) -> "Iterator[House]":
    """The rooms of this installation, closed again at the end."""
    from baludav.app import open_house

    house = open_house(config)
    try:
        yield house
    finally:
        house.close()


def _home(config: Config, name: str) -> Path:
    return config.folder / "files" / name


def _new_password(from_stdin: bool) -> tuple[str, bool]:
    """A password, and True if it was made here and has to be shown."""
    if from_stdin:
        try:
            line = sys.stdin.buffer.readline().decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise click.UsageError("the password on standard input is not UTF-8; convert it") from error
        if not line:
            raise click.UsageError("standard input holds no password; write it on the first line")
        return line, False
    if sys.stdin.isatty():
        return click.prompt("Password", hide_input=True, confirmation_prompt=True), False
    from baludav.accounts.passwords import generate

    return generate(), True


def _size(text: str) -> int | None:
    try:
        return parse_size(text)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def _shown(size: int | None, otherwise: str = "default") -> str:
    """A size in the largest unit that needs no decimals, so that it can be given back."""
    if size is None:
        return otherwise
    units = {"TB": 1000**4, "GB": 1000**3, "MB": 1000**2, "KB": 1000}
    binary = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}
    for unit, factor in (units | binary).items():
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    if not sys.stdout.isatty():
        for row in (head, *rows):
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


@contextlib.contextmanager
def _progress(verb: str) -> "Iterator[Callable[[int, int], None]]":
    """A bar on a terminal, nothing otherwise."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
