"""webdav, the package from npm that programs in JavaScript use: it asks what a server can, and updates parts."""

import json
import subprocess
from pathlib import Path

import requests

from tests.serving import Server


def _update(npm: Path, server: Server, folder: str, start: int, text: str) -> subprocess.CompletedProcess[str]:
    name, password = server.auth("alice")
    asked = {"url": folder, "username": name, "password": password, "path": "/f", "start": start}
    return subprocess.run(
        ["node", str(npm / "update.js"), json.dumps(asked), text], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_a_part_of_a_file(npm: Path, server: Server, folder: str) -> None:
    """In the middle, across the end, at the end; behind it, it is told that this cannot be."""
    requests.put(f"{folder}/f", b"0123456789", auth=server.auth("alice"), timeout=60)
    for start, text in ((2, "abc"), (8, "defg"), (12, "hi")):
        ran = _update(npm, server, folder, start, text)
        assert ran.returncode == 0, ran.stderr
    ran = _update(npm, server, folder, 100, "lost")
    assert (ran.returncode, "416" in ran.stderr) == (1, True), ran.stderr
    assert requests.get(f"{folder}/f", auth=server.auth("alice"), timeout=60).content == b"01abc567defghi"
