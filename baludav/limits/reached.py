"""Tells of limits that were reached: each time in the figures, in the log once for an hour.

A flood must not fill the log. Who is told once in all workers, as they share the memory for it; and of each limit no
more than some are, however many reach it.
"""

import logging
from collections.abc import Mapping
from typing import Any

from baludav import metrics
from baludav.errors import Failure
from baludav.limits.buckets import Buckets, Rate, key_of
from baludav.limits.parts import Parts

log = logging.getLogger(__name__)

_ONCE = Rate(1, 3600)
_SOME = Rate(20, 3600)

_told = Buckets(Parts(64), 1 << 10)


def reached(limit: str, who: str, message: str) -> None:
    """Note that somebody reached a limit.

    Args:
        limit: one of `metrics.LIMITS`.
        who: name of the user, or the address where it is not known who that is.
    """
    metrics.limit(limit)
    if not _told.take(key_of(f"{limit} of {who}"), _ONCE) and not _told.take(key_of(limit), _SOME):
        log.warning("limit %s reached by %s: %s", limit, who, message)


def note(environ: Mapping[str, Any], failure: Failure) -> None:
    """The same, if that is what a request failed by."""
    if failure.limit is not None:
        principal = environ.get("baludav.principal")
        who = principal.name if principal is not None else str(environ.get("REMOTE_ADDR", "-"))
        reached(failure.limit, failure.who or who, str(failure))
