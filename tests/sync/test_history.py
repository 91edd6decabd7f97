"""Versions and the trash over the API: seen, and had back."""

import hashlib
from pathlib import Path

import pytest

from tests.http.client import User, etag
from tests.serving import Server
from tests.sync.client import Client, Picture


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_versions(api: Client, alice: User) -> None:
    """Newest first, each with the device that had written it."""
    device = api.registered()
    url, path = alice.url("/f"), f"{alice.top}/f"
    for body in (b"one", b"two"):
        assert device.session.put(url, body, timeout=30).ok
    alice.put("/f", b"three")
    alice.put("/f", b"four")
    history = api.get("/history", path=path)
    assert history["path"] == path
    own = device.device["device_id"]
    assert [(version["sha256"], version["size"], version["device_id"]) for version in history["versions"]] == [
        (_sha256(b"three"), 5, None), (_sha256(b"two"), 3, own), (_sha256(b"one"), 3, own),
    ]  # fmt: skip
    assert {version["reason"] for version in history["versions"]} == {"overwritten"}
    times = [version["created_at"] for version in history["versions"]]
    assert times == sorted(times, reverse=True)
    assert set(history["versions"][0]) == {
        "version", "size", "sha256", "created_at", "modified_at", "device_id", "reason",
    }  # fmt: skip


def test_restoring_a_version(api: Client, alice: User) -> None:
    """A write like any other: journalled, under the device that asks, and what it replaces becomes a version."""
    device = api.registered()
    path = f"{alice.top}/f"
    alice.put("/f", b"first")
    alice.put("/f", b"second")
    picture = Picture(api, top=f"{alice.top}/")
    picture.read()
    (version,) = api.get("/history", path=path)["versions"]
    restored = device.post("/history/restore", path=path, version=version["version"])
    assert (restored["path"], restored["etag"], restored["size"]) == (path, etag(b"first"), 5)
    assert alice.get("/f").content == b"first"
    (change,) = picture.follow()
    assert (change["path"], change["action"], change["device_id"]) == (path, "modified", device.device["device_id"])
    newest, oldest = api.get("/history", path=path)["versions"]
    assert (newest["sha256"], newest["reason"], oldest) == (_sha256(b"second"), "restored", version)


def test_the_history_of_nothing(api: Client, alice: User) -> None:
    alice("MKCOL", "/c")
    alice.put("/f")
    assert api.get("/history", path=f"{alice.top}/f")["versions"] == []
    for path in (alice.top, f"{alice.top}/c", f"{alice.top}/none", "/"):
        assert api("GET", "/history", params={"path": path}).status_code == 404
        assert api("POST", "/history/restore", json={"path": path, "version": "1"}).status_code == 404
    answer = api("POST", "/history/restore", json={"path": f"{alice.top}/f", "version": "999999"})
    assert answer.status_code == 404
    answer = api("POST", "/history/restore", json={"path": f"{alice.top}/f", "version": "first"})
    assert (answer.status_code, answer.json()["field"]) == (422, "version")


def test_a_version_of_another_file_is_not_restored(api: Client, alice: User) -> None:
    for name in ("/f", "/g"):
        alice.put(name, b"old " + name.encode())
        alice.put(name, b"new")
    (version,) = api.get("/history", path=f"{alice.top}/f")["versions"]
    body = {"path": f"{alice.top}/g", "version": version["version"]}
    assert api("POST", "/history/restore", json=body).status_code == 404


def test_a_locked_file_is_not_restored(api: Client, alice: User) -> None:
    alice.put("/f", b"old")
    alice.put("/f", b"new")
    (version,) = api.get("/history", path=f"{alice.top}/f")["versions"]
    alice.lock("/f")
    answer = api("POST", "/history/restore", json={"path": f"{alice.top}/f", "version": version["version"]})
    assert (answer.status_code, answer.json()["type"]) == (423, "urn:baludav:problem:locked")
    assert alice.get("/f").content == b"new"


def test_the_trash(api: Client, alice: User) -> None:
    """What was deleted last comes first; it comes back with all that was below it."""
    device = api.registered()
    alice("MKCOL", "/c")
    alice.put("/c/f", b"bytes")
    alice.put("/g", b"x")
    alice("DELETE", "/c")
    assert device.session.delete(alice.url("/g"), timeout=30).ok
    file, collection = api.get("/trash")["entries"][:2]
    assert (file["path"], file["is_collection"], file["size"], file["device_id"]) == (
        f"{alice.top}/g", False, 1, device.device["device_id"],
    )  # fmt: skip
    assert (collection["path"], collection["is_collection"], collection["size"]) == (f"{alice.top}/c", True, 5)
    assert collection["deleted_at"] <= file["deleted_at"]
    picture = Picture(api, top=f"{alice.top}/")
    picture.read()
    restored = api.post("/trash/restore", trash_id=collection["trash_id"])
    assert restored == {
        "path": f"{alice.top}/c", "is_collection": True, "etag": alice.prop("/c", "{DAV:}getetag"),
    }  # fmt: skip
    assert alice.get("/c/f").content == b"bytes"
    assert [(change["path"], change["action"]) for change in picture.follow()] == [
        (f"{alice.top}/c", "created"), (f"{alice.top}/c/f", "created"),
    ]  # fmt: skip
    assert api("POST", "/trash/restore", json={"trash_id": collection["trash_id"]}).status_code == 404


