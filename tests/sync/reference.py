"""What every sync client here is made of: a line to the server that may break, a folder, and what it remembers.

The clients are written as somebody would write them who has read the README and the OpenAPI document only.
"""

import copy
import hashlib
import http.client
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree

import requests

from tests.http.client import SECONDS
from tests.sync.client import Client
from tests.sync.folder import Blocked, Folder

Trouble = Literal["cut", "lost"]


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def tag(digest: str) -> str:
    """The entity-tag of a file with this SHA-256."""
    return f'"{digest}"'


class Offline(Exception):
    """The server cannot be reached, or its answer did not come."""


class Refused(Exception):
    """The server has not done what it was asked for."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
        self.status = answer.status_code


class Collection(NamedTuple):
    """A collection of the server.

    Attributes:
        members: how many it has.
    """

    etag: str
    members: int


class Line:
    """How a device reaches the server, signed in with its token.

    Attributes:
        before: called before each request, with the number of those before it since `renew`.
        trouble: at which of them the line breaks, and how: in the middle of the body, or before the answer comes.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.renew()

    def renew(
        self, before: Callable[[int], None] = lambda count: None, trouble: dict[int, Trouble] | None = None
    ) -> None:
        self.before = before
        self.trouble = trouble or {}
        self._count = itertools.count()

    def api(self, method: str, path: str, **options: Any) -> Any:
        """A call of the API; what it answers."""
        return self._send(method, f"/api/sync{path}", **options).json()

    def dav(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> requests.Response:
        """A request to the DAV tree; `If_Match` stands for the field If-Match, and None for no field."""
        fields = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        if "Destination" in fields:
            fields["Destination"] = f"{self.client.server.url}/dav{quote(fields['Destination'])}"
        return self._send(method, f"/dav{quote(path)}", data=body, headers=fields)

    def collection(self, path: str) -> "Collection":
        """What a collection is now: what it holds is not newer than its entity-tag says."""
        answer = self.dav("PROPFIND", f"{path}/", Depth="1")
        first, *members = ElementTree.fromstring(answer.content).iterfind("{DAV:}response")  # noqa: S314 - our own
        return Collection(first.findtext(".//{DAV:}getetag", ""), len(members))

    def _send(self, method: str, target: str, **options: Any) -> requests.Response:
        number = next(self._count)
        self.before(number)
        trouble = self.trouble.get(number)
        if trouble == "cut":
            self._cut(method, target, options)
        try:
            answer = self.client.session.request(
                method, self.client.server.url + target, timeout=SECONDS, allow_redirects=False, **options
            )
        except requests.RequestException as error:
            raise Offline from error
        assert answer.status_code != 500, f"{method} {target}: {answer.text}"
        if trouble == "lost":
            raise Offline
        if answer.status_code >= 400:
            raise Refused(answer)
        return answer

    def _cut(self, method: str, target: str, options: dict[str, Any]) -> None:
        """Send the head and half of the body, and be gone."""
        body = options.get("data") or b""
        if body:
            connection = http.client.HTTPConnection("127.0.0.1", self.client.server.port, timeout=SECONDS)
            try:
                connection.putrequest(method, target)
                for name, value in {**self.client.session.headers, **options["headers"]}.items():
                    connection.putheader(name, value)
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body[: len(body) // 2])
            except OSError:
                pass  # a worker that was killed
            finally:
                connection.close()
        raise Offline


class Remote(NamedTuple):
    """What the server has at a path; without SHA-256 a collection, or a file that is not hashed yet."""

    sha256: str | None
    is_collection: bool


@dataclass
class Memory:
    """What a client keeps from one sync to the next.

    Attributes:
        base: SHA-256 of what device and server last had in common, by path of the device.
        folders: that both had.
        token: up to where the changes were read; empty for nowhere.
        server: what was read.
    """

    base: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    token: str = ""
    server: dict[str, Remote] = field(default_factory=dict)


class Device:
    """A sync client: a subclass decides what is to be done; the steps and the conflicts are the same for all.

    Attributes:
        resolution: how its user wants conflicts to be resolved.
        steps: what it has done, on either side.
    """

    def __init__(self, user: Client, name: str, folder: Folder, clock: Iterator[int]) -> None:
        self.name = name
        self.folder = folder
        self.clock = clock
        self.resolution = "keep_both"
        self.steps = 0
        client = user.registered(name)
        self.id: str = client.device["device_id"]
        self.line = Line(client)
        self.memory = Memory()

    def backup(self) -> tuple[Folder, Memory]:
        return self.folder.copy(), copy.deepcopy(self.memory)

    def sync(self) -> bool:
        """Do what there is to do; False if there was nothing at all.

        Raises:
            Offline: the line broke.
        """
        raise NotImplementedError

    # ---- the steps; each leaves the memory as it then is ----

    def attempt(self, step: Callable[..., None], *arguments: Any) -> bool:
        """Take a step, if it can be taken."""
        try:
            step(*arguments)
        except (Refused, Blocked):
            return False
        return True

    def upload(self, path: str, if_match: str | None, source: str = "") -> str:
        """PUT a file on the condition that what it replaces is as it was, or is nothing; the SHA-256 that was sent.

        Args:
            source: file whose bytes are sent, if it is another.
        """
        body = self.folder.read(source or path)
        if body is None:
            raise Blocked(source or path)
        fields = {"If_Match": if_match, "If_None_Match": None if if_match else "*"}
        try:
            self.line.dav("PUT", path, body, **fields)
        except Refused as refused:
            if refused.status != 409:
                raise
            for collection in Folder.above(path):
                self.make_collection(collection)
            self.line.dav("PUT", path, body, **fields)
        self.steps += 1
        if source in ("", path):
            self.memory.base[path] = sha256(body)
        return sha256(body)

    def make_collection(self, path: str) -> None:
        try:
            self.line.dav("MKCOL", path)
            self.steps += 1
        except Refused as refused:
            if refused.status != 405:  # there is something already
                raise

    def download(self, path: str, seen: str | None, named: str = "") -> None:
        """GET a file in place of what was `seen` here (its SHA-256, None for nothing).

        Args:
            named: as the server spells it, if that is otherwise.
        """
        answer = self.line.dav("GET", named or path)
        body = answer.content
        assert answer.headers["ETag"] == tag(sha256(body)), "the entity-tag is not that of the bytes"
        self._place(path, body, seen)

    def delete(self, path: str, if_match: str) -> None:
        self.line.dav("DELETE", path, If_Match=if_match)
        self.steps += 1
        self._gone_there(path)

    def delete_here(self, path: str, seen: str) -> None:
        self._require(path, seen)
        self.folder.remove(path)
        self.memory.base.pop(path, None)
        self.steps += 1

    def _place(self, path: str, body: bytes, seen: str | None) -> None:
        self._require(path, seen)
        if not self.folder.can_hold(path):
            raise Blocked(path)
        self.folder.write(path, body)
        self.memory.base[self.folder.spelled(path)] = sha256(body)
        self.steps += 1

    def _require(self, path: str, seen: str | None) -> None:
        """Nobody has touched the file since it was looked at."""
        body = self.folder.read(path)
        if (None if body is None else sha256(body)) != seen:
            raise Blocked(path)

    def _gone_there(self, path: str) -> None:
        for known in [p for p in self.memory.base if p == path or p.startswith(f"{path}/")]:
            if self.folder.read(known) is None:
                del self.memory.base[known]

    # ---- conflicts ----

    def resolve_all(self) -> bool:
        """Resolve what conflicts there are as the user wants; False if there were none."""
        found = self.line.api("GET", "/conflicts", params={"device_id": self.id})["conflicts"]
        for conflict in found:
            self.attempt(self.resolve, conflict)
        return bool(found)

    def resolve(self, conflict: Any) -> None:
        """Do what the answer says, up to the first step that fails."""
        body = {"resolution": self.resolution}
        answer = self.line.api("POST", f"/conflicts/{conflict['conflict_id']}/resolve", json=body)
        self.steps += 1
        sent: dict[str, str] = {}
        for step in answer["steps"]:
            self._take(step, sent)

    def _take(self, step: dict[str, Any], sent: dict[str, str]) -> None:
        """Take one step.

        Args:
            sent: SHA-256 of what was uploaded for this conflict, by path of the server and of the device.
        """
        path, to, if_match = step["path"], step["to"], step["if_match"]
        match step["action"]:
            case "upload":
                assert (if_match is None) == (step["if_none_match"] == "*"), "never without a condition"
                sent[path] = sent[step["source"]] = self.upload(path, if_match, step["source"])
            case "download":
                self.download(path, self._on_server(path, sent))
            case "delete":
                self.delete(path, if_match or tag(sent[path]))
            case "move":
                self.line.dav("MOVE", path, If_Match=if_match, Destination=to, Overwrite="F")
                self.steps += 1
            case "delete_local":
                if (seen := self._on_server(path, sent)) is not None:
                    self.delete_here(path, seen)
            case "move_local":
                self.move_here(path, to)

    def _on_server(self, path: str, sent: dict[str, str]) -> str | None:
        """The SHA-256 of a file here that the server has, if only in its history; None if there is no file."""
        body = self.folder.read(path)
        if body is None:
            return None
        if sha256(body) not in (sent.get(path), self.memory.base.get(path)):
            raise Blocked(path)  # its user has just edited it
        return sha256(body)

    def move_here(self, path: str, to: str) -> None:
        """Rename something of the device, and forget what was in common there."""
        self.folder.rename(path, to)
        self.steps += 1
        for known in [p for p in self.memory.base if p == path or p.startswith(f"{path}/")]:
            del self.memory.base[known]

    def conflict_copy(self, path: str) -> str:
        """`NAME (conflict YYYY-MM-DD HHMMSS DEVICE).EXT`, in UTC; a conflict copy gets a new mark."""
        parent, name = path.rsplit("/", 1)
        stem, dot, extension = name.rpartition(".")
        if not stem:
            stem, dot, extension = name, "", ""
        at = datetime.fromtimestamp(next(self.clock), UTC)
        return (
            f"{parent}/{stem.partition(' (conflict ')[0]} (conflict {at:%Y-%m-%d %H%M%S} {self.name}){dot}{extension}"
        )
