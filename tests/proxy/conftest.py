"""A server behind a real nginx, which sends large files for it."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.front import Behind, Nginx
from tests.serving import Server

_numbers = itertools.count()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets a proxy on this machine send large files, with a share for alice."""
    folder = tmp_path_factory.mktemp("proxied")
    photos = folder / "photos"
    photos.mkdir()
    shares = {"photos": {"folder": str(photos), "write": ["alice"]}}
    environment = {"BALUDAV_TRUSTED_PROXIES": '["127.0.0.1"]', "BALUDAV_OFFLOAD": "/baludav"}
    with Server(folder / "data", shares=shares, environment=environment) as server:
        server.add_user("alice")
        yield server


@pytest.fixture(scope="module")
def nginx(backend: Server) -> Iterator[Nginx]:
    """nginx in front of it, as the README says."""
    with Nginx(backend.data.with_name("nginx"), f"127.0.0.1:{backend.port}", places(backend)) as nginx:
        yield nginx


@pytest.fixture
def alice(backend: Server, nginx: Nginx, request: pytest.FixtureRequest) -> Behind:
    """Alice behind nginx, in a fresh collection of hers."""
    top = f"/{re.sub(r'[^0-9A-Za-z]+', '-', request.node.name)[:60]}-{next(_numbers)}"
    alice = Behind(backend, "alice", f"https://localhost:{nginx.port}", nginx.certificate, top)
    assert alice("MKCOL", "").status_code == 201
    return alice


def places(server: Server) -> dict[str, Path | str]:
    """Where the README's example has the files, and where this server has them."""
    return {"/srv/baludav/data/files/": f"{server.data}/files/", "/mnt/disk2/photos/": f"{server.data.parent}/photos/"}
