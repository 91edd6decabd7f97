"""webdav, the package from npm that programs in JavaScript use: it asks what a server can, and updates parts."""

import json
import subprocess
from pathlib import Path

import requests

from tests.http.client import etag
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


def test_notes(npm: Path, server: Server, folder: str) -> None:
    """Made only if it is not there, listed with all below, read, locked and unlocked, copied and moved."""
    name, password = server.auth("alice")
    ran = subprocess.run(
        ["node", str(npm / "notes.js"), json.dumps({"url": folder, "username": name, "password": password})],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    note = "/notes/a ä#%41?.md"
    assert {"1", "2"} <= set(seen.pop("compliance"))
    assert seen == {
        "before": False, "made": True, "again": False, "listed": [["/notes", 0], [note, 6]], "text": "second",
        "etag": etag(b"second").strip('"'), "locked": 423, "after": False,
    }  # fmt: skip
    stored = server.home("alice") / folder.rpartition("/")[2]
    assert {str(path.relative_to(stored)): path.read_bytes() for path in stored.rglob("*") if path.is_file()} == {
        "moved.md": b"second", "notes/copy.md": b"second"
    }  # fmt: skip
