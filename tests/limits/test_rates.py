"""Rate limits over the wire: they hold over all workers and in both lanes, and nobody else notices."""

import http.client
import itertools
import json
import re
import time
from collections.abc import Iterator

import pytest
import requests

from tests.http.client import SECONDS, User, basic
from tests.serving import Server, wait_for

PER_MINUTE = 90
PER_ADDRESS = 60
PROPFIND = '<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["true", "false"], ids=["hot", "long"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Behind a proxy, which the tests are; with and without the hot lane."""
    environment = {
        "BALUDAV_HOT_LANE": request.param,
        "BALUDAV_TRUSTED_PROXIES": '["127.0.0.1"]',
        "BALUDAV_LIMITS": json.dumps({"requests_per_user": PER_MINUTE, "requests_per_address": PER_ADDRESS}),
    }
    with Server(tmp_path_factory.mktemp("rates") / "data", workers=3, environment=environment) as server:
        yield server


@pytest.fixture
def user(server: Server) -> User:
    """Somebody new, with a file."""
    server.add_user(name := f"user{next(_numbers)}")
    user = User(server, name)
    assert user.put("/f").status_code == 201
    return user


class Client:
    """Connections of one user from one address."""

    def __init__(self, user: User, address: str, count: int) -> None:
        self.user = user
        self.fields = {"Authorization": basic(*user.server.auth(user.name)), "X-Forwarded-For": address}
        self.connections = [
            http.client.HTTPConnection("127.0.0.1", user.server.port, timeout=SECONDS) for _ in range(count)
        ]

    def ask(self, number: int, method: str = "GET", **fields: str) -> tuple[int, dict[str, str], bytes]:
        """A request on one of the connections: status, fields in lower case, body."""
        connection = self.connections[number % len(self.connections)]
        body = PROPFIND if method == "PROPFIND" else None
        connection.request(method, "/dav/f", body, {**self.fields, **fields})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


@pytest.fixture
def address() -> str:
    return f"203.0.113.{next(_numbers)}"


@pytest.fixture
def client(user: User, address: str) -> Iterator[Client]:
    client = Client(user, address, 12)
    yield client
    client.close()


def test_a_user_has_so_many_requests_of_all_workers(server: Server, user: User, client: Client) -> None:
    """However many connections, workers, addresses and methods; the connection stays, and others are served."""
    begun = time.monotonic()
    methods = itertools.cycle(["GET", "HEAD", "PROPFIND", "OPTIONS", "GET"])
    answers = []
    for number in range(2 * PER_MINUTE):
        fields = {"X-Forwarded-For": f"198.51.100.{number % 200}", "Depth": "0"}
        answers.append((method := next(methods), *client.ask(number, method, **fields)))
    seconds = time.monotonic() - begun
    counted = [answer for answer in answers if answer[0] != "OPTIONS"]  # that asks nobody who they are
    served = [status for _, status, _, _ in counted if status in (200, 207)]
    refused = [answer for answer in counted if answer[1] == 429]
    assert len(served) + len(refused) == len(counted)
    assert PER_MINUTE - 1 <= len(served) <= PER_MINUTE + seconds * PER_MINUTE / 60  # one was the upload
    assert all(status == 200 for method, status, _, _ in answers if method == "OPTIONS")
    for method, _, fields, body in refused:
        assert int(fields["retry-after"]) == 1
        assert "connection" not in fields
        assert (b"You make more requests than one user may; try again in 1 s" in body) == (method != "HEAD")

    def pids() -> set[str]:
        return set(re.findall(rf"(\d+) INFO baludav\.access.* {user.name} ", server.log.read_text()))

    wait_for(lambda: len(pids()) > 1, 10, "the log shows that more than one worker has answered")
    assert _refused(client) == _refused(client, Connection="close")  # the hot lane leaves this to WsgiDAV
    other = User(server, "admin")
    assert other("PROPFIND", "/", PROPFIND, Depth="0").status_code == 207
    assert server.log.read_text().count(f"limit requests_per_user reached by {user.name}: ") == 1


def _refused(client: Client, **fields: str) -> tuple[dict[str, str], bytes]:
    """What a GET too many is answered, without what varies."""
    status, got, body = client.ask(0, **fields)
    while status != 429:  # a token had come meanwhile
        status, got, body = client.ask(0, **fields)
    return {name: value for name, value in got.items() if name not in ("date", "connection")}, body


def test_an_address_has_so_many_requests(server: Server, user: User, client: Client, address: str) -> None:
    """Whoever asks, and for what; another address, and this machine, are served."""
    answers = [client.ask(number)[0] for number in range(PER_ADDRESS // 2)]
    begun = time.monotonic()
    url, fields = f"{server.url}/status.php", {"X-Forwarded-For": address}
    with requests.Session() as session:
        answers += [session.get(url, headers=fields, timeout=SECONDS).status_code for _ in range(PER_ADDRESS)]
        assert answers.count(200) <= PER_ADDRESS + (time.monotonic() - begun) + 1
        assert answers.count(429) >= 1
        for path in ("/dav/", "/api/sync/state", "/api/openapi.json", "/nowhere"):
            answer = session.get(f"{server.url}{path}", headers=fields, timeout=SECONDS)
            while answer.status_code != 429:  # a token may have come meanwhile
                answer = session.get(f"{server.url}{path}", headers=fields, timeout=SECONDS)
            assert "More requests come from your address than may; try again in " in answer.text
            assert int(answer.headers["Retry-After"]) == 1
        assert b"More requests come from your address than may" in _refused(client)[1]
        for fields in ({"X-Forwarded-For": f"{address}, 203.0.113.250"}, {}):
            assert session.get(url, headers=fields, timeout=SECONDS).status_code == 200
    assert server.log.read_text().count(f"limit requests_per_address reached by {address}: ") == 1
