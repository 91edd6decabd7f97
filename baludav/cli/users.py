"""Users: their passwords, quotas and groups."""

import os
import sys
from pathlib import Path

import click

from baludav.cli.asked import Asked, opened
from baludav.cli.terminal import day, moment, new_password, shown, size, table
from baludav.config import Config


@click.group()
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
    asked: Asked, name: str, password_stdin: bool, admin: bool, quota: str | None, groups: tuple[str, ...]
) -> None:
    """Make a new user with a home.

    Asks for a password on a terminal. Otherwise, without --password-stdin, makes one and prints it once.
    """
    limit = size(quota) if quota is not None else None
    config = asked.config()
    password, is_made = new_password(password_stdin)
    with opened(config) as house:
        account = house.accounts.add(name, password, is_admin=admin, quota=limit, groups=groups)
        try:
            house.tree.create_home(account.name)
        except BaseException:
            house.accounts.delete(account.name)
            raise
    click.echo(f"Added {account.name}")
    folder = _home(config, account.name)
    if any(name != ".baludav" for name in os.listdir(folder)):
        click.echo(f"baludav: {folder} was there before; what it holds is {account.name}'s now", err=True)
    if is_made:
        click.echo(f"Password: {password}\nIt is not shown again; `baludav user passwd {account.name}` changes it.")


@user.command("list")
@click.pass_obj
def user_list(asked: Asked) -> None:
    """List all users: a table on a terminal, lines separated by tabs otherwise."""
    with opened(asked.config()) as house:
        accounts = house.accounts.list()
    rows = [
        (
            account.name,
            "admin" if account.is_admin else "user",
            "disabled" if account.is_disabled else "enabled",
            shown(account.quota),
            ", ".join(sorted(account.groups)),
            day(account.created_at),
        )
        for account in accounts
    ]
    table(("name", "role", "state", "quota", "groups", "since"), rows)


@user.command("passwd")
@_name
@_password_stdin
@click.pass_obj
def user_passwd(asked: Asked, name: str, password_stdin: bool) -> None:
    """Change a password. App passwords stay as they are."""
    with opened(asked.config()) as house:
        house.accounts.get(name)
        password, is_made = new_password(password_stdin)
        house.accounts.set_password(name, password)
    click.echo(f"Password: {password}\nIt is not shown again." if is_made else f"Changed the password of {name}")


@user.command("disable")
@_name
@click.pass_obj
def user_disable(asked: Asked, name: str) -> None:
    """Refuse a user from the next request on. Nothing is deleted."""
    with opened(asked.config()) as house:
        house.accounts.disable(name)
    click.echo(f"Disabled {name}; `baludav user enable {name}` undoes it")


@user.command("enable")
@_name
@click.pass_obj
def user_enable(asked: Asked, name: str) -> None:
    """Let a disabled user in again."""
    with opened(asked.config()) as house:
        house.accounts.enable(name)
    click.echo(f"Enabled {name}")


@user.command("delete")
@_name
@click.option("--files", is_flag=True, help="Delete the files in the home as well. They cannot be brought back.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def user_delete(asked: Asked, name: str, files: bool, yes: bool) -> None:
    """Delete a user. The files stay on the disk unless --files is given."""
    config = asked.config()
    with opened(config) as house:
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
@click.argument("limit", metavar="[SIZE]", required=False)
@click.pass_obj
def user_quota(asked: Asked, name: str, limit: str | None) -> None:
    """Show or set what a home may hold.

    SIZE is a number with a unit, such as 10GB or 512MiB, or `none` for the default of the configuration.
    """
    with opened(asked.config()) as house:
        if limit is not None:
            house.accounts.set_quota(name, size(limit))
        quota = house.accounts.get(name).quota
    click.echo(f"{name}: {shown(quota)}")


@user.command("groups")
@_name
@click.argument("groups", nargs=-1)
@click.option("--none", "is_none", is_flag=True, help="Take the user out of all groups.")
@click.pass_obj
def user_groups(asked: Asked, name: str, groups: tuple[str, ...], is_none: bool) -> None:
    """Show or set the groups of a user: those given, and no others.

    Shares name groups as @GROUP in wsgidav.yaml.
    """
    if groups and is_none:
        raise click.UsageError("give either groups or --none")
    with opened(asked.config()) as house:
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
def app_password_add(asked: Asked, name: str, label: str) -> None:
    """Make a password for the program called LABEL and print it once."""
    with opened(asked.config()) as house:
        secret = house.accounts.add_app_password(name, label)
    click.echo(secret)
    click.echo("Not shown again; sign in with it in place of the password.", err=True)


@app_password.command("list")
@_name
@click.pass_obj
def app_password_list(asked: Asked, name: str) -> None:
    """List the labels of a user's app passwords, and when each was used last."""
    with opened(asked.config()) as house:
        found = house.accounts.list_app_passwords(name)
    table(("label", "since", "last use"), [(one.label, day(one.created_at), moment(one.last_used_at)) for one in found])


@app_password.command("revoke")
@_name
@click.argument("label")
@click.pass_obj
def app_password_revoke(asked: Asked, name: str, label: str) -> None:
    """Refuse an app password from the next request on."""
    with opened(asked.config()) as house:
        house.accounts.revoke_app_password(name, label)
    click.echo(f"Revoked {label}")


def _home(config: Config, name: str) -> Path:
    return config.folder / "files" / name
