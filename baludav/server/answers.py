"""Answers of the reference to PROPFIND, used again while nothing has changed that they tell of.

An answer holds while the resource itself is as it was on the disk, nothing has happened in its folder (a watch
says so), and neither the number of the last change below it nor that of the facts beside the journal has moved.
All three are taken before the reference makes the answer, so a change in between spoils the answer and not the truth.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

from baludav.server.coding import asks_for_gzip
from baludav.server.parser import Request
from baludav.server.responses import Response, head
from baludav.tree.disk.storage import Stat
from baludav.tree.namespaces import Place
from baludav.tree.records.facts import Moment, moment
from baludav.tree.roots import StorageRoot
from baludav.tree.tree import Tree, UserTree
from baludav.waiting import waiting

_MOST_BYTES = 8 << 20  # of all answers of one worker
_LARGEST = 4 << 20
_BESIDE = 1_500  # bytes that an answer takes beside its body
# Fields on which the answer may depend in a way that is not looked at here.
_UNUSUAL = frozenset(
    {b"if", b"brief", b"origin", b"prefer", b"content-encoding", b"transfer-encoding", b"expect", b"upgrade"}
)
# In what is asked: the room on the disk changes by itself, the fingerprint by a command.
_VOLATILE = (b"quota", b"fingerprint")
_COUNTING_DOWN = b"<D:activelock>"  # in the answer: its timeout

Key = tuple[bytes, bytes, bytes, bytes, bool]  # target, Depth, type and bytes of the body, whether gzip is asked for


class Holds(NamedTuple):
    """What must be so still for an answer to hold."""

    stat: Stat
    events: int | None
    moment: Moment


class Draft(NamedTuple):
    """An answer that is being made, and what it tells of."""

    place: Place
    key: Key
    resource_ids: tuple[int, ...]
    holds: Holds


class _Answer:
    """An answer; `version` is of the index when `holds` was last seen to be so."""

    __slots__ = ("body", "draft", "head", "version")

    def __init__(self, draft: Draft, answer_head: bytes, body: bytes, version: int | None) -> None:
        self.draft = draft
        self.head = answer_head
        self.body = body
        self.version = version


class Answers:
    """The answers of one worker, for one user each."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._kept: dict[tuple[int, Key], _Answer] = {}
        self._bytes = 0
        self._making: dict[tuple[int, Key], threading.Lock] = {}

    def find(self, user: UserTree, place: Place, request: Request) -> tuple[bytes, bytes] | None:
        """Head (up to what every answer has) and body; None: the reference must make it, and may `keep` it then."""
        key = self._key(request)
        if key is None or place.root is None:
            return None
        version = self._tree.database.glance.version()
        known = self._kept.get((id(user), key))
        if known is not None:
            if known.draft.place is place and self._still_holds(known, version):
                return known.head, known.body
            self._drop((id(user), key))
        draft = self._begin(user, place, place.root, key)
        if draft is not None:
            request.draft = (id(user), version, draft)
        return None

    def keep(self, request: Request, response: Response) -> None:
        """Keep the answer that was made of a draft."""
        assert request.draft is not None
        user_id, version, draft = request.draft
        request.draft = None
        if response.status != 207 or response.sent is None:
            return
        headers, body = response.sent
        if len(body) > _LARGEST or _COUNTING_DOWN in b"".join(response.body):
            return
        self._drop((user_id, draft.key))
        while self._kept and self._bytes + len(body) + _BESIDE > _MOST_BYTES:
            self._drop(next(iter(self._kept)))
        self._kept[user_id, draft.key] = _Answer(draft, head(response.status, headers), body, version)
        self._bytes += len(body) + _BESIDE

    @contextlib.contextmanager
    def turn(self, request: Request) -> Iterator[bool]:
        """Inside, no other thread makes the same answer; True if one has made it since it was not found.

        A listing of 10,000 members takes 15 MB while it is made, which clients that ask at once must not take each.
        """
        assert request.draft is not None
        name = request.draft[0], request.draft[2].key
        lock = self._making.setdefault(name, threading.Lock())
        if not lock.acquire(blocking=False):
            with waiting():
                lock.acquire()
        try:
            yield name in self._kept
        finally:
            self._making.pop(name, None)
            lock.release()

    @staticmethod
    def _key(request: Request) -> Key | None:
        fields = request.fields
        depth = fields.get(b"depth", b"")
        if depth not in (b"0", b"1") or not _UNUSUAL.isdisjoint(fields):
            return None
        body = b"".join(request.chunks)
        if any(name in body for name in _VOLATILE):
            return None
        return request.target, depth, fields.get(b"content-type", b""), body, asks_for_gzip(request)

    def _begin(self, user: UserTree, place: Place, root: StorageRoot, key: Key) -> Draft | None:
        is_top = place.path == ()
        roots = user.namespace.roots() if is_top else []
        if len(roots) > 1 and key[1] == b"1":
            return None  # members that lie elsewhere
        known = self._tree.scan.peek(root, place.names)
        if known is None or not known.is_right:
            return None
        events = None
        if key[1] == b"1" and known.stat.is_collection:
            events = self._tree.watches.count(root, place.names, known.stat)
            if events is None:
                return None
        ids = tuple(found.top_id for _, found in roots) if is_top else (known.row.id,)
        # The folder again: what happened before the watch is in its times, or will be read from it.
        stat = root.storage.stat(place.names)
        return None if stat is None else Draft(place, key, ids, Holds(stat, events, moment(self._tree.database, ids)))

    def _still_holds(self, known: _Answer, version: int | None) -> bool:
        place, holds = known.draft.place, known.draft.holds
        assert place.root is not None
        if place.root.storage.stat(place.names) != holds.stat:
            return False
        if holds.events is not None and self._tree.watches.count(place.root, place.names, holds.stat) != holds.events:
            return False
        if version is None or version != known.version:
            if moment(self._tree.database, known.draft.resource_ids) != holds.moment:
                return False
            known.version = version
        return True

    def _drop(self, name: tuple[int, Key]) -> None:
        gone = self._kept.pop(name, None)
        if gone is not None:
            self._bytes -= len(gone.body) + _BESIDE
