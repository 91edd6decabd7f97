"""A data folder on a disk that is really full, which is a small one in memory that only the server sees."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.faults.small_disk import small_disk
from tests.serving import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "disk/data", workers=1, under=small_disk(tmp_path / "disk", 12))
    server.log = tmp_path / "log"
    with server:
        yield server


def test_a_full_disk(server: Server) -> None:
    """Uploads are answered 507, and what is there can be read, deleted, and replaced by something."""
    session = requests.Session()
    session.auth = server.auth("admin")
    top = server.dav("admin")
    bodies = []
    for size in (1 << 20, 100_000, 1_000):
        while True:
            body = os.urandom(size)
            answer = session.put(f"{top}f{len(bodies)}", data=body, timeout=60)
            if answer.status_code != 201:
                break
            bodies.append(body)
    assert answer.status_code == 507
    assert "The disk is full" in answer.text
    assert len(bodies) > 3
    for number, body in enumerate(bodies):
        assert session.get(f"{top}f{number}", timeout=60).content == body
    assert session.get(f"{top}f{len(bodies)}", timeout=60).status_code == 404
    assert session.request("MKCOL", f"{top}c", timeout=60).status_code == 201
    for number in range(3):
        assert session.delete(f"{top}f{number}", timeout=60).status_code == 204
    assert session.put(f"{top}f3", data=b"again", timeout=60).status_code == 204
    assert session.get(f"{top}f3", timeout=60).content == b"again"
    assert "Traceback" not in server.log.read_text()
    session.close()
