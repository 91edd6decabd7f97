"""The API does what its OpenAPI document says, whatever it is asked: schemathesis finds nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.client import User
from tests.serving import TOP, Server
from tests.sync.client import Client

HERE = Path(__file__).parent / "schemathesis"
ENDLESS = ["/api/sync/events"]  # calls whose answer does not end


@pytest.fixture
def lived_in(tmp_path: Path) -> Iterator[Server]:
    """A server with files, versions, a trash and devices, which believes what a proxy says of addresses."""
    with Server(tmp_path / "data", environment={"BALUDAV_TRUSTED_PROXIES": '["127.0.0.1"]'}) as server:
        server.add_user("alice")
        alice = User(server, "alice")
        for body in (b"one", b"two"):
            alice.put("/0", body)
        alice("MKCOL", "/c")
        alice.put("/c/f")
        alice("DELETE", "/c")
        device = Client(server, "alice").registered()
        device.session.put(f"{server.url}/dav/0", b"a conflict", headers={"If-Match": '"0"'}, timeout=30)
        # Each address is signed in for itself, and an app password needs no slow hash.
        server.passwords["alice"] = server.baludav("user", "app-password", "add", "alice", "schemathesis").split()[-1]
        yield server


def test_schemathesis_finds_nothing(lived_in: Server, tmp_path: Path) -> None:
    ran = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml"),
            *("run", f"{lived_in.url}/api/openapi.json", "--auth", ":".join(lived_in.auth("alice"))),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "25", "--generation-deterministic"),
            *("--continue-on-failure", "--warnings", "off", "--no-color"),
            *(word for path in ENDLESS for word in ("--exclude-path", path)),
        ],
        cwd=tmp_path,
        env={**lived_in.environment, "SCHEMATHESIS_HOOKS": "tests.sync.schemathesis.hooks", "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    assert "stateful" in ran.stdout.lower(), ran.stdout
