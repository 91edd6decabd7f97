"""Locks: who keeps others from changing what, and ending those that a client left behind."""

import click

from baludav.cli.asked import Asked, opened
from baludav.cli.edge import told
from baludav.cli.terminal import moment, table
from baludav.log.text import one_line


@click.group()
def lock() -> None:
    """Locks that clients have taken on files and folders.

    \b
      baludav lock list
      baludav lock break baludav:Y4kuxHe7w114JtXE4Bv22A

    Each ends by itself when its time is over and its client has not asked for more.
    """


@lock.command("list")
@click.option("--user", "name", metavar="NAME", help="Only those of one user.")
@click.pass_obj
def lock_list(asked: Asked, name: str | None) -> None:
    """List all locks, the oldest first: a table on a terminal, lines separated by tabs otherwise."""
    with opened(asked.config()) as house:
        if name is not None:
            house.accounts.get(name)
        with house.tree.database.reading() as connection:
            found = house.tree.locks.held(connection)
    rows = [
        (
            held.lock.token,
            held.holder,
            one_line(f"{held.root[0]} {held.root[1]}: /{'/'.join(held.names)}"),
            moment(held.lock.created_at),
            moment(held.lock.expires_at),
            one_line(held.lock.client),
            one_line(held.owner),
        )
        for held in found
        if name is None or held.holder == name
    ]
    table(("lock", "user", "what", "since", "until", "client", "owner"), rows)


@lock.command("break")
@click.argument("tokens", metavar="LOCK...", nargs=-1, required=True)
@click.pass_obj
def lock_break(asked: Asked, tokens: tuple[str, ...]) -> int:
    """End locks, whoever holds them, as `baludav lock list` names them.

    What the client has not saved is not lost: it is told that the lock is gone when it tries to.
    """
    status = 0
    with opened(asked.config()) as house:
        for token in tokens:
            if house.tree.end_lock(token):
                click.echo(f"Ended {token}")
            else:
                status = told(f"there is no lock {token!r} (any more); see `baludav lock list`")
    return status
