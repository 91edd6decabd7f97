"""How each system connects to this server: its own words, with this server's address in them."""

import socket
from urllib.parse import urlsplit

import click

from baludav.cli.asked import Asked
from baludav.cli.serving import is_loopback, url
from baludav.config import Config

_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104

_REGISTRY = r"reg add HKLM\SYSTEM\CurrentControlSet\Services\WebClient\Parameters /t REG_DWORD /f"
_HERE = 'Only this machine can reach this address; README.md, "Let others in", says how others can.'
_PLAIN = (
    "Without TLS, passwords go over the network as they are, and Windows connects only after this and a restart:\n"
    f"  {_REGISTRY} /v BasicAuthLevel /d 2"
)
_OWN = "Each client has to trust the server's certificate once"
_LARGE = (
    f"Windows takes no file over 50 MB until this and a restart:\n  {_REGISTRY} /v FileSizeLimitInBytes /d 0xffffffff"
)


@click.command("connect-info")
@click.option("--user", "name", metavar="NAME", default="USER", help="Whose files to connect to.")
@click.option(
    "--url", "address", metavar="URL", help="The server's address as clients know it, for one behind a proxy."
)
@click.pass_obj
def connect_info(asked: Asked, name: str, address: str | None) -> None:
    """Print what to type where, to connect each system to this server.

    \b
      baludav connect-info --user alice
      baludav connect-info --user alice --url https://files.example.org
    """
    config = asked.config()
    found = urlsplit(address or _address(config))
    if found.scheme not in ("http", "https") or not found.hostname:
        raise click.BadParameter(f"{address} is no http or https address", param_hint="--url")
    is_safe = found.scheme == "https"
    dav = f"{found.scheme}://{found.netloc}/dav/"
    place = f"{found.netloc}/dav/"
    lines = [
        ("Address", dav),
        ("Windows", f"net use Z: {dav} /user:{name} *"),
        ("macOS", f"Finder, Go, Connect to Server: {dav}"),
        ("GNOME", f"Files, Connect to Server: {'davs' if is_safe else 'dav'}://{name}@{place}"),
        ("KDE", f"Dolphin: {'webdavs' if is_safe else 'webdav'}://{name}@{place}"),
        ("davfs2", f"sudo mount -t davfs {dav} /mnt/dav -o uid=$USER  # with `buf_size 64` in davfs2.conf"),
        ("rclone", f"rclone config create nas webdav vendor=owncloud url={dav} user={name} pass=PASSWORD --obscure"),
        ("Nextcloud apps", f"server address: {found.scheme}://{found.netloc}"),
        ("curl", f"curl -u {name} -T FILE {dav}"),
    ]
    for system, what in lines:
        click.echo(f"{system:<15} {what}")
    for note in _notes(config, found.scheme, found.hostname, is_given=address is not None):
        click.echo(f"\n{note}")


def _address(config: Config) -> str:
    """Where others find this server, as far as it can know."""
    if config.host not in _EVERYWHERE:
        return url(config)
    return url(config).replace("localhost", socket.gethostname(), 1)


def _notes(config: Config, scheme: str, host: str, *, is_given: bool) -> list[str]:
    return [
        *([_HERE] if is_loopback(host) else []),
        *([_PLAIN] if scheme == "http" else []),
        *([f"{_OWN}: {config.folder}/tls/cert.pem"] if config.settings.tls == "self-signed" and not is_given else []),
        _LARGE,
    ]
