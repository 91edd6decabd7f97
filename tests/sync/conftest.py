"""Users of the API and of the DAV tree beside it."""

import itertools
from collections.abc import Iterator

import pytest

from tests.http.conftest import alice, bob  # noqa: F401 - fixtures
from tests.serving import Server, serving
from tests.sync.client import Client
from tests.sync.device import Device

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this room alone: some tests read all that alice has, and the others leave her much."""
    with serving(tmp_path_factory.mktemp("sync"), "alice", "bob") as server:
        yield server


@pytest.fixture
def api(server: Server) -> Client:
    """The API as alice."""
    return Client(server, "alice")


@pytest.fixture
def others(server: Server) -> Client:
    """The API as bob."""
    return Client(server, "bob")


@pytest.fixture
def laptop(server: Server) -> Device:
    """A device of a user who has nothing yet."""
    name = f"user{next(_numbers)}"
    server.add_user(name)
    return Device(Client(server, name), "laptop")


@pytest.fixture
def phone(laptop: Device, server: Server) -> Device:
    """Another device of the same user."""
    return Device(Client(server, laptop.api.name), "phone")
