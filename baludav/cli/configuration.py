"""The configuration: whether all is well with it."""

from pathlib import Path

import click

from baludav.cli.asked import Asked
from baludav.cli.serving import require_sense, url
from baludav.cli.terminal import shown, table
from baludav.config import parse_size


@click.group("config")
def configuration() -> None:
    """The configuration file."""


@configuration.command("check")
@click.pass_obj
def config_check(asked: Asked) -> None:
    """Read the configuration as `serve` would and show what it comes to."""
    config = asked.config()
    require_sense(config)
    click.echo(f"{config.file or 'No configuration file'}: nothing is wrong")
    table(
        ("setting", "value"),
        [
            ("address", url(config)),
            ("data folder", str(config.folder)),
            ("workers", str(config.workers)),
            ("durability", config.settings.durability),
            ("default quota", shown(parse_size(config.settings.default_quota), "none")),
            *((f"share {name}", share.folder) for name, share in config.settings.shares.items()),
        ],
    )
    base = config.file.resolve().parent if config.file else Path.cwd()
    for name, share in config.settings.shares.items():
        folder = base / Path(share.folder).expanduser()
        if not folder.is_dir():
            click.echo(f"baludav: share {name}: {folder} is no folder now; it answers 503 until it is there", err=True)
