"""Sync as people do it: two devices that know only the API and WebDAV, and rclone as a device."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import requests

from tests.http.client import User, etag
from tests.sync.client import Client, Picture


class Laptop:
    """A device with files of its own, which are those of the server after each `sync`."""

    def __init__(self, user: Client, name: str, top: str) -> None:
        self.api = user.registered(name)
        self.id = self.api.device["device_id"]
        self.picture = Picture(self.api, limit=3, top=f"{top}/")
        self.picture.read()
        self.files: dict[str, bytes] = {}
        self._download()

    def sync(self) -> list[dict[str, Any]]:
        """Take over what changed; says what."""
        changes = self.picture.follow()
        self._download()
        self.api.post(f"/devices/{self.id}/ack", change_token=self.picture.change_token)
        return changes

    def save(self, path: str, body: bytes) -> requests.Response:
        """Upload a file on top of what was seen of it last."""
        seen = self.picture.tree.get(path)
        condition = {"If-Match": f'"{seen}"'} if seen else {"If-None-Match": "*"}
        return self.api.session.put(f"{self.api.server.url}/dav{path}", body, headers=condition, timeout=30)

    def _download(self) -> None:
        wanted = {path: sha256 for path, sha256 in self.picture.tree.items() if sha256 is not None}
        kept = {hashlib.sha256(body).hexdigest(): body for body in self.files.values()}
        self.files = {
            path: kept[sha256] if sha256 in kept else self._bytes(path, sha256) for path, sha256 in wanted.items()
        }

    def _bytes(self, path: str, sha256: str) -> bytes:
        answer = self.api.session.get(f"{self.api.server.url}/dav{path}", timeout=30)
        assert hashlib.sha256(answer.content).hexdigest() == sha256
        return answer.content


def test_two_devices(api: Client, alice: User) -> None:
    """Upload, download, update, move, delete: each step reaches the other one, which knows who did it."""
    top = alice.top
    alice("MKCOL", "/docs")
    alice.put("/docs/old", b"was there before")
    one, two = Laptop(api, "one", top), Laptop(api, "two", top)
    assert one.files == two.files == {f"{top}/docs/old": b"was there before"}

    assert one.save(f"{top}/docs/new", b"first").status_code == 201
    (change,) = two.sync()
    assert (change["path"], change["action"], change["device_id"]) == (f"{top}/docs/new", "created", one.id)
    assert one.sync() == [change], "it recognises its own doing by the device"
    assert two.files[f"{top}/docs/new"] == b"first"

    assert two.save(f"{top}/docs/new", b"second").status_code == 204
    assert one.save(f"{top}/docs/new", b"at the same time").status_code == 412, "one has not seen the second"
    (change,) = one.sync()
    assert (change["action"], change["device_id"], change["etag"]) == ("modified", two.id, etag(b"second"))
    assert one.save(f"{top}/docs/new", b"third").status_code == 204

    alice("MOVE", "/docs", Destination="/papers")
    changes = two.sync()
    moved = {change["path"]: change["moved_from"] for change in changes if change["action"] == "created"}
    assert moved == {f"{top}/papers{name}": f"{top}/docs{name}" for name in ("", "/old", "/new")}
    alice("DELETE", "/papers/old")
    one.sync()
    two.sync()
    assert one.files == two.files == {f"{top}/papers/new": b"third"}
    history = api.get("/history", path=f"{top}/papers/new")["versions"]
    assert [(version["sha256"], version["device_id"]) for version in history] == [
        (hashlib.sha256(b"second").hexdigest(), two.id), (hashlib.sha256(b"first").hexdigest(), one.id),
    ]  # fmt: skip
    states = [api.get(f"/devices/{device.id}") for device in (one, two)]
    assert [(state["status"], state["pending_changes"]) for state in states] == [("synced", 0)] * 2


def test_rclone_is_a_device(api: Client, alice: User, tmp_path: Path) -> None:
    """With the token as its password; what it uploads is known to be its doing."""
    device = api.registered("rclone", "server")
    picture = Picture(api, top=f"{alice.top}/")
    picture.read()
    (tmp_path / "files").mkdir()
    for n in range(3):
        (tmp_path / "files" / f"{n} ü").write_bytes(b"%d" % n)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RCLONE_")},
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_NAS_TYPE": "webdav",
        "RCLONE_CONFIG_NAS_URL": alice.url(""),
        "RCLONE_CONFIG_NAS_VENDOR": "owncloud",
        "RCLONE_CONFIG_NAS_USER": "alice",
    }
    token = device.device["token"]
    secret = subprocess.run(["rclone", "obscure", token], capture_output=True, text=True, check=True, timeout=60)
    environment["RCLONE_CONFIG_NAS_PASS"] = secret.stdout.strip()
    subprocess.run(
        ["rclone", "sync", tmp_path / "files", "nas:"], env=environment, capture_output=True, check=True, timeout=120
    )
    changes = picture.follow()
    assert {change["path"] for change in changes} == {f"{alice.top}/{n} ü" for n in range(3)}
    assert {change["device_id"] for change in changes} == {device.device["device_id"]}
