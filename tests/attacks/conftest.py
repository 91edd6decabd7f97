"""A server with everything switched on, a user to be robbed, and one who tries."""

from collections.abc import Iterator

import pytest

from tests.attacks.attacker import Attacker
from tests.http.client import User
from tests.serving import Server


@pytest.fixture(scope="session")
def fort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Victor and Mallory, who share a folder; bulk uploads, which are off by default, are on."""
    top = tmp_path_factory.mktemp("fort")
    (top / "team").mkdir()
    shares = {"Team": {"folder": str(top / "team"), "write": ["mallory", "victor"]}}
    environment = {"BALUDAV_BULK_UPLOAD": "true"}
    with Server(top / "data", shares=shares, environment=environment, durability="fast") as server:
        server.add_user("mallory")
        server.add_user("victor")
        yield server


@pytest.fixture
def mallory(fort: Server) -> Attacker:
    """Who has an account, and wants more."""
    return Attacker(fort, "mallory")


@pytest.fixture
def stranger(fort: Server) -> Attacker:
    """Who has no account."""
    return Attacker(fort)


@pytest.fixture
def victor(fort: Server) -> User:
    """Who has something to lose."""
    return User(fort, "victor")
