"""The index: comparing it with the disk, and mending it."""

from typing import TYPE_CHECKING

import click

from baludav.cli.asked import Asked, opened
from baludav.cli.edge import told
from baludav.cli.serving import claimed
from baludav.cli.terminal import count, progress
from baludav.log.text import one_line

if TYPE_CHECKING:
    from baludav.app import House
    from baludav.tree.truth.checking import Difference, Progress


@click.group()
def index() -> None:
    """What the server knows about the files: their hashes, ids and history.

    The files themselves are the truth; `check` and `rebuild` are safe while the server runs.
    """


@index.command("check")
@click.option("--deep", is_flag=True, help="Old versions, the trash and the index itself as well; what to do is said.")
@click.pass_obj
def index_check(asked: Asked, deep: bool) -> int:
    """Read every file and compare it with the index. Changes nothing.

    Exit status 1 if there are differences, each of which is named on a line. With --deep, what looks wrong is looked
    at for some seconds, so that nothing is told that a server was only about to do.
    """
    if deep:
        return _inspect(asked)
    with opened(asked.config()) as house, progress("Checking") as report:
        differences = _check(house, report)
    for difference in differences:
        where = f"{difference.root.kind} {difference.root.name}: {'/'.join(difference.path)}"
        click.echo(one_line(f"{where}: {difference.what}"))
    if differences:
        return told(f"{count(len(differences), 'difference')}; `baludav index rebuild` mends the index")
    click.echo("The index agrees with every file")
    return 0


@index.command("restored")
@click.pass_obj
def index_restored(asked: Asked) -> None:
    """Say that the data folder was restored from a backup. The server must not run.

    Sync clients then compare everything, and send what the backup does not have instead of deleting it at their side.
    """
    from baludav.db.restored import declare_restored

    config = asked.config()
    with opened(config) as house, claimed(config.folder):
        declare_restored(house.database)
    click.echo("Sync clients will keep what they have, and send what is missing here")


@index.command("rebuild")
@click.pass_obj
def index_rebuild(asked: Asked) -> None:
    """Read every file again and mend the index.

    Can be interrupted: the same command goes on where it stopped.
    """
    with opened(asked.config()) as house, progress("Rebuilding") as report:
        try:
            files = _rebuild(house, report)
        except KeyboardInterrupt:
            raise click.ClickException("interrupted; the same command goes on from here") from None
    click.echo(f"{count(files, 'file')} in the index")


def _inspect(asked: Asked) -> int:
    from baludav.tree.truth.inspecting import inspect

    with opened(asked.config()) as house, progress("Inspecting") as report:
        findings = inspect(house.tree, report)
    for finding in findings:
        click.echo(one_line(f"{finding.where}: {finding.what}; {finding.advice}"))
    if findings:
        return told(f"{count(len(findings), 'finding')}; nothing was changed")
    click.echo("Index, files and history agree in every byte")
    return 0


def _check(house: "House", progress: "Progress") -> "list[Difference]":
    from baludav.tree.truth.checking import check

    return check(house.tree, progress)


def _rebuild(house: "House", progress: "Progress") -> int:
    from baludav.tree.truth.checking import rebuild

    return rebuild(house.tree, progress)
