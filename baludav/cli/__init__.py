"""The command `baludav`: serving, accounts, the index and the configuration.

Every command works while the server runs; what it changes counts from the next request on. What goes wrong in an
expected way is one line on standard error. The heavy rooms are imported where they are used, so that `--help` is
quick.
"""

from pathlib import Path

import click

from baludav.cli.asked import Asked
from baludav.cli.configuration import configuration
from baludav.cli.connecting import connect_info
from baludav.cli.devices import device
from baludav.cli.doctor import doctor
from baludav.cli.edge import Edge
from baludav.cli.index import index
from baludav.cli.locks import lock
from baludav.cli.serving import init, serve
from baludav.cli.trail import audit
from baludav.cli.users import user


@click.group("baludav", cls=Edge, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file; wsgidav.yaml by default.")
@click.version_option(package_name="baludav")
@click.pass_context
def main(context: click.Context, file: Path | None) -> None:
    """baludav serves each user's files over WebDAV.

    \b
      baludav serve                          start; the first start prints a password
      baludav connect-info --user anna       what to type on Windows, macOS, Linux, in rclone, ...
      baludav doctor URL --user anna         whether they can work with the server, through its proxy
      baludav user add anna --quota 100GB    a new user with a home of her own
      baludav user app-password add anna phone
      baludav device list anna               what signs in for her; `device end` shuts one out
      baludav lock list                      who has locked what
      baludav audit --since 2d               who signed in, was refused, changed what
      baludav index check                    compare every file with the index

    Settings are read from wsgidav.yaml; BALUDAV_<KEY> in the environment overrides its baludav: section. Every
    command works while the server runs, and counts from the next request on.
    """
    context.obj = Asked(file)


for command in (serve, init, connect_info, doctor, user, device, lock, audit, index, configuration):
    main.add_command(command)
