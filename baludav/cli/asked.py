"""What every command starts from: the configuration that was asked for, and the rooms it opens."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from baludav.config import Config, load

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
    """The rooms of this installation, closed again at the end."""
    from baludav.app import open_house

    house = open_house(config)
    try:
        yield house
    finally:
        house.close()
