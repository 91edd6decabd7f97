"""What all workers count together."""

from baludav.limits.buckets import Buckets
from baludav.limits.parts import Parts
from baludav.limits.turns import Turns


class Common:
    """Make it before the workers are forked.

    Attributes:
        requests: of users and addresses.
        uploads: that each user sends.
        listeners: of each user, and of all.

    Args:
        processes: how many workers there can be at a time; 0 for a process that shares with nobody.
    """

    def __init__(self, processes: int = 0) -> None:
        parts = Parts(processes)
        self.requests = Buckets(parts)
        self.uploads = Turns(parts)
        self.listeners = Turns(parts)
