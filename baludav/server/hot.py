"""The hot lane: answers in the selector thread, without WSGI, what most requests ask and what cannot block.

WsgiDAV is the reference. What is not recognised at a glance, needs the disk or a hash, or fails in any way is left
to it untouched, and what is answered here it would answer alike, byte for byte: header fields are made by the same
functions, and a test sends each request to both.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from baludav import cors, metrics
from baludav.accounts.accounts import Principal
from baludav.accounts.address import client_address, is_of_proxy
from baludav.accounts.authorization import credentials
from baludav.accounts.rates import Rates
from baludav.accounts.signin import REMEMBER
from baludav.answering import guards_with
from baludav.app import App
from baludav.errors import Failure, TooFast
from baludav.limits.reached import note
from baludav.log import access
from baludav.log.access import Answered
from baludav.origin import request_id
from baludav.server.answers import Answers
from baludav.server.parser import Request
from baludav.server.responses import Response, date_line, head
from baludav.tree.http.preconditions import Conditions, State
from baludav.tree.http.ranges import parse_range
from baludav.tree.namespaces import Place
from baludav.tree.paths import parse
from baludav.tree.reading import Resource
from baludav.tree.records.index import Known, Row
from baludav.tree.tree import UserTree
from providers.front import GUARDS, refusal
from providers.methods import get
from providers.request import Headers

if TYPE_CHECKING:
    from baludav.server.awaiting import Awaiting

_HEAD = 3  # pieces of an answer before its body
_LARGEST = 256 * 1024  # bytes of a file that is answered here
_MOST_ENTRIES = 8_000  # of all users; 2.5 KB each
_MOST_USERS = 200
# Fields that make a GET or HEAD something that is not recognised at a glance.
_UNUSUAL = frozenset(
    {b"if", b"if-range", b"want-repr-digest", b"want-content-digest", b"expect", b"origin", b"upgrade"}
)  # fmt: skip
_CONDITIONS = {
    b"if-match": "HTTP_IF_MATCH",
    b"if-none-match": "HTTP_IF_NONE_MATCH",
    b"if-modified-since": "HTTP_IF_MODIFIED_SINCE",
    b"if-unmodified-since": "HTTP_IF_UNMODIFIED_SINCE",
}

Pieces = tuple[bytes | bytearray, ...]


class _Entry:
    """What is known of one target of one user: where it lies, and the heads of answers about it.

    Attributes:
        row: that the heads were made of.
        last: the fields that end every head.
    """

    __slots__ = ("full", "headers", "last", "names_collection", "place", "resource", "row", "unchanged")

    def __init__(self, place: Place, names_collection: bool, last: Headers) -> None:
        self.place = place
        self.last = last
        self.names_collection = names_collection
        self.row: Row | None = None
        self.resource: Resource | None = None
        self.headers: Headers = []
        self.full = b""
        self.unchanged = b""

    def partial(self, start: int, stop: int) -> bytes:
        """The head of an answer with one range."""
        assert self.resource is not None
        accepts = get.headers_of_all(self.resource)[0]
        return head(206, [*self.headers, accepts, *get.headers_of_part(self.resource, start, stop), *self.last])


class _User:
    """One user's tree, and what is known of the targets asked for.

    Attributes:
        since: monotonic time in seconds.
    """

    def __init__(self, tree: UserTree) -> None:
        self.tree = tree
        self.since = time.monotonic()
        self.entries: dict[bytes, _Entry] = {}


class HotLane:
    """The hot lane of one worker."""

    def __init__(self, app: App) -> None:
        self._house = app.house
        self._rates = app.house.rates
        self._mounts = [share.rstrip("/").encode() for share in app.provider_map]
        self._users: dict[int, _User] = {}
        self._entry_count = 0
        self._methods: dict[bytes, Callable[[_User, Request], tuple[int, Pieces] | None]] = {
            b"GET": self._get,
            b"HEAD": self._get,
            b"PROPFIND": self._propfind,
        }
        self._answers = Answers(app.house.tree)
        # No page of another site asks here, but a cache must know that the answer to one would be another.
        config = app.house.config
        self._last = [*guards_with(GUARDS, config), *cors.headers({}, config.settings.cors_origins)]

    @classmethod
    def of(cls, app: object) -> "HotLane | None":
        """The hot lane of an application; None if it shall have none."""
        if isinstance(app, App) and app.house.config.settings.hot_lane:
            return cls(app)
        return None

    def answer(self, connection: "Awaiting", request: Request) -> bool:
        """Answer a complete request; False: leave it to the reference."""
        make = self._methods.get(request.method)
        if make is None or not request.keep_alive or request.version != "1.1" or not request.is_complete:
            return False
        begun = time.monotonic()
        try:
            user = self._user(connection, request)
            answer = None
            if user is not None:
                refused = None
                if self._rates is not None and not request.is_counted:
                    refused = self._count(self._rates, connection, request, user)
                answer = refused or make(user, request)
        except Failure:
            return False
        except Exception:
            logging.getLogger(__name__).exception("the hot lane failed")
            return False
        if user is None or answer is None:
            return False
        status, pieces = answer
        connection.reply(*pieces)
        metrics.request(request.method.decode(), status, time.monotonic() - begun)
        metrics.count("hot_answers")
        if access.is_on():
            self._tell(connection, request, user.tree.principal, status, pieces, begun)
        return True

    def _tell(
        self, connection: "Awaiting", request: Request, principal: Principal, status: int, pieces: Pieces,
        begun: float,
    ) -> None:  # fmt: skip
        given = request.fields.get(b"x-request-id")
        is_trusted = given is not None and is_of_proxy(
            {"REMOTE_ADDR": connection.remote_addr}, self._house.config.settings.trusted_proxies
        )
        access.add(Answered(
            request_id(None if given is None else given.decode("latin-1"), is_trusted=is_trusted),
            connection.credentials[2], principal.name, principal.device, request.method.decode(),
            request.target.decode("latin-1"), status, sum(map(len, pieces[_HEAD:])), 0, begun,
        ))  # fmt: skip

    def make(self, connection: "Awaiting", request: Request, response: Response, make: Callable[[], None]) -> bool:
        """Have the reference make an answer that can be used again; False if `request` was answered meanwhile."""
        with self._answers.turn(request) as is_made:
            if is_made and self.answer(connection, request):
                return False
            make()
            response.gather()
            if request.draft is not None:
                self._answers.keep(request, response)
        return True

    def _user(self, connection: "Awaiting", request: Request) -> _User | None:
        """Who asks, if that is remembered."""
        field = request.fields.get(b"authorization")
        if field is None:
            return None
        sign_in = self._house.sign_in
        if connection.credentials[0] != field or self._house.config.settings.trusted_proxies:
            found = credentials(field.decode("latin-1"))
            if found is None:
                return None
            forwarded = request.fields.get(b"x-forwarded-for", b"").decode("latin-1")
            environ = {"REMOTE_ADDR": connection.remote_addr, "HTTP_X_FORWARDED_FOR": forwarded}
            address = client_address(environ, self._house.config.settings.trusted_proxies)
            connection.credentials = field, sign_in.key(*found, address), address
        principal = sign_in.recall(connection.credentials[1])
        if principal is None:
            return None
        user = self._users.get(id(principal))
        if user is None or user.tree.principal is not principal:
            self._forget_past()
            user = self._users[id(principal)] = _User(self._house.tree.of(principal))
        return user

    def _forget_past(self) -> None:
        """Who has not signed in for so long that it is not remembered any more is another one when they come again."""
        past = time.monotonic() - REMEMBER
        users = {key: user for key, user in list(self._users.items()) if user.since > past}
        self._users = users if len(users) < _MOST_USERS else {}
        self._entry_count = sum(len(user.entries) for user in self._users.values())

    def _count(self, rates: Rates, connection: "Awaiting", request: Request, user: _User) -> tuple[int, Pieces] | None:
        """Count a request; the answer to one too many."""
        request.is_counted = True
        try:
            rates.admit_address(connection.credentials[2])
            rates.admit_user(user.tree.principal)
        except TooFast as failure:
            note({}, failure)
            headers, body = refusal(request.method.decode(), failure)
            return failure.status, (head(failure.status, [*headers, *self._last]), date_line(), b"\r\n", body)
        return None

    def _entry(self, user: _User, target: bytes) -> _Entry | None:
        """What is known of a target; None if it has to be looked for in another way."""
        entry = user.entries.get(target)
        if entry is not None:
            return entry
        mount = next((mount for mount in self._mounts if target.startswith(mount + b"/")), None)
        if mount is None or b"?" in target:
            return None
        path, names_collection = parse(target[len(mount) :].decode("latin-1"))
        if not all(map(str.isascii, path)):
            return None  # of other names the disk may have another spelling
        if self._entry_count >= _MOST_ENTRIES:
            for each in list(self._users.values()):
                each.entries.clear()
            self._entry_count = 0
        self._entry_count += 1
        entry = user.entries[target] = _Entry(user.tree.namespace.place(path), names_collection, self._last)
        return entry

    def _get(self, user: _User, request: Request) -> tuple[int, Pieces] | None:
        """HEAD, or GET of a small file or a small part of one."""
        fields = request.fields
        entry = self._entry(user, request.target)
        if entry is None or entry.names_collection or request.length != 0 or not _UNUSUAL.isdisjoint(fields):
            return None
        place = entry.place
        if place.root is None:
            return None
        row = self._house.tree.scan.remembered(place.root, place.names)
        if row is None:
            return None
        fd = place.root.storage.open_known(place.names, row.signature)
        if fd is None:
            return None
        try:
            if row is not entry.row:
                self._know(entry, user, row)
            conditions = {name: fields[key].decode("latin-1") for key, name in _CONDITIONS.items() if key in fields}
            if conditions and not Conditions.parse(conditions).check_read(_state(entry)):
                return 304, (entry.unchanged, date_line(), b"\r\n")
            if request.method == b"HEAD":
                return 200, (entry.full, date_line(), b"\r\n")
            status, part = 200, (0, row.size)
            if b"range" in fields:
                ranges = parse_range(fields[b"range"].decode("latin-1"), row.size)
                if ranges is None or len(ranges) > 1:
                    return None
                status, part = 206, ranges[0]
            body = _read(fd, *part)
            if body is None or os.fstat(fd).st_ctime_ns != row.ctime_ns:
                return None  # somebody wrote to it just now
            return status, (entry.full if status == 200 else entry.partial(*part), date_line(), b"\r\n", body)
        except OSError:  # EAGAIN, or a file system that cannot tell
            return None
        finally:
            os.close(fd)

    def _propfind(self, user: _User, request: Request) -> tuple[int, Pieces] | None:
        """PROPFIND that was asked before."""
        entry = self._entry(user, request.target)
        found = None if entry is None else self._answers.find(user.tree, entry.place, request)
        return None if found is None else (207, (found[0], date_line(), b"\r\n", found[1]))

    @staticmethod
    def _know(entry: _Entry, user: _User, row: Row) -> None:
        resource = user.tree.resource_of(entry.place, Known(row, row.signature))
        headers = get.headers_of(resource)
        entry.unchanged = head(304, [*headers, *entry.last])
        entry.full = head(200, [*headers, *get.headers_of_all(resource), *entry.last])
        entry.headers = headers
        entry.row, entry.resource = row, resource


def _read(fd: int, start: int, stop: int) -> bytearray | None:
    """Part of a file, if it is small and in memory."""
    size = stop - start
    if size > _LARGEST:
        return None
    body = bytearray(size)
    return body if not size or os.preadv(fd, [body], start, os.RWF_NOWAIT) == size else None


def _state(entry: _Entry) -> State:
    resource = entry.resource
    assert resource is not None
    return State(True, resource.etag, resource.modified)
