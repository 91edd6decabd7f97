"""Counting never ends a process."""

import subprocess
import sys
from pathlib import Path

from tests.serving import TOP

_COUNT = """
import os, sys
from pathlib import Path
from baludav import metrics
folder = Path(sys.argv[1])
metrics.start(folder)
found = (folder / str(os.getpid())).stat()
assert found.st_blocks * 512 >= found.st_size > 0, "a hole is filled when it is written to, if there is room"
metrics.request("MOVE", 201, 0.1)
sys.stdout.write(metrics.render(folder, 0).decode())
"""


def test_what_it_counts_in_is_there_before(tmp_path: Path) -> None:
    """On a disk that is full by then, the system would kill the process (SIGBUS)."""
    ran = subprocess.run(
        [sys.executable, "-c", _COUNT, str(tmp_path)], cwd=TOP, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert 'baludav_requests_total{method="MOVE",status="201"} 1.0' in ran.stdout
