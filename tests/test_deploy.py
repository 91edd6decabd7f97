"""The service of systemd starts what there is, and may do no more than it needs."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from baludav.cli import main
from baludav.config import load

UNIT = Path(__file__).parents[1] / "deploy" / "baludav.service"


def _section(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser[name]


def test_it_starts_the_server_on_the_folder_that_it_may_write_to() -> None:
    service = _section("Service")
    assert service["ExecStart"].split()[1:] == ["serve"]
    assert "serve" in main.commands
    name, _, folder = service["Environment"].partition("=")
    assert load(None, {name: folder}).folder == Path("/var/lib") / service["StateDirectory"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd to ask")
def test_it_is_locked_in() -> None:
    """As systemd itself judges it: 10 is defenceless, below 2 is a service that may do what it needs."""
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(UNIT)]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert judged.returncode == 0, judged.stdout
