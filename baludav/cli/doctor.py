"""The doctor: whether clients can work with a server, through whatever stands before it."""

import os
import signal
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from baludav.cli.terminal import count, new_password
from baludav.log.text import one_line

if TYPE_CHECKING:
    from baludav.doctor.finding import Finding

PASSWORD = "BALUDAV_PASSWORD"  # noqa: S105 - the variable's name


@click.command()
@click.argument("url")
@click.option(
    "--user", "name", metavar="NAME", required=True, help="Who to sign in as; an account for trying is enough."
)
@click.option("--password-stdin", is_flag=True, help="Take the password from the first line of standard input.")
@click.option(
    "--trust", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A certificate to trust, such as the server's own data/tls/cert.pem.",
)  # fmt: skip
@click.option(
    "--patience", metavar="SECONDS", type=click.IntRange(0, 60), default=45, show_default=True,
    help="How slow an answer is tried at the end; 0: none.",
)  # fmt: skip
def doctor(url: str, name: str, password_stdin: bool, trust: Path | None, patience: int) -> int:
    """Try whether clients can work with a server, through its proxy.

    URL is the address that clients use. It need not be a baludav; this needs no configuration, and runs anywhere.

    \b
      baludav doctor https://files.example.org/dav/ --user alice
      baludav doctor https://nas:8080/dav/ --user alice --trust cert.pem
      BALUDAV_PASSWORD=... baludav doctor http://127.0.0.1:8080/dav/ --user alice --patience 0

    Plays what Windows, macOS, Office, GNOME, davfs2, Cyberduck, rclone and Nextcloud's apps do first and when they
    save, in a folder that it makes and removes. `FAILS` is what must be mended, below it what to write where; `note` is
    what a server does without, and so do its clients. The exit status is 0 unless something fails.
    """
    from baludav.doctor.examination import Examination
    from baludav.doctor.finding import Verdict
    from baludav.doctor.wire import Address

    try:
        address = Address.parse(url)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    examination = Examination(address, name, _password(password_stdin), _context(trust), patience)
    click.echo(f"{address} as {name}\n")
    counts = dict.fromkeys(Verdict, 0)
    with _interruptible(), closing(examination.findings()) as findings:
        for finding in findings:
            counts[finding.verdict] += 1
            _show(finding)
    failed = counts[Verdict.ILL]
    verb = "fails" if failed == 1 else "fail"
    click.echo(f"\n{count(failed, 'check')} of {sum(counts.values())} {verb}." if failed else "\nAll is well.")
    return 1 if failed else 0


def _show(finding: "Finding") -> None:
    colour = {"ok": "green", "note": "yellow", "FAILS": "red"}[finding.verdict.value]
    click.echo(f"{click.style(f'{finding.verdict.value:<5}', fg=colour)} {finding.about:<18} {one_line(finding.said)}")
    for line in finding.advice:
        click.echo(f"{'':<24} -> {one_line(line)}")


def _context(trust: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=trust)
    except ssl.SSLError as error:
        raise click.UsageError(f"--trust: {trust} holds no certificate in PEM form") from error


def _password(is_from_stdin: bool) -> str:
    if is_from_stdin:
        return new_password(from_stdin=True)[0]
    return os.environ.get(PASSWORD) or str(click.prompt("Password", hide_input=True))


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end it as Ctrl-C does, so that the folder goes, too; once is enough."""
    numbers = (signal.SIGTERM, signal.SIGHUP)

    def interrupt(number: int, frame: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
