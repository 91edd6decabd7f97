"""Users of the process' server, each with a fresh collection."""

import itertools
import re

import pytest

from tests.http.client import User
from tests.serving import Server

_numbers = itertools.count()


@pytest.fixture
def alice(server: Server, request: pytest.FixtureRequest) -> User:
    """Alice, in a fresh collection of hers."""
    return _user(server, "alice", request.node.name)


@pytest.fixture
def bob(server: Server, request: pytest.FixtureRequest) -> User:
    """Bob, in a fresh collection of his."""
    return _user(server, "bob", request.node.name)


def _user(server: Server, name: str, test: str) -> User:
    user = User(server, name, f"/{re.sub(r'[^0-9A-Za-z]+', '-', test)[:60]}-{next(_numbers)}")
    assert user("MKCOL", "").status_code == 201
    return user
