"""Where failures of a command become one line on standard error and an exit status."""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from baludav.config import ConfigError
from baludav.errors import Failure

_INTERRUPTED = 130  # as shells report SIGINT


class Edge(click.Group):
    """A group of commands that never ends in a traceback, unless the mistake is ours."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        os.umask(0o077)  # what is created here is nobody else's
        extra.pop("standalone_mode", None)
        extra.setdefault("prog_name", "baludav")
        try:
            status = super().main(args, standalone_mode=False, **extra)
        except click.UsageError as error:
            status = _misused(error)
        except click.ClickException as error:
            status = told(error.format_message())
        except (click.Abort, KeyboardInterrupt):
            status = told("interrupted", _INTERRUPTED)
        except BrokenPipeError:  # `baludav user list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 1
        except OSError as error:
            status = told(_explained(error))
        except (ConfigError, Failure, ValueError) as error:
            status = told(str(error)) if _is_expected(error) else _unexpected(error)
        sys.exit(status if isinstance(status, int) else 0)


def told(message: str, status: int = 1) -> int:
    """Say what went wrong; the exit status."""
    click.echo(f"baludav: {' '.join(message.split())}", err=True)
    return status


def _misused(error: click.UsageError) -> int:
    message = error.format_message()
    if "\n" in message:  # a group without a command: its help
        click.echo(message, err=True)
        return error.exit_code
    path = error.ctx.command_path if error.ctx else "baludav"
    return told(f"{message.rstrip('.')}; see `{path} --help`", error.exit_code)


def _is_expected(error: Exception) -> bool:
    from baludav.accounts.names import AccountError

    return isinstance(error, ConfigError | Failure | AccountError)


def _unexpected(error: Exception) -> int:
    raise error


def _explained(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    advice = {
        errno.EADDRINUSE: "another program uses this port; choose another one with --port or BALUDAV_PORT",
        errno.EADDRNOTAVAIL: "this machine has no such address; choose another one with --host or BALUDAV_HOST",
        errno.EACCES: "permission denied; run as the owner, or choose another data folder with BALUDAV_DATA",
        errno.EPERM: "not permitted; run as the owner, or choose another data folder with BALUDAV_DATA",
        errno.ENOSPC: "the disk is full; make room and try again",
        errno.EROFS: "the disk is read-only; choose another data folder with BALUDAV_DATA",
        errno.ENOTDIR: "not a folder; choose another data folder with BALUDAV_DATA",
        errno.EEXIST: "not a folder; choose another data folder with BALUDAV_DATA",
    }
    if error.errno == errno.EACCES and not error.filename:
        return "this port is reserved for root; choose one above 1023 with --port or BALUDAV_PORT"
    return where + advice.get(error.errno or 0, error.strerror or str(error))
