"""Clients that follow what others do: by the change feed, by REPORT, by entity-tags, and as listeners."""

import contextlib
import hashlib
import http.client
import json
import random
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lxml import etree

from perf.soaking.keeping import NAMES, members
from perf.soaking.line import Line
from perf.soaking.scene import Cut, Scene, Wrong

_CATCH_UP_SECONDS = 60
_PAGE = 500
_DAV = "{DAV:}"
_ETAG = b'<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'
_REPORT = (
    '<sync-collection xmlns="DAV:"><sync-token>{}</sync-token><sync-level>infinite</sync-level>'
    "<limit><nresults>500</nresults></limit><prop><getetag/><resourcetype/></prop></sync-collection>"
)
Tree = dict[str, str | None]  # SHA-256 of files by path, None for collections


def tree_on_disk(home: Path) -> Tree:
    """What is there, but for what the server keeps for itself."""
    return {
        f"/{path.relative_to(home)}": hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in home.rglob("*")
        if path.relative_to(home).parts[0] != ".baludav"
    }


class Watcher:
    """A client that only looks."""

    kind = "watcher"

    def __init__(self, scene: Scene, user: str, number: int) -> None:
        self.scene = scene
        self.user = user
        self.name = f"{self.kind}-{number}"
        self.chance = random.Random(f"{scene.seed} {number}")
        self.line = Line(scene, user)

    def run(self) -> None:
        """Look again and again until the scene ends, or something is wrong."""
        try:
            self.begin()
            while not self.scene.stop.wait(self.chance.uniform(0, 2 * self.scene.pause)):
                self.look()
        except Wrong as wrong:
            self.scene.tally.problem(f"{self.user}, {self.name}: {wrong}")

    def begin(self) -> None:
        """Get ready."""

    def look(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """When all is quiet: what it knows must be what is there."""
        try:
            self.catch_up()
        except Wrong as wrong:
            self.scene.tally.problem(f"{self.user}, {self.name}, at the end: {wrong}")
        self.line.close()

    def catch_up(self) -> None:
        self.look()


class Picturing(Watcher):
    """One that knows the whole tree."""

    def __init__(self, scene: Scene, user: str, number: int) -> None:
        super().__init__(scene, user, number)
        self.tree: Tree = {}

    def catch_up(self) -> None:
        truth = tree_on_disk(self.scene.server.data / "files" / self.user)
        end = time.monotonic() + _CATCH_UP_SECONDS
        while self.tree != truth:
            if time.monotonic() > end:
                wrong = sorted(path for path in {*self.tree, *truth} if self._of(path) != truth.get(path, "absent"))
                raise Wrong(
                    f"it does not end with the server's tree: {[(p, self._of(p), truth.get(p)) for p in wrong[:5]]}"
                )
            self.look()

    def _of(self, path: str) -> str | None:
        return self.tree.get(path, "absent")

    def remove(self, path: str) -> None:
        self.tree = {p: found for p, found in self.tree.items() if p != path and not p.startswith(f"{path}/")}


class Device(Picturing):
    """A sync client on the change feed: it keeps only its token and what the feed told it."""

    kind = "device"

    def begin(self) -> None:
        device = self._say("POST", "/devices", 201, name=self.name, device_type="desktop")
        self.line.authorization = f"Bearer {device['token']}"
        cursor = ""
        while True:
            page = self._say("GET", f"/state?limit={_PAGE}{cursor}", 200)
            self.token = page["change_token"]
            for found in (*page["files"], *page["collections"]):
                self.tree[found["path"]] = found.get("sha256")
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={page['next_cursor']}"

    def look(self) -> None:
        wait = self.chance.choice((0, 0, 1))
        has_more = True
        while has_more:
            page = self._say("GET", f"/changes?since={self.token}&limit={_PAGE}&wait={wait}", 200)
            for change in page["changes"]:
                path = change["path"]
                if change["action"] == "deleted" or not change["is_collection"]:
                    self.remove(path)
                if change["action"] != "deleted":
                    self.tree[path] = change["sha256"]
            self.token, has_more, wait = page["change_token"], page["has_more"], 0

    def _say(self, method: str, target: str, *statuses: int, **body: str) -> Any:
        content = json.dumps(body).encode() if body else b""
        fields = {"Content_Type": "application/json"} if body else {}
        return json.loads(self.line.surely(method, f"/api/sync{target}", *statuses, body=content, **fields).body)


class Reporter(Picturing):
    """A sync client on RFC 6578."""

    kind = "reporter"

    def begin(self) -> None:
        self.token = ""
        self.look()

    def look(self) -> None:
        has_more = True
        while has_more:
            answer = self.line.surely("REPORT", "/dav/", 207, body=_REPORT.format(self.token).encode(), Depth="0")
            has_more = False
            for _, entry in members(answer.body):
                has_more |= self._take_over(entry)
            self.token = etree.fromstring(answer.body).findtext(f"{_DAV}sync-token", "")

    def _take_over(self, entry: etree._Element) -> bool:
        """One response; True if it says that there is more."""
        path = unquote(entry.findtext(f"{_DAV}href", "")).removeprefix("/dav").rstrip("/")
        status = entry.findtext(f"{_DAV}status", "")
        if " 507 " in status:
            return True
        is_collection = entry.find(f".//{_DAV}collection") is not None
        if not is_collection:
            self.remove(path)
        if path and " 404 " not in status:
            etag = entry.findtext(f".//{_DAV}getetag", "").strip('"')
            self.tree[path] = None if is_collection else etag
        return False


class Poller(Watcher):
    """A client that lists a collection only when its entity-tag has changed, and reads what was edited outside."""

    kind = "poller"

    def begin(self) -> None:
        self._listings: dict[str, dict[str, str]] = {}

    def look(self) -> None:
        target = f"/dav/{self._folder()}/"
        before, listing, after = self._etag(target), self._listing(target), self._etag(target)
        if before and before == after:
            key = f"{target} {before}"
            if self._listings.setdefault(key, listing) != listing:
                raise Wrong(f"{target} has the entity-tag {before} with other members")
        self._read(self.chance.choice(NAMES))

    def _folder(self) -> str:
        home = self.scene.server.data / "files" / self.user
        return self.chance.choice(
            sorted(path.name for path in home.iterdir() if path.is_dir() and path.name != ".baludav")
        )

    def _etag(self, target: str) -> str:
        answer = self.line.surely("PROPFIND", target, 207, 404, body=_ETAG, Depth="0")
        if answer.status == 404:
            return ""
        ((_, entry),) = members(answer.body)
        return entry.findtext(f".//{_DAV}getetag", "")

    def _listing(self, target: str) -> dict[str, str]:
        answer = self.line.surely("PROPFIND", target, 207, 404, body=_ETAG, Depth="1")
        if answer.status == 404:
            return {}
        return {name: entry.findtext(f".//{_DAV}getetag", "") for name, entry in members(answer.body)}

    def _read(self, name: str) -> None:
        """What is replaced outside by a rename is seen whole, and under its own entity-tag."""
        answer = self.line.surely("GET", f"/dav/outside/replaced%20{name}".replace(" ", "%20"), 200, 404)
        if answer.status == 200 and answer.etag not in ("", answer.sha256):
            raise Wrong(f"outside/replaced {name}: ETag {answer.etag} of bytes {answer.sha256}")


class Listener(Watcher):
    """A client of the event stream, which goes on from the last event that it heard."""

    kind = "listener"

    def begin(self) -> None:
        self.heard = ""
        self._stream: http.client.HTTPResponse | None = None

    def look(self) -> None:
        """Hear one event, or that there is none."""
        try:
            if self._stream is None:
                self._stream = self.line.stream(
                    "/api/sync/events", **({"Last_Event_ID": self.heard} if self.heard else {})
                )
            self._hear(self._stream)
        except Cut:
            self._stream = None

    def _hear(self, stream: http.client.HTTPResponse) -> None:
        try:
            while (line := stream.readline()) not in (b"\n", b"\r\n"):
                if not line:
                    raise ConnectionResetError("the stream ended")
                if line.startswith(b"id:"):
                    self.heard = line.partition(b":")[2].strip().decode()
        except (OSError, http.client.HTTPException) as error:
            self.line.lost("GET", "/api/sync/events", error)

    def catch_up(self) -> None:
        with contextlib.closing(Line(self.scene, self.user)) as line:
            latest = json.loads(line.surely("GET", "/api/sync/state?limit=1", 200).body)["change_token"]
        end = time.monotonic() + _CATCH_UP_SECONDS
        while self.heard != latest:
            if time.monotonic() > end:
                raise Wrong(f"it last heard of {self.heard}, and there is {latest}")
            self.look()
