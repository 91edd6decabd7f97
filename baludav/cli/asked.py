"""What every command starts from: the configuration that was asked for, and the rooms it opens."""

import contextlib
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from baludav.cli import privileges
from baludav.config import Config, load
from baludav.origin import Origin, coming_from

if TYPE_CHECKING:
    from baludav.app import House


@dataclass
class Asked:
    """What was asked for before the command's name."""

    file: Path | None = None

    def config(self, **overrides: object) -> Config:
        """The configuration; options given on the command line override even the environment."""
        given = {f"BALUDAV_{key.upper()}": str(value) for key, value in overrides.items() if value is not None}
        return load(self.file, {**os.environ, **given})


@contextlib.contextmanager
def opened(config: Config) -> "Iterator[House]":
    """The rooms of this installation, closed again at the end; root becomes the account that they belong to before."""
    from baludav.app import open_house

    command = _command()
    account = privileges.wanted(config)
    if account is not None:
        privileges.become(account, config)
    with coming_from(Origin(client=command)):
        house = open_house(config)
        try:
            yield house
        finally:
            house.close()


def _command() -> str:
    """What the audit trail calls this: the words of the command, and the account of this machine that gave it."""
    context = click.get_current_context(silent=True)
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # an account that has only a number, as in containers
        name = str(os.getuid())
    return f"{context.command_path if context else 'baludav'} ({name})"
