"""litmus, the conformance suite of neon, against a server with two workers."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.serving import Server

# How many tests litmus 0.13 has in each suite: 104 altogether.
SUITES = {"basic": 16, "copymove": 13, "props": 30, "locks": 41, "http": 4}


@pytest.mark.parametrize(("suite", "tests"), SUITES.items())
def test_every_test_passes_without_a_warning(
    server: Server, folder: str, tmp_path: Path, suite: str, tests: int
) -> None:
    ran = subprocess.run(
        ["litmus", "--keep-going", folder + "/", *server.auth("alice")],
        env={**os.environ, "TESTS": suite},
        cwd=tmp_path,  # for its debug.log
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    # Progress is drawn over itself.
    output = re.sub(r"[^\n]*\r", "", ran.stdout) + ran.stderr
    assert f"<- summary for `{suite}': of {tests} tests run: {tests} passed, 0 failed. 100.0%" in output, output
    assert "WARNING" not in ran.stdout + ran.stderr, output
    assert "warning" not in output.split("<- summary")[1], output
    assert "SKIPPED" not in output, output