def test_nothing_is_overwritten_by_what_comes_back(api: Client, alice: User) -> None:
    """It comes to lie beside what has taken its place, and the answer says where."""
    alice.put("/f.txt", b"old")
    alice("DELETE", "/f.txt")
    alice("MKCOL", "/f.txt")  # a file would be the same file again
    restored = api.post("/trash/restore", trash_id=api.get("/trash")["entries"][0]["trash_id"])
    assert restored["path"] == f"{alice.top}/f (restored).txt"
    assert alice("PROPFIND", "/f.txt", Depth="0").status_code == 207
    assert alice.get("/f (restored).txt").content == b"old"


def test_the_trash_in_pages(api: Client, alice: User) -> None:
    for n in range(5):
        alice.put(f"/{n}")
        alice("DELETE", f"/{n}")
    found, cursor = [], {}
    while len(found) < 5:
        page = api.get("/trash", limit=2, **cursor)
        found += [entry["path"] for entry in page["entries"]]
        cursor = {"cursor": page["next_cursor"]}
    assert found[:5] == [f"{alice.top}/{n}" for n in (4, 3, 2, 1, 0)]
    assert api.get("/trash", cursor="0.0") == {"entries": [], "next_cursor": None}
    answer = api("GET", "/trash", params={"cursor": "1"})
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


def test_the_history_is_nobody_elses(api: Client, others: Client, alice: User) -> None:
    """404, as for what never was."""
    alice.put("/f", b"old")
    alice.put("/f", b"new")
    alice.put("/g")
    alice("DELETE", "/g")
    (version,) = api.get("/history", path=f"{alice.top}/f")["versions"]
    entry = api.get("/trash")["entries"][0]
    answers = [
        others("GET", "/history", params={"path": f"{alice.top}/f"}),
        others("POST", "/history/restore", json={"path": f"{alice.top}/f", "version": version["version"]}),
        others("POST", "/trash/restore", json={"trash_id": entry["trash_id"]}),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    never = others("POST", "/trash/restore", json={"trash_id": "999999999"})
    assert never.json() == answers[2].json()
    assert all(alice.top not in found["path"] for found in others.get("/trash", limit=10_000)["entries"])


@pytest.fixture
def shared(tmp_path: Path):
    (tmp_path / "team").mkdir()
    shares = {"Team": {"folder": str(tmp_path / "team"), "read": ["otto"], "write": ["anna"]}}
    with Server(tmp_path / "data", workers=1, durability="fast", shares=shares) as server:
        server.add_user("anna")
        server.add_user("otto")
        yield server


def test_who_may_only_read_restores_nothing(shared: Server) -> None:
    """They see the versions, and not the trash; an admin sees each deletion once."""
    anna, otto = User(shared, "anna"), Client(shared, "otto")
    anna.put("/Team/f", b"old")
    anna.put("/Team/f", b"new")
    anna.put("/own", b"1")
    anna("DELETE", "/own")
    User(shared, "admin").put("/of-admin")
    User(shared, "admin")("DELETE", "/of-admin")
    (version,) = otto.get("/history", path="/Team/f")["versions"]
    answer = otto("POST", "/history/restore", json={"path": "/Team/f", "version": version["version"]})
    assert answer.status_code == 403
    anna("DELETE", "/Team/f")
    (entry, _) = Client(shared, "anna").get("/trash")["entries"]
    assert otto.get("/trash")["entries"] == []
    assert otto("POST", "/trash/restore", json={"trash_id": entry["trash_id"]}).status_code in (403, 404)
    paths = [found["path"] for found in Client(shared, "admin").get("/trash")["entries"]]
    assert paths == ["/Team/f", "/of-admin", "/homes/anna/own"]


def test_a_quota_holds_for_what_comes_back(tmp_path: Path) -> None:
    with Server(tmp_path / "data", workers=1, durability="fast") as server:
        server.add_user("carol", quota="1000")
        carol, api = User(server, "carol"), Client(server, "carol")
        carol.put("/f", b"x" * 900)
        carol("DELETE", "/f")
        carol.put("/g", b"y" * 900)
        (entry,) = api.get("/trash")["entries"]
        answer = api("POST", "/trash/restore", json={"trash_id": entry["trash_id"]})
        assert (answer.status_code, answer.json()["type"]) == (507, "urn:baludav:problem:over-quota")
        assert api.get("/trash")["entries"] == [entry], "it is still there"
