"""A sync client: files in memory, and the steps that a plan and a resolution name, over HTTP."""

import hashlib
from typing import Any
from urllib.parse import quote

import requests

from tests.http.client import SECONDS
from tests.sync.client import Client


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Failed(Exception):
    """The server refused a step; `status` says how."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
        self.status = answer.status_code


class Device:
    """A device that keeps what it last had in common with the server, as every client must.

    Attributes:
        files: what its user has, by path.
        base: SHA-256 of what was in common, by path.
    """

    def __init__(self, user: Client, name: str) -> None:
        self.api = user.registered(name)
        self.id: str = self.api.device["device_id"]
        self.files: dict[str, bytes] = {}
        self.base: dict[str, str] = {}

    # At the wire

    def dav(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> requests.Response:
        """A DAV request of this device; `If_Match` stands for the field If-Match, and None for no field."""
        fields = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        url = f"{self.api.server.url}/dav{quote(path)}"
        return self.api.session.request(method, url, data=body, headers=fields, timeout=SECONDS, allow_redirects=False)

    def must(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> requests.Response:
        """The same, of which the next step depends."""
        answer = self.dav(method, path, body, **headers)
        if answer.status_code >= 400:
            raise Failed(answer)
        return answer

    def put(self, path: str, body: bytes, **headers: str | None) -> None:
        """PUT, making the collections above that are missing."""
        above = [path[:at] for at in range(1, len(path)) if path[at] == "/"]
        if self.dav("PROPFIND", above[-1] if above else "/", Depth="0").status_code == 404:
            for collection in above:
                self.dav("MKCOL", collection)
        self.must("PUT", path, body, **headers)

    # Plans

    def listed(self) -> list[dict[str, Any]]:
        """What the device says it has."""
        found: list[dict[str, Any]] = []
        for path in sorted(self.files.keys() | self.base.keys()):
            body = self.files.get(path)
            entry = {"path": path, "sha256": None if body is None else sha256(body), "base_sha256": self.base.get(path)}
            if body is not None:
                entry |= {"size": len(body), "modified_at": "2024-05-06T07:08:09Z"}
            found.append(entry)
        return found

    def plan(self, **more: object) -> Any:
        return self.api.post("/changes", device_id=self.id, files=self.listed(), **more)

    def apply(self, plan: Any) -> None:
        """Do what a plan says, but for its conflicts; then remember what is equal, and say how far we are."""
        touched = {item["path"] for kind in plan.values() if isinstance(kind, list) for item in kind}
        for item in plan["to_delete_local"]:
            assert sha256(self.files.pop(item["path"])) == item["sha256"]
            del self.base[item["path"]]
        for item in plan["to_download"]:
            self.download(item["path"])
        for item in plan["to_delete_remote"]:
            self.delete(item["path"], item["if_match"])
        for item in plan["to_upload"]:
            self.upload(item["path"], item["path"], item["if_match"], item["if_none_match"])
        for path in (self.files.keys() | self.base.keys()) - touched:
            if path in self.files:
                self.base[path] = sha256(self.files[path])
            else:
                del self.base[path]
        self.api.post(f"/devices/{self.id}/ack", change_token=plan["change_token"])

    def sync(self) -> Any:
        """Plan, and do it; the plan."""
        plan = self.plan()
        self.apply(plan)
        return plan

    # Steps

    def resolve(self, conflict: Any, resolution: str) -> Any:
        """Resolve a conflict, and do what the answer says; the steps."""
        answer = self.api.post(f"/conflicts/{conflict['conflict_id']}/resolve", resolution=resolution)
        for step in answer["steps"]:
            self.take(step)
        return answer["steps"]

    def take(self, step: dict[str, Any]) -> None:
        path, to, if_match = step["path"], step["to"], step["if_match"]
        match step["action"]:
            case "upload":
                self.upload(path, step["source"], if_match, step["if_none_match"])
            case "download":
                self.download(path)
            case "delete":
                self.delete(path, if_match)
            case "move":
                target = f"{self.api.server.url}/dav{quote(to)}"
                self.must("MOVE", path, If_Match=if_match, Destination=target, Overwrite="F")
            case "delete_local":
                self.files.pop(path, None)
                self.forget(path)
            case "move_local":
                moved = {p: body for p, body in self.files.items() if p == path or p.startswith(f"{path}/")}
                assert moved
                self.files = {p: body for p, body in self.files.items() if p not in moved}
                self.files |= {to + p[len(path) :]: body for p, body in moved.items()}
                self.forget(path)

    def upload(self, path: str, source: str, if_match: str | None, if_none_match: str | None) -> None:
        body = self.files[source]
        assert (if_match is None) != (if_none_match is None), "never without a condition"
        self.put(path, body, If_Match=if_match, If_None_Match=if_none_match)
        if path == source:
            self.base[path] = sha256(body)

    def download(self, path: str) -> None:
        self.files[path] = self.must("GET", path).content
        self.base[path] = sha256(self.files[path])

    def delete(self, path: str, if_match: str | None) -> None:
        self.must("DELETE", path, If_Match=if_match)
        if path not in self.files:
            self.forget(path)

    def forget(self, path: str) -> None:
        """Nothing is in common any more, at and below a path."""
        self.base = {p: sha for p, sha in self.base.items() if p != path and not p.startswith(f"{path}/")}
