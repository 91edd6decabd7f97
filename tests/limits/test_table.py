"""Each limit, over the wire: how it is reached, what is answered, and that it is counted each time and logged once."""

import contextlib
import itertools
import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
import requests

from baludav import metrics
from baludav.config import Limits
from tests.http.client import SECONDS, User, basic
from tests.serving import Server, wait_for

_numbers = itertools.count()
LIMITS = {
    "request_line": "1KiB", "headers": "4KiB", "xml_body": "4KiB", "upload": "1MB", "path_depth": 4, "name_bytes": 30,
    "listing": 3, "properties": 3, "properties_total": 8, "locks": 2, "devices": 2, "listeners": 2,
    "listeners_total": 3, "uploads": 1, "unfinished_uploads": 2,
}  # fmt: skip
# Those that would be reached by the rows of others.
STRICT = {
    "requests_per_user": 5, "requests_per_address": 5, "head_seconds": 1, "body_seconds": 2, "transfer_rate": 1000,
}  # fmt: skip
EXPECT = "Expect: 100-continue"
TOO_MANY = 20  # tries, by which each limit above is reached


class Said(NamedTuple):
    """An answer; the names of its fields are in lower case."""

    status: int
    text: str
    fields: dict[str, str]


class Place:
    """A server whose limits are soon reached, and who reaches them.

    Attributes:
        open: connections that are to stay open until the end.
        sending: an upload of alice's that goes on.
    """

    def __init__(self, server: Server, open: contextlib.ExitStack) -> None:
        self.server = server
        self.open = open
        self.sending: list[socket.socket] = []
        self.alice, self.bob = User(server, "alice"), User(server, "bob")

    def raw(self, data: bytes) -> Said:
        """What comes back for these bytes."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=SECONDS) as connection:
            connection.sendall(data)
            return _parsed(connection)

    def begin_put(self, user: User, target: str, length: int, *fields: str) -> socket.socket:
        """A PUT of which the body does not come."""
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=SECONDS)
        self.open.enter_context(connection)
        authorization = f"Authorization: {basic(*self.server.auth(user.name))}"
        lines = (f"PUT /dav/{target} HTTP/1.1", "Host: x", authorization, f"Content-Length: {length}", *fields, "", "")
        connection.sendall("\r\n".join(lines).encode())
        return connection

    def listen(self, user: User) -> Said:
        answer = user.session.get(f"{self.server.url}/api/sync/events", stream=True, timeout=SECONDS)
        self.open.callback(answer.close)
        if answer.status_code == 200:
            return Said(200, "", {})
        return _said(answer)

    def count(self, limit: str) -> int:
        text = requests.get(f"{self.server.url}/metrics", timeout=SECONDS).text
        found = re.search(rf'^baludav_limits_reached_total\{{limit="{limit}"\}} (\S+)$', text, re.MULTILINE)
        assert found, text
        return int(float(found[1]))

    def logged(self, limit: str) -> list[str]:
        """Of whom the log says that they reached a limit."""
        return re.findall(rf"limit {limit} reached by (\S+): ", self.server.log.read_text())


def _parsed(connection: socket.socket) -> Said:
    data = b""
    while piece := connection.recv(65536):
        data += piece
        head, found, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if found and length and len(body) >= int(length[1]):
            break
    lines = head.decode().split("\r\n")
    return Said(int(lines[0].split()[1]), body.decode(), dict(line.lower().split(": ", 1) for line in lines[1:]))


def _said(answer: requests.Response) -> Said:
    return Said(answer.status_code, answer.text, {name.lower(): value for name, value in answer.headers.items()})


def _until_refused(ask: Callable[[int], requests.Response]) -> Said:
    for number in range(TOO_MANY):
        answer = ask(number)
        if answer.status_code >= 400:
            break
    return _said(answer)


def _propfind(body: str) -> str:
    return f'<propfind xmlns="DAV:"><prop><getetag/></prop>{body}</propfind>'


def _proppatch(count: int, first: int = 0) -> str:
    names = "".join(f'<x{first + number} xmlns="urn:x">1</x{first + number}>' for number in range(count))
    return f'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>{names}</D:prop></D:set></D:propertyupdate>'


def _listing(place: Place) -> Said:
    for number in range(4):
        place.bob.put(f"/listed{number}")
    return _said(place.bob("PROPFIND", "/", Depth="infinity"))


def _collections(place: Place) -> None:
    for path in ("/deep", "/deep" * 2, "/deep" * 3, "/deep" * 4, "/a", "/a/b"):
        place.alice("MKCOL", path)


def _deep(place: Place) -> Said:
    _collections(place)
    return _said(place.alice.put("/deep" * 4 + "/f"))


def _carried(place: Place, method: str) -> Said:
    """What is too deep only for what lies in it."""
    _collections(place)
    return _said(place.alice(method, "/a", Destination="/deep/deep/deep/a"))


def _many_properties(place: Place) -> Said:
    place.alice.put("/properties")
    return _said(place.alice("PROPPATCH", "/properties", _proppatch(4)))


def _properties_everywhere(place: Place) -> Said:
    def ask(number: int) -> requests.Response:
        place.bob.put(f"/f{number % 4}")
        return place.bob("PROPPATCH", f"/f{number % 4}", _proppatch(3))

    for number in range(3):
        said = _said(ask(number))
    assert place.bob("PROPPATCH", "/f0", _proppatch(3)).status_code == 207  # nothing new
    return said


def _locks(place: Place) -> Said:
    def ask(number: int) -> requests.Response:
        return place.alice.try_lock(f"/locked{next(_numbers)}")

    return _until_refused(ask)


def _devices(place: Place) -> Said:
    url, named = f"{place.server.url}/api/sync/devices", {"name": "one", "device_type": "other"}
    return _until_refused(lambda _: place.alice.session.post(url, json=named, timeout=SECONDS))


def _listeners(place: Place, user: User) -> Said:
    for _ in range(TOO_MANY):
        said = place.listen(user)
        if said.status != 200:
            break
    return said


def _uploads(place: Place) -> Said:
    if not place.sending:
        place.sending.append(place.begin_put(place.alice, "first", 500_000, EXPECT))
        assert place.sending[0].recv(100).startswith(b"HTTP/1.1 100 ")
    return _parsed(place.begin_put(place.alice, "second", 500_000, EXPECT))


def _unfinished(place: Place) -> Said:
    def ask(number: int) -> requests.Response:
        fields = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": "filename eg=="}
        return place.alice.session.post(f"{place.server.url}/uploads/", headers=fields, timeout=SECONDS)

    return _until_refused(ask)


def _from_one_address(place: Place) -> Said:
    fields = {"X-Forwarded-For": "203.0.113.7"}
    return _until_refused(lambda _: requests.get(f"{place.server.url}/status.php", headers=fields, timeout=SECONDS))


class Row(NamedTuple):
    """How a limit is reached, and the answer that this gets; where it is reached, if not where the others are."""

    limit: str
    reach: Callable[[Place], Said]
    status: int
    told: str
    where: str = "place"


ROWS = [
    Row("request_line", lambda place: place.raw(b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"), 414,
        "An address may have 1024 bytes at most"),
    Row("headers", lambda place: place.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000 + b"\r\n\r\n"), 431,
        "The head of a request may have 4096 bytes and 200 fields at most"),
    Row("xml_body", lambda place: _said(place.alice("PROPFIND", "/", _propfind("<x/>" * 2000), Depth="0")), 413,
        "This body may have 4096 bytes at most"),
    Row("upload", lambda place: _said(place.alice.put("/large", b"x" * 1_000_001)), 413,
        "This server takes up to 1000000 bytes at once"),
    Row("path_depth", _deep, 414, "A path may have 4 names at most"),
    Row("path_depth", lambda place: _carried(place, "MOVE"), 414, "A path may have 4 names at most"),
    Row("path_depth", lambda place: _carried(place, "COPY"), 414, "A path may have 4 names at most"),
    Row("name_bytes", lambda place: _said(place.alice("MKCOL", "/" + "é" * 16)), 414,
        "A name may have 30 bytes at most"),
    Row("listing", _listing, 403, "More than 3 resources; ask with Depth 1"),
    Row("properties", _many_properties, 507, "A resource may have 3 dead properties at most"),
    Row("properties_total", _properties_everywhere, 507, "All that is here together may have 8 dead properties"),
    Row("locks", _locks, 403, "You hold 2 locks; unlock some first"),
    Row("devices", _devices, 409, "You have 2 devices; delete one that you do not use any more"),
    Row("listeners", lambda place: _listeners(place, place.alice), 429, "as many connections as one user may"),
    Row("listeners_total", lambda place: _listeners(place, place.bob), 503, "As many clients wait for changes as"),
    Row("uploads", _uploads, 429, "You send as many files at once as one user may"),
    Row("unfinished_uploads", _unfinished, 409, "There are too many unfinished uploads"),
    Row("requests_per_user", lambda place: _until_refused(lambda _: place.alice("PROPFIND", "/", Depth="0")), 429,
        "You make more requests than one user may; try again in ", "strict"),
    Row("requests_per_address", _from_one_address, 429, "More requests come from your address than may; try again in ",
        "strict"),
    Row("head_seconds", lambda place: place.raw(b"GET / HT"), 408, "The head of a request must come in 1 s", "strict"),
    Row("transfer_rate", lambda place: _parsed(place.begin_put(place.bob, "small", 60_000)), 408,
        "In 2 s of waiting fewer than 2000 bytes came or were taken", "strict"),
    Row("transfer_rate", lambda place: _parsed(place.begin_put(place.bob, "large", 1_000_000)), 408,
        "In 2 s of waiting fewer than 2000 bytes came or were taken", "strict"),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with _opened(tmp_path_factory, LIMITS) as place:
        yield place


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with _opened(tmp_path_factory, STRICT) as place:
        yield place


@contextlib.contextmanager
def _opened(folders: pytest.TempPathFactory, limits: dict[str, Any]) -> Iterator[Place]:
    environment = {"BALUDAV_LIMITS": json.dumps(limits), "BALUDAV_TRUSTED_PROXIES": '["127.0.0.1"]'}
    folder = folders.mktemp("limits")
    with Server(folder / "data", environment=environment) as server, contextlib.ExitStack() as stack:
        server.add_user("alice")
        server.add_user("bob")
        yield Place(server, stack)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.limit)
def test_a_limit_is_told_counted_and_logged_once(request: pytest.FixtureRequest, row: Row) -> None:
    place: Place = request.getfixturevalue(row.where)
    before = place.count(row.limit)
    for _ in range(2):
        said = row.reach(place)
        assert (said.status, row.told in said.text) == (row.status, True), said
        assert row.status != 429 or int(said.fields["retry-after"]) >= 1
    wait_for(lambda: place.count(row.limit) == before + 2, 10, "both are counted")
    logged = place.logged(row.limit)
    assert len(logged) == len(set(logged)) > 0


def test_every_limit_has_a_row() -> None:
    """Those apart that refuse nobody; `body_seconds` is how long `transfer_rate` is looked at."""
    granted = {"lock_seconds", "keep_alive_seconds", "body_seconds"}
    assert {row.limit for row in ROWS} == set(metrics.LIMITS)
    assert {field.name for field in msgspec.structs.fields(Limits)} - granted == set(metrics.LIMITS)


def test_what_lies_beyond_a_limit_is_served(place: Place) -> None:
    """A name or a depth that no client may create any more is there all the same."""
    name = "n" * 100
    (place.server.home("alice") / name).write_bytes(b"made outside")
    wait_for(lambda: place.alice.get(f"/{name}").status_code == 200, 20, "it is seen")
    assert place.alice.put(f"/{name}", b"changed").status_code == 204
    assert place.alice("MOVE", f"/{name}", Destination="/n").status_code == 201


def test_a_copy_counts_its_properties(place: Place) -> None:
    """What a file has of them, its copy has too, so they need room."""
    _properties_everywhere(place)
    answer = place.bob("COPY", "/f0", Destination="/copy")
    assert (answer.status_code, "8 dead properties" in answer.text) == (507, True)


def test_a_lock_is_granted_for_no_longer(place: Place) -> None:
    """Who asks for more is told what there is (RFC 4918 §10.7)."""
    answer = place.bob.try_lock("/long", timeout="Second-4000000000")
    assert answer.status_code == 201
    assert f"Second-{Limits().lock_seconds}<" in answer.text
