"""What one process holds open: the index, the accounts, the tree."""

from dataclasses import dataclass
from uuid import UUID

from baludav.accounts.accounts import Accounts
from baludav.accounts.devices import Devices
from baludav.accounts.logins import Logins
from baludav.accounts.signin import SignIn
from baludav.accounts.trail import Trail
from baludav.config import Config
from baludav.db.engine import Database
from baludav.db.migrate import upgrade
from baludav.tree.tree import Tree

KEY = "baludav.house"  # where the WsgiDAV configuration carries it


@dataclass(frozen=True)
class House:
    """Everything a process needs to serve; open it after `fork`.

    Attributes:
        instance: names this installation in the ids of its resources.
    """

    config: Config
    database: Database
    accounts: Accounts
    devices: Devices
    logins: Logins
    sign_in: SignIn
    trail: Trail
    tree: Tree
    instance: UUID

    def close(self) -> None:
        """Close whatever was opened."""
        self.tree.close()
        self.trail.close()
        self.database.close()


def open_house(config: Config) -> House:
    """Open the data folder, making it and its index if they are not there."""
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(config.folder / "index.db", config.settings.durability)
    upgrade(database)
    instance = database.note("instance")
    assert instance is not None  # part of the schema
    accounts = Accounts(database)
    trail = Trail(database)
    return House(
        config, database, accounts, Devices(database), Logins(database), SignIn(accounts, trail), trail,
        Tree(config, database, accounts), UUID(instance),
    )  # fmt: skip
