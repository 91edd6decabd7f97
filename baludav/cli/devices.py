"""Devices and app passwords: what signs in in a user's place, and ending the access of one."""

import click

from baludav.cli.asked import Asked, opened
from baludav.cli.edge import told
from baludav.cli.terminal import day, moment, table
from baludav.log.text import one_line


@click.group()
def device() -> None:
    """Devices and programs that sign in for a user, each with a secret of its own.

    \b
      baludav device list anna
      baludav device end anna phone

    A lost phone is one command away from being shut out; nothing else of its user changes.
    """


@device.command("list")
@click.argument("name")
@click.pass_obj
def device_list(asked: Asked, name: str) -> None:
    """List a user's devices and app passwords, and when each signed in last.

    A table on a terminal, lines separated by tabs otherwise. App passwords are named by their label, devices by an id.
    """
    with opened(asked.config()) as house:
        account = house.accounts.get(name)
        devices = house.devices.of(account.id)
        app_passwords = house.accounts.list_app_passwords(name)
    rows = [
        (one.public_id, one.device_type, one_line(one.name), day(one.created_at), moment(one.last_seen_at))
        for one in devices
    ]
    rows += [
        (one.label, "app password", one.label, day(one.created_at), moment(one.last_used_at)) for one in app_passwords
    ]
    table(("device", "type", "name", "since", "last use"), rows)


@device.command("end")
@click.argument("name")
@click.argument("devices", metavar="DEVICE...", nargs=-1, required=True)
@click.pass_obj
def device_end(asked: Asked, name: str, devices: tuple[str, ...]) -> int:
    """End the access of devices or app passwords, as `baludav device list` names them, from the next request on.

    What they have synced stays with them, and here; conflicts that a device has not settled are forgotten.
    """
    status = 0
    with opened(asked.config()) as house:
        account = house.accounts.get(name)
        ids = {one.public_id for one in house.devices.of(account.id)}
        labels = {one.label for one in house.accounts.list_app_passwords(name)}
        for which in devices:
            if which in ids:
                house.devices.remove(account.id, which)
            elif which in labels:
                house.accounts.revoke_app_password(name, which)
            else:
                status = told(f"{name} has no device {which!r} (any more); see `baludav device list {name}`")
                continue
            click.echo(f"Ended {which}")
    return status
