"""The audit trail: who did what, from where."""

import ipaddress
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from baludav.cli.asked import Asked, opened
from baludav.cli.terminal import table

if TYPE_CHECKING:
    from baludav.db.audit import Event

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


@click.command()
@click.option("--user", "name", metavar="NAME", help="Only what is about this user; also one that is deleted.")
@click.option("--since", metavar="TIME", help="A date, a date with a time as in 2026-05-06T07:08, or an age as in 2d.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="As in the column `what`; repeatable.")
@click.option("--address", metavar="ADDRESS", help="Only from this address, or network such as 192.168.1.0/24.")
@click.option("--json", "is_json", is_flag=True, help="An object on each line, for programs.")
@click.pass_obj
def audit(
    asked: Asked, name: str | None, since: str | None, kinds: tuple[str, ...], address: str | None, is_json: bool
) -> None:
    """Show who signed in from where, who was refused what, and what was changed.

    \b
      baludav audit --since 2d
      baludav audit --user anna --kind sign-in
      baludav audit --kind sign-in-failed --kind sign-in-throttled --address 203.0.113.0/24
      baludav audit --json | jq .

    What happened last stands last: a table on a terminal, lines separated by tabs otherwise. A sign-in is one line for
    each address, device and program, with when it was first and last seen (to the hour). Failures and refusals are
    counted by the hour.
    """
    from baludav.db.audit import Kind, find

    for kind in kinds:
        if kind not in list(Kind):
            raise click.BadParameter(f"{kind!r} is none of {', '.join(Kind)}", param_hint="--kind")
    is_from = _from(address)
    first = None if since is None else _moment(since)
    with opened(asked.config()) as house, house.database.reading() as connection:
        found = find(connection, user=name, kinds=map(Kind, kinds), since=first)
        events = [event for event in found if is_from(event)]
    if is_json:
        for event in events:
            click.echo(_object(event))
        return
    head = ("last", "first", "times", "what", "user", "device", "address", "path", "detail", "client")
    table(head, [_row(event) for event in events])


def _row(event: "Event") -> tuple[str, ...]:
    return (
        _local(event.last_at), _local(event.first_at), str(event.times), event.kind, event.user, event.device,
        event.address, event.path, event.detail, event.client,
    )  # fmt: skip


def _object(event: "Event") -> str:
    values = event._asdict()
    for name in ("first_at", "last_at"):
        moment = datetime.fromtimestamp(values[name], UTC)
        values[name] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(values, ensure_ascii=False)


def _local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _from(address: str | None) -> "Callable[[Event], bool]":
    """What tells whether an event comes from an address or network."""
    if address is None:
        return lambda event: True
    try:
        network = ipaddress.ip_network(address, strict=False)
    except ValueError:
        raise click.BadParameter(f"{address!r} is no address or network", param_hint="--address") from None

    def is_from(event: "Event") -> bool:
        try:
            return ipaddress.ip_address(event.address) in network
        except ValueError:
            return False

    return is_from


def _moment(text: str) -> float:
    """Seconds since the epoch."""
    age = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if age:
        return time.time() - int(age[1]) * _UNITS[age[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a date nor an age such as 2d", param_hint="--since") from None
