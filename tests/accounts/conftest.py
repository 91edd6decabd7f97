"""An index database with accounts, and a clock that moves only when told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from baludav.accounts.accounts import Accounts
from baludav.accounts.signin import SignIn
from baludav.accounts.trail import Trail
from baludav.db.engine import Database
from baludav.db.migrate import upgrade


class Clock:
    """Seconds since the epoch, as the test wants them."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "index.sqlite", "fast")
    upgrade(database)
    yield database
    database.close()


@pytest.fixture
def accounts(database: Database, clock: Clock) -> Accounts:
    return Accounts(database, clock=clock)


@pytest.fixture
def elsewhere(database: Database, clock: Clock) -> Iterator[Accounts]:
    """The same accounts from another process, such as a command while the server runs."""
    other = Database(database.file, "fast")
    yield Accounts(other, clock=clock)
    other.close()


@pytest.fixture
def trail(database: Database, clock: Clock) -> Iterator[Trail]:
    trail = Trail(database, clock=clock)
    yield trail
    trail.close()


@pytest.fixture
def sign_in(accounts: Accounts, trail: Trail, clock: Clock) -> SignIn:
    return SignIn(accounts, trail, clock=clock)
