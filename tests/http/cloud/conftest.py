"""Users of the process' server by the paths of the sync clients, each with a fresh collection."""

import itertools
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.http.client import User
from tests.serving import Server

_numbers = itertools.count()


@pytest.fixture
def cloud(server: Server, request: pytest.FixtureRequest) -> User:
    """Alice, in a fresh collection of hers below `/remote.php/dav/files/alice`."""
    return by_cloud(server, "alice", fresh(request))


@pytest.fixture
def plain(server: Server, cloud: User) -> User:
    """Alice, in the same collection, but below `/dav`."""
    return User(server, "alice", cloud.top)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Anna may write in one share and only read in another; the admin sees both, and her home."""
    top = tmp_path_factory.mktemp("office")
    shares = {}
    for name, readers, writers in (("Team", [], ["anna"]), ("Paper", ["anna"], [])):
        (top / name / "in").mkdir(parents=True)
        (top / name / "file").write_bytes(name.encode())
        shares[name] = {"folder": str(top / name), "read": readers, "write": writers}
    with Server(top / "data", shares=shares) as server:
        server.add_user("anna")
        yield server


def fresh(request: pytest.FixtureRequest) -> str:
    return f"/{re.sub(r'[^0-9A-Za-z]+', '-', request.node.name)[:60]}-{next(_numbers)}"


def by_cloud(server: Server, name: str, top: str = "") -> User:
    """A user by the paths of the Nextcloud clients, in a collection that is made here."""
    user = User(server, name, top, f"/remote.php/dav/files/{quote(name)}")
    if top:
        assert user("MKCOL", "").status_code == 201
    return user
