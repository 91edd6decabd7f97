"""tus-js-client, which browsers and Node programs use: whole files, in pieces, in parallel, with lost connections."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.relay import Relay
from tests.http.client import User, basic, etag
from tests.serving import Server

BODY = os.urandom(12_000_000)
MIB = 1 << 20

Outcome = dict[str, Any]
Run = Callable[..., Outcome]


@pytest.fixture
def user(server: Server, folder: str) -> User:
    """Alice, in a fresh collection."""
    return User(server, "alice", folder.removeprefix(server.url + "/dav"))


@pytest.fixture
def run(npm: Path, user: User, tmp_path: Path) -> Iterator[Run]:
    """Upload the file to `/f`: options of tus-js-client, and of the program; gives what it tells."""
    file = tmp_path / "file"
    file.write_bytes(BODY)

    def upload(*, port: int = 0, headers: dict[str, str] | None = None, **options: object) -> Outcome:
        asked = {
            "file": str(file),
            "endpoint": f"http://127.0.0.1:{port or user.server.port}/uploads/",
            "retryDelays": [1000, 1000, 1000, 3000, 5000, 10_000],
            "metadata": {"path": f"{user.top}/f", "filename": "file", "filetype": "application/octet-stream"},
            "headers": {"Authorization": basic(*user.server.auth("alice")), **(headers or {})},
            **options,
        }
        ran = subprocess.run(
            ["node", str(npm / "upload.js"), json.dumps(asked)],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        outcome: Outcome = json.loads(ran.stdout)
        return outcome

    yield upload


WAYS = {
    "in one request": {},
    "in pieces": {"chunkSize": MIB},
    "with the creation": {"uploadDataDuringCreation": True, "chunkSize": 5 * MIB},
    "in parallel": {"parallelUploads": 3},
    "without PATCH": {"overridePatchMethod": True, "chunkSize": 5 * MIB},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_file(way: str, user: User, run: Run) -> None:
    outcome = run(**WAYS[way])
    assert "error" not in outcome, outcome
    answer = user.get("/f")
    assert answer.content == BODY
    assert answer.headers["ETag"] == etag(BODY)


@pytest.mark.parametrize("way", ["in one request", "in pieces", "in parallel"])
def test_lost_connections(way: str, user: User, run: Run) -> None:
    """The client asks how far it has come, and sends only what is missing."""
    with Relay(user.server.port, cuts=[3_000_000, 7_500_000]) as relay:
        outcome = run(port=relay.port, **WAYS[way])
    assert "error" not in outcome, outcome
    assert relay.lost == 2
    assert relay.sent < 1.5 * len(BODY)
    assert user.get("/f").content == BODY


def test_another_process_goes_on(server: Server, user: User, run: Run, tmp_path: Path) -> None:
    """After the client was ended and the server restarted, what had come is not sent again."""
    remember = str(tmp_path / "remembered.json")
    stopped = run(chunkSize=MIB, remember=remember, stopAt=5 * MIB)
    assert stopped["offset"] == 5 * MIB
    assert user.get("/f").status_code == 404
    server.restart()
    outcome = run(chunkSize=MIB, remember=remember)
    assert outcome == {"url": stopped["url"]}
    assert user.get("/f").content == BODY


def test_giving_up(server: Server, user: User, run: Run) -> None:
    """The client ends its upload, and nothing is left of it."""
    left = sorted((server.home("alice") / ".baludav/uploads").iterdir())
    stopped = run(chunkSize=MIB, stopAt=2 * MIB, giveUp=True)
    assert stopped["offset"] == 2 * MIB
    assert sorted((server.home("alice") / ".baludav/uploads").iterdir()) == left
    assert user.session.head(stopped["url"], headers={"Tus-Resumable": "1.0.0"}, timeout=60).status_code == 404
    assert user.get("/f").status_code == 404


def test_an_empty_file(user: User, run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert "error" not in run(file=str(tmp_path / "empty"))
    assert user.get("/f").content == b""


def test_the_client_is_told_that_it_lost(user: User, run: Run) -> None:
    """Somebody else has written the file: 412 at the beginning, and the client does not try again."""
    user.put("/f", b"somebody else's")
    assert run(headers={"If-None-Match": "*"})["status"] == 412
    assert run(headers={"If-Match": etag(b"what it was")})["status"] == 412
    assert user.get("/f").content == b"somebody else's"
    assert "error" not in run(headers={"If-Match": etag(b"somebody else's")})
    assert user.get("/f").content == BODY
