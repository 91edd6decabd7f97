"""What one process holds open: the index, the accounts, the tree."""

from dataclasses import dataclass
from uuid import UUID

from baludav.accounts.accounts import Accounts
from baludav.accounts.devices import Devices
from baludav.accounts.logins import Logins
from baludav.accounts.rates import Rates
from baludav.accounts.signin import SignIn
from baludav.accounts.trail import Trail
from baludav.config import Config
from baludav.db.engine import Database
from baludav.db.migrate import upgrade
from baludav.limits.common import Common
from baludav.tree.tree import Tree

KEY = "baludav.house"  # where the WsgiDAV configuration carries it


@dataclass(frozen=True)
class House:
    """Everything a process needs to serve; open it after `fork`.

    Attributes:
        instance: names this installation in the ids of its resources.
        common: what is counted together with other processes.
        rates: how many requests there may be; None without a limit.
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
    common: Common
    rates: Rates | None

    def tidy(self) -> None:
        """Close what is kept open and was not needed since this was called before."""
        self.tree.guards.tidy()
        self.database.tidy()

    def close(self) -> None:
        """Close whatever was opened."""
        self.tree.close()
        self.trail.close()
        self.database.close()


def open_house(config: Config, common: Common | None = None) -> House:
    """Open the data folder, making it and its index if they are not there.

    Args:
        common: with the other processes that serve it, if there are any.
    """
    common = common or Common()
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(config.folder / "index.db", config.settings.durability)
    upgrade(database)
    instance = database.note("instance")
    assert instance is not None  # part of the schema
    accounts = Accounts(database)
    trail = Trail(database)
    tree = Tree(config, database, accounts, common.uploads)
    devices = Devices(database, most=config.settings.limits.devices)
    rates = Rates.of(config.settings, common.requests)
    return House(
        config, database, accounts, devices, Logins(database), SignIn(accounts, trail), trail, tree, UUID(instance),
        common, rates,
    )  # fmt: skip
