"""Shares out the threads that wait for clients, so that nobody's clients take all of them.

A client that sends its body, or takes its answer, in small bits holds a thread while it is waited for. Limits bound how
many such there are of one kind; this bounds all of them together, whatever they ask.
"""

import threading
from collections import Counter


class Waits:
    """Whose clients are waited for in this process.

    Everybody may have as many threads as are free then, as buffers of network switches are shared out: one alone gets
    half of them, each of two a third, and who comes first leaves some for who comes next.

    Args:
        most: threads that may wait.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._lock = threading.Lock()
        self._of: Counter[str] = Counter()

    def enter(self, owner: str) -> bool:
        """Take a thread; False if this owner has as many as are free."""
        with self._lock:
            if self._of[owner] >= self._free:
                return False
            self._free -= 1
            self._of[owner] += 1
            return True

    def leave(self, owner: str) -> None:
        """Give it back."""
        with self._lock:
            self._free += 1
            self._of[owner] -= 1
            if not self._of[owner]:
                del self._of[owner]
