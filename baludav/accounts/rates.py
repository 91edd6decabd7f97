"""How many requests a minute each user, and each address, may make.

A bucket for each holds a minute's worth, all of which may be used at once; it fills evenly. All workers take from the
same buckets.

What comes from this machine itself is counted for the user, but not for the address: behind a proxy that is not named
in `trusted_proxies` that would be one count for everybody, and what watches the server must not be refused.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from baludav.accounts.accounts import Principal
from baludav.accounts.address import client_address, counted, is_loopback
from baludav.config import Settings
from baludav.errors import TooFast
from baludav.limits.buckets import Buckets, Rate, key_of

COUNTED = "baludav.counted"  # in the environment of a request that was counted already

_MINUTE = 60.0  # seconds


class Rates:
    """The limits of one process.

    Args:
        of_user, of_address: requests a minute; 0 without a limit.
    """

    def __init__(self, of_user: int, of_address: int, buckets: Buckets, trusted_proxies: tuple[str, ...] = ()) -> None:
        self._of_user = Rate(of_user, _MINUTE) if of_user else None
        self._of_address = Rate(of_address, _MINUTE) if of_address else None
        self._buckets = buckets
        self._trusted_proxies = trusted_proxies

    @classmethod
    def of(cls, settings: Settings, buckets: Buckets) -> "Rates | None":
        """Those of the configuration; None if there are none."""
        limits = settings.limits
        if not (limits.requests_per_user or limits.requests_per_address):
            return None
        return cls(limits.requests_per_user, limits.requests_per_address, buckets, settings.trusted_proxies)

    def admit(self, environ: Mapping[str, Any]) -> None:
        """Count a request for the address that it comes from; before anybody asks who makes it.

        Raises:
            TooFast: there were too many.
        """
        if COUNTED not in environ:
            self.admit_address(client_address(environ, self._trusted_proxies))

    def admit_principal(self, environ: Mapping[str, Any], principal: Principal) -> None:
        """Count it for the user who makes it, once that is known.

        Raises:
            TooFast: there were too many.
        """
        if COUNTED not in environ:
            self.admit_user(principal)

    def admit_address(self, address: str) -> None:
        """The same as `admit`, without an environment."""
        if self._of_address is not None:
            key = _key_of_address(address)
            seconds = self._buckets.take(key, self._of_address) if key else 0.0
            if seconds:
                raise _refusal(seconds, "More requests come from your address than may").at(
                    "requests_per_address", counted(address)
                )

    def admit_user(self, principal: Principal) -> None:
        """The same as `admit_principal`, without an environment."""
        if self._of_user is not None:
            seconds = self._buckets.take(key_of(f"user {principal.id}"), self._of_user)
            if seconds:
                raise _refusal(seconds, "You make more requests than one user may").at(
                    "requests_per_user", principal.name
                )


def _refusal(seconds: float, told: str) -> TooFast:
    whole = math.ceil(seconds)
    return TooFast(whole, f"{told}; try again in {whole} s")


@lru_cache(maxsize=16384)
def _key_of_address(address: str) -> int:
    """What an address is counted under; 0 for one of this machine."""
    place = counted(address)
    return 0 if is_loopback(address) else key_of(f"address {place}")
