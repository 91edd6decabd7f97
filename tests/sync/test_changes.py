"""The state and the changes: what a client learns that asks only the API."""

import hashlib
import random
import re
import time
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from baludav.db.tables import journal
from baludav.tree.upkeep import expiry
from tests.crash.installation import open_installation
from tests.http.client import User, etag
from tests.serving import Server
from tests.sync.client import Client, Picture


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _truth(user: User) -> dict[str, str | None]:
    """The same picture as PROPFIND paints it."""
    found = user.propfind("", depth="infinity")
    tags = {path: (one.text("{DAV:}getetag") or "").strip('"') for path, one in found.items() if path != "/"}
    return {user.top + path: None if "-" in tag else tag for path, tag in tags.items()}


@pytest.fixture(params=[1000, 2], ids=["one page", "by twos"])
def picture(api: Client, alice: User, request: pytest.FixtureRequest) -> Picture:
    return Picture(api, request.param, f"{alice.top}/")


def test_what_the_state_says(api: Client, alice: User) -> None:
    """Files and collections as the DAV tree has them; the entity-tag is that of the ETag field."""
    alice("MKCOL", "/é & co")
    alice.put("/é & co/f", b"bytes", X_OC_Mtime="1700000000")
    state = api.get("/state", path=alice.top)
    assert set(state) == {"files", "collections", "change_token", "next_cursor"}
    assert state["next_cursor"] is None
    assert state["files"] == [
        {
            "path": f"{alice.top}/é & co/f", "size": 5, "sha256": _sha256(b"bytes"), "etag": etag(b"bytes"),
            "modified_at": "2023-11-14T22:13:20Z",
        }
    ]  # fmt: skip
    (collection,) = state["collections"]
    assert collection == {"path": f"{alice.top}/é & co", "etag": alice.prop("/é & co", "{DAV:}getetag")}
    (file,) = state["files"]
    assert alice.put("/é & co/f", b"new", If_Match=file["etag"]).status_code == 204
    assert alice.put("/é & co/f", b"newer", If_Match=file["etag"]).status_code == 412


def test_a_part_of_the_state(api: Client, alice: User) -> None:
    for name in ("/a", "/a/b", "/ab"):
        alice("MKCOL", name)
        alice.put(f"{name}/f")
    state = api.get("/state", path=f"{alice.top}/a/")
    assert {file["path"] for file in state["files"]} == {f"{alice.top}/a/f", f"{alice.top}/a/b/f"}
    assert [collection["path"] for collection in state["collections"]] == [f"{alice.top}/a/b"]
    for path in (f"{alice.top}/a/f", f"{alice.top}/none", "/.baludav", "/" + "x" * 300):
        assert api("GET", "/state", params={"path": path}).status_code == 404


@pytest.mark.parametrize(
    ("call", "parameters", "field"),
    [
        ("/state", {"path": "a"}, "path"),
        ("/state", {"path": ""}, "path"),
        ("/state", {"path": "/a/../b"}, "path"),
        ("/state", {"path": "/line\nbreak"}, "path"),
        ("/state", {"limit": "0"}, "limit"),
        ("/state", {"limit": "10001"}, "limit"),
        ("/state", {"limit": "many"}, "limit"),
        ("/state", {"limit": ["1", "2"]}, "limit"),
        ("/state", {"cursor": ""}, "cursor"),
        ("/state", {"colour": "red"}, "colour"),
        ("/changes", {}, "since"),
        ("/changes", {"since": ""}, "since"),
        ("/changes", {"since": "x" * 256}, "since"),
        ("/changes", {"since": "x", "limit": "-1"}, "limit"),
    ],
)
def test_a_wrong_parameter_is_named(api: Client, call: str, parameters: dict[str, str], field: str) -> None:
    answer = api("GET", call, params=parameters)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_cursor_is_no_token_and_a_token_no_cursor(api: Client, alice: User) -> None:
    alice.put("/a")
    alice.put("/b")
    page = api.get("/state", limit=1)
    answer = api("GET", "/changes", params={"since": page["next_cursor"]})
    assert (answer.status_code, answer.json()["field"]) == (400, "since")
    answer = api("GET", "/state", params={"cursor": page["change_token"]})
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


