"""Clients from npm, for the tests that drive them."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("npm")


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs of `tests/conformance/npm`, and the clients that its lock file names."""
    folder = tmp_path_factory.mktemp("npm")
    for file in SOURCE.iterdir():
        shutil.copy(file, folder)
    ran = subprocess.run(
        ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return folder
