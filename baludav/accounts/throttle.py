"""Slows down guessing: counts failed sign-ins, and says how long to wait before the next one.

Failures are counted for an address over all accounts, and for each account at each address. The second count is
what usually stops a guesser, and it stops nobody else: the same account from another address is not affected.
Only an account that is attacked from many addresses at once is stricter with all that have failed there, and even
then an address without failures is let in at the first try.

The counts live in the database, so the workers share them. A count is forgotten ten minutes after its last failure.
"""

import hashlib
import math
import time
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, case, delete, or_, select
from sqlalchemy.dialects.sqlite import insert

from baludav.accounts.address import counted
from baludav.accounts.names import folded
from baludav.db.engine import Database
from baludav.db.statements import Statement
from baludav.db.tables import sign_in_failures as table

WINDOW = 600.0  # seconds a failure counts
LONGEST = 300  # seconds to wait at most
FREE_FOR_ACCOUNT = 5  # failures without waiting, for an account at an address
FREE_FOR_ADDRESS = 20  # the same for an address, over all accounts
FREE_WHEN_ATTACKED = 1  # for an account at an address, once the account has ...
ATTACKED = 50  # ... failed so often, over all addresses
_PRUNE_EVERY = 60.0  # seconds


class Keys(NamedTuple):
    """What one sign-in is counted under."""

    address: str
    account: str
    account_at_address: str


def keys(name: str, address: str) -> Keys:
    """The keys of one sign-in. Names of any length and content fit, as they are hashed."""
    place = counted(address)
    account = hashlib.sha256(folded(name).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return Keys(f"address {place}", f"account {account}", f"account {account} at {place}")


_counts = Statement(
    select(table.c.key, table.c.failures, table.c.last_at).where(
        or_(*(table.c.key == bindparam(name) for name in Keys._fields))
    )
)
_new = insert(table).values(key=bindparam("k"), failures=1, last_at=bindparam("now"))
# The upsert is spelled alike in SQLite and PostgreSQL.
_count = _new.on_conflict_do_update(
    index_elements=[table.c.key],
    set_={
        "failures": case((table.c.last_at < bindparam("oldest"), 1), else_=table.c.failures + 1),
        "last_at": _new.excluded.last_at,
    },
)
_prune = delete(table).where(table.c.last_at < bindparam("oldest"))
_clear = delete(table).where(table.c.key == bindparam("k"))


class Throttle:
    """The counts of one installation.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._pruned_at = 0.0

    def wait(self, keys: Keys) -> int:
        """Seconds until this sign-in may be tried; 0 if it may be tried now."""
        rows = self._database.glance.rows(_counts, keys._asdict())
        if not rows:
            return 0
        now = self._clock()
        # What was counted before the clock was set back would lock everybody out until that time comes again.
        counts = {key: (failures, last_at) for key, failures, last_at in rows if abs(now - last_at) <= WINDOW}
        failures, last_at = counts.get(keys.account_at_address, (0, 0.0))
        is_attacked = counts.get(keys.account, (0, 0.0))[0] >= ATTACKED
        free = FREE_WHEN_ATTACKED if is_attacked else FREE_FOR_ACCOUNT
        everywhere, last_everywhere = counts.get(keys.address, (0, 0.0))
        return max(
            _remaining(failures - free, last_at, now),
            _remaining(everywhere - FREE_FOR_ADDRESS, last_everywhere, now),
        )

    def failed(self, keys: Keys) -> None:
        """Count a failed sign-in."""
        now = self._clock()
        oldest = now - WINDOW
        prune = not 0 <= now - self._pruned_at < _PRUNE_EVERY

        def work(connection: Connection) -> None:
            if prune:
                connection.execute(_prune, {"oldest": oldest})
            for key in keys:
                connection.execute(_count, {"k": key, "now": now, "oldest": oldest})

        self._database.commit(work)
        if prune:
            self._pruned_at = now

    def succeeded(self, keys: Keys) -> None:
        """Forget the failures of this account at this address."""
        with self._database.reading() as connection:
            found = connection.scalar(select(table.c.key).where(table.c.key == keys.account_at_address))
        if found is not None:
            self._database.commit(lambda connection: connection.execute(_clear, {"k": keys.account_at_address}))


def _remaining(over: int, last_at: float, now: float) -> int:
    """Seconds still to wait after `over` failures more than are free: 1, 2, 4 and so on."""
    if over < 0:
        return 0
    delay = min(LONGEST, 1 << min(over, 16))
    # Never more than the delay, also when the clock was set back.
    return min(delay, max(0, math.ceil(last_at + delay - now)))