@pytest.mark.parametrize("token", ["x", "0.0.0", "EPOCH.0.NUMBER", "0.SIGHT.NUMBER", "EPOCH.SIGHT.99999999", "é.é.1"])
def test_a_token_that_says_nothing(api: Client, token: str) -> None:
    """410, and where to find everything."""
    epoch, sight, number = api.get("/state", limit=1)["change_token"].split(".")
    token = token.replace("EPOCH", epoch).replace("SIGHT", sight).replace("NUMBER", number)
    answer = api("GET", "/changes", params={"since": token})
    assert answer.status_code == 410
    assert answer.json()["state"] == "/api/sync/state"
    assert answer.json()["type"] == "urn:baludav:problem:token-expired"
    if token.count(".") == 2:
        assert api("GET", "/state", params={"cursor": f"{token}.0.0"}).status_code == 410


def test_a_token_expires(tmp_path: Path) -> None:
    """When the changes since are forgotten; the state is there for who was away so long."""
    with Server(tmp_path / "data", workers=1) as server:
        server.add_user("alice")
        alice, api = User(server, "alice"), Client(server, "alice")
        alice.put("/f", b"1")
        device = api.registered()
        alice.put("/f", b"2")
        server.stop()
        house = open_installation(tmp_path)
        house.database.commit(lambda connection: connection.execute(update(journal).values(at_ns=1)))
        expiry.expire_all(house.tree)
        house.close()
        server.start()
        since = device.device["change_token"]
        assert device("GET", "/changes", params={"since": since}).status_code == 410
        state = device.get(f"/devices/{device.device['device_id']}")
        assert (state["status"], state["pending_changes"]) == ("behind", None)
        picture = Picture(device)
        picture.read()
        assert picture.tree == {"/f": _sha256(b"2")}
        assert picture.change_token.startswith(since.rpartition(".")[0])


def test_every_kind_of_change(picture: Picture, alice: User) -> None:
    """After each step the picture is the tree."""
    picture.read()
    assert picture.tree == _truth(alice)
    steps = [
        lambda: [alice("MKCOL", path) for path in ("/a", "/a/b")],
        lambda: [alice.put(f"/a/b/{n}", b"%d" % n) for n in range(5)],
        lambda: alice.put("/a/b/0", b"new"),
        lambda: alice("DELETE", "/a/b/1"),
        lambda: alice("MOVE", "/a/b/2", Destination="/moved"),
        lambda: alice("MOVE", "/a/b", Destination="/b"),
        lambda: alice("COPY", "/b", Destination="/a/b"),
        lambda: alice("DELETE", "/b"),
        lambda: (alice("DELETE", "/a/b"), alice.put("/a/b", b"now a file")),
        lambda: (alice("DELETE", "/a/b"), alice("MKCOL", "/a/b"), alice.put("/a/b/f")),
        lambda: (alice.put("/t"), alice("MOVE", "/t", Destination="/moved")),
        lambda: (alice.put("/t"), alice("DELETE", "/t")),
    ]
    for step in steps:
        step()
        assert picture.follow() != []
        assert picture.tree == _truth(alice)
        assert picture.follow() == []


def test_pages_under_writes_are_consistent(picture: Picture, alice: User) -> None:
    """Whatever is written between the pages of the state and of the changes."""
    chance = random.Random(7)
    for n in range(6):
        alice("MKCOL", f"/{n}")
        alice.put(f"/{n}/f", b"%d" % n)

    def write() -> None:
        source, target = chance.sample(range(8), 2)
        match chance.randrange(4):
            case 0:
                alice.put(f"/{source}/g", chance.randbytes(3))
            case 1:
                alice("MOVE", f"/{source}", Destination=f"/{target}")
            case 2:
                alice("COPY", f"/{source}", Destination=f"/{target}/in")
            case 3:
                alice("DELETE", f"/{source}/f")

    picture.read(write)
    for _ in range(30):
        write()
    picture.follow()
    assert picture.tree == _truth(alice)


