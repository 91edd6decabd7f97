"""What the commands ask on a terminal, and how they show their answers there and elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import click

from baludav.config import ConfigError, parse_size


def new_password(from_stdin: bool) -> tuple[str, bool]:
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


def size(text: str) -> int | None:
    """Bytes; None for no limit."""
    try:
        return parse_size(text)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def shown(size: int | None, otherwise: str = "default") -> str:
    """A size in the largest unit that needs no decimals, so that it can be given back."""
    if size is None:
        return otherwise
    units = {"TB": 1000**4, "GB": 1000**3, "MB": 1000**2, "KB": 1000}
    binary = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}
    for unit, factor in (units | binary).items():
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def day(seconds: float) -> str:
    """The date of a time in seconds since the epoch, where the reader is."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d")


def moment(seconds: float | None) -> str:
    """The time, where the reader is; a dash for never."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def count(number: int, noun: str) -> str:
    """As in `1 file` and `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on a terminal, lines separated by tabs otherwise."""
    if not sys.stdout.isatty():
        for row in (head, *rows):
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*head, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


@contextlib.contextmanager
def progress(verb: str) -> Iterator[Callable[[int, int], None]]:
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
