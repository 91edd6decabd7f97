"""A user of the REST API, at the wire."""

import http.client
import json
from collections.abc import Callable
from typing import Any

import requests

from tests.http.client import SECONDS
from tests.serving import Server


class Client:
    """Sends requests to the API, with a password or with the token of a device.

    Attributes:
        device: what registering it answered.
    """

    def __init__(self, server: Server, name: str, token: str | None = None) -> None:
        self.server = server
        self.name = name
        self.session = requests.Session()
        self.device: dict[str, Any] = {}
        if token is None:
            self.session.auth = server.auth(name)
        else:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(
            method, f"{self.server.url}/api/sync{path}", timeout=SECONDS, allow_redirects=False, **options
        )

    def get(self, path: str, /, **parameters: object) -> Any:
        """The answer to a GET that must succeed."""
        answer = self("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, /, **body: object) -> Any:
        """The answer to a POST that must succeed."""
        answer = self("POST", path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def registered(self, name: str = "laptop", device_type: str = "desktop") -> "Client":
        """A new device of this user."""
        device = self.post("/devices", name=name, device_type=device_type)
        client = Client(self.server, self.name, device["token"])
        client.device = device
        return client


def number(change_token: str) -> int:
    """The number of the moment that a token names. (A client reads nothing into it; a test may.)"""
    return int(change_token.rpartition(".")[2])


class Picture:
    """What a sync client believes is in the tree: only what the API told it. Files by path, with their SHA-256.

    Args:
        limit: of each page.
        top: what lies elsewhere is left out.
    """

    def __init__(self, client: Client, limit: int = 1000, top: str = "") -> None:
        self.client = client
        self.limit = limit
        self.top = top
        self.tree: dict[str, str | None] = {}
        self.change_token = ""

    def read(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Read the state, page by page, then what changed since its first page."""
        cursor: dict[str, str] = {}
        while True:
            page = self.client.get("/state", limit=self.limit, **cursor)
            assert len(page["files"]) + len(page["collections"]) <= self.limit
            assert self.change_token in ("", page["change_token"])
            self.change_token = page["change_token"]
            for found in (*page["files"], *page["collections"]):
                self._put(found["path"], found.get("sha256"))
            meanwhile()
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        self.follow()

    def follow(self, wait: int = 0) -> list[dict[str, Any]]:
        """Take over what changed since the token, waiting so many seconds if nothing did; says what."""
        found: list[dict[str, Any]] = []
        has_more = True
        while has_more:
            page = self.client.get("/changes", since=self.change_token, limit=self.limit, wait=wait)
            assert number(page["change_token"]) >= number(self.change_token), "a token goes back"
            self.change_token, has_more, wait = page["change_token"], page["has_more"], 0
            for change in page["changes"]:
                path = change["path"]
                if change["action"] == "deleted" or not change["is_collection"]:
                    self.tree = {p: s for p, s in self.tree.items() if p != path and not p.startswith(f"{path}/")}
                if change["action"] != "deleted":
                    self._put(path, change["sha256"])
            found += [change for change in page["changes"] if change["path"].startswith(self.top)]
        return found

    def _put(self, path: str, sha256: str | None) -> None:
        if path.startswith(self.top):
            self.tree[path] = sha256


class Events:
    """One client of the event stream.

    Attributes:
        headers: of the answer.
    """

    def __init__(self, server: Server, authorization: str, last_id: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        fields = {"Authorization": authorization, "Accept": "text/event-stream"}
        if last_id:
            fields["Last-Event-ID"] = last_id
        self._connection.request("GET", "/api/sync/events", headers=fields)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()
        self.headers = self._answer.headers

    def lines(self) -> list[str]:
        """The lines up to the next empty one; none at the end of the stream."""
        found = []
        while line := self._answer.readline().decode().removesuffix("\n"):
            found.append(line)
        return found

    def next(self) -> str:
        """The token of the next event.

        Raises:
            EOFError: the stream has ended.
        """
        while (lines := self.lines()) and lines[0].startswith(":"):
            pass
        if not lines:
            raise EOFError
        fields = dict(line.split(": ", 1) for line in lines)
        assert fields["event"] == "change"
        token: str = json.loads(fields["data"])["change_token"]
        assert fields["id"] == token
        return token

    def ends(self) -> bool:
        """Wait for the end of the stream; False if it tells of a change before."""
        while (lines := self.lines()) and lines[0].startswith(":"):
            pass
        return not lines

    def close(self) -> None:
        self._answer.close()
        self._connection.close()