def test_what_a_change_says(api: Client, alice: User) -> None:
    since = api.get("/state", limit=1)["change_token"]
    alice("MKCOL", "/c")
    alice.put("/f", b"bytes")
    page = api.get("/changes", since=since)
    assert set(page) == {"changes", "change_token", "has_more"}
    collection, file = [change for change in page["changes"] if change["path"].startswith(alice.top + "/")]
    assert collection == {
        "path": f"{alice.top}/c", "action": "created", "is_collection": True, "size": None, "sha256": None,
        "etag": alice.prop("/c", "{DAV:}getetag"), "modified_at": None, "device_id": None, "moved_from": None,
    }  # fmt: skip
    assert abs(datetime.fromisoformat(file.pop("modified_at")).timestamp() - time.time()) < 60
    assert file == {
        "path": f"{alice.top}/f", "action": "created", "is_collection": False, "size": 5,
        "sha256": _sha256(b"bytes"), "etag": etag(b"bytes"), "device_id": None, "moved_from": None,
    }  # fmt: skip
    since = page["change_token"]
    alice("MOVE", "/f", Destination="/g")
    changes = api.get("/changes", since=since)["changes"]
    assert [(change["path"], change["action"], change["moved_from"]) for change in changes] == [
        (f"{alice.top}/f", "deleted", None), (f"{alice.top}/g", "created", f"{alice.top}/f"),
    ]  # fmt: skip
    assert {key: changes[0][key] for key in ("size", "sha256", "etag", "modified_at", "is_collection")} == {
        "size": None, "sha256": None, "etag": None, "modified_at": None, "is_collection": False,
    }  # fmt: skip


def test_a_page_goes_on(api: Client, alice: User) -> None:
    since = api.get("/state", limit=1)["change_token"]
    for n in range(5):
        alice.put(f"/{n}")
    found, has_more = [], True
    while has_more:
        page = api.get("/changes", since=since, limit=2)
        assert len(page["changes"]) <= 2
        assert int(page["change_token"].rpartition(".")[2]) >= int(since.rpartition(".")[2])
        since, has_more = page["change_token"], page["has_more"]
        found += page["changes"]
    assert [change["path"] for change in found] == [f"{alice.top}/{n}" for n in range(5)]
    assert api.get("/changes", since=since) == {"changes": [], "change_token": since, "has_more": False}


def test_nobody_learns_of_others(tmp_path: Path) -> None:
    """Not of their paths, and not of their devices, also where they share a collection."""
    (tmp_path / "team").mkdir()
    shares = {"Team": {"folder": str(tmp_path / "team"), "read": ["otto"], "write": ["anna"]}}
    with Server(tmp_path / "data", shares=shares) as server:
        for name in ("anna", "otto", "olga"):
            server.add_user(name)
        clients = {name: Client(server, name) for name in ("anna", "otto", "olga", "admin")}
        pictures = {name: Picture(client) for name, client in clients.items()}
        for picture in pictures.values():
            picture.read()
        device = clients["anna"].registered()
        for path in ("/Team/f", "/mine"):
            answer = device.session.put(f"{server.url}/dav{path}", b"1", timeout=30)
            assert answer.status_code == 201
        found = {name: picture.follow() for name, picture in pictures.items()}
        assert {name: [change["path"] for change in changes] for name, changes in found.items()} == {
            "anna": ["/Team/f", "/mine"], "otto": ["/Team/f"], "olga": [],
            "admin": ["/Team/f", "/homes/anna/mine"],
        }  # fmt: skip
        shown = {name: {change["device_id"] for change in changes} for name, changes in found.items()}
        assert shown == {"anna": {device.device["device_id"]}, "otto": {None}, "olga": set(), "admin": {None}}
        assert clients["otto"]("GET", "/state", params={"path": "/mine"}).status_code == 404
        again = Picture(clients["admin"], limit=2)
        again.read()
        assert again.tree == pictures["admin"].tree
        assert "/homes/admin" in again.tree


def test_changes_from_outside(api: Client, alice: User) -> None:
    """Once the server has noticed them; no device did it."""
    picture = Picture(api, top=f"{alice.top}/")
    picture.read()
    (alice.server.home("alice") / alice.top.strip("/") / "f").write_bytes(b"outside")
    alice.propfind("", depth="infinity")
    (change,) = picture.follow()
    assert (change["path"], change["sha256"], change["device_id"]) == (f"{alice.top}/f", _sha256(b"outside"), None)


def test_many_files(api: Client, alice: User) -> None:
    """Sixty files, each of them once, whatever the size of the pages."""
    for n in range(60):
        alice.put(f"/{n}", b"%d" % n)
    for limit in (7, 60, 1000):
        picture = Picture(api, limit, f"{alice.top}/")
        picture.read()
        assert picture.tree == {f"{alice.top}/{n}": _sha256(b"%d" % n) for n in range(60)}


def test_times_are_rfc_3339(api: Client, alice: User) -> None:
    """Also those that files have that nobody should trust."""
    for n, seconds in enumerate(("1", "7258118399", "946684800.25")):
        alice.put(f"/{n}", X_OC_Mtime=seconds)
    times = [file["modified_at"] for file in api.get("/state", path=alice.top)["files"]]
    assert len(times) == 3
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", text) for text in times)
