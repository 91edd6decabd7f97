"""What most tests of this room begin with: the house on a data folder with known content, and its user."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from baludav.config import build
from baludav.tree.tree import UserTree
from providers.house import House, open_house
from tests.crash.installation import open_installation, prepare, user_of


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """With the content of `tests.crash.installation.BEFORE`."""
    prepare(tmp_path)
    house = open_installation(tmp_path)
    yield house
    house.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[House]:
    """With one user, and nothing else: what counts as stored is what the test stores."""
    house = open_house(build({"baludav": {"data": str(tmp_path / "data")}}, {}))
    house.accounts.add("alice", "her password")
    house.tree.create_home("alice")
    yield house
    house.close()


@pytest.fixture
def user(house: House) -> UserTree:
    return user_of(house)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The user's folder on the disk."""
    return tmp_path / "data/files/alice"
