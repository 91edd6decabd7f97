"""Users of the API and of the DAV tree beside it."""

import pytest

from tests.http.conftest import alice, bob  # noqa: F401 - fixtures
from tests.serving import Server
from tests.sync.client import Client


@pytest.fixture
def api(server: Server) -> Client:
    """The API as alice."""
    return Client(server, "alice")


@pytest.fixture
def others(server: Server) -> Client:
    """The API as bob."""
    return Client(server, "bob")
