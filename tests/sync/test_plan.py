"""The plan over HTTP: what two devices are told, and that they end with the same."""

import shutil
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from baludav.db.engine import Database
from baludav.db.tables import journal, resources
from baludav.tree.upkeep import expiry
from tests.crash.installation import open_installation
from tests.serving import Server, wait_for
from tests.sync.client import Client
from tests.sync.device import Device, sha256

JSON = "application/json"
PATHS = ["to_delete_local", "to_delete_remote", "to_download", "to_upload", "conflicts"]
EMPTY_PLAN: dict[str, Any] = {
    "to_download": [], "to_upload": [], "to_delete_local": [], "to_delete_remote": [], "conflicts": [],
    "undecided": [], "mass_deletion": False,
}  # fmt: skip


def _says(plan: Any) -> dict[str, Any]:
    """What of a plan is not as in one that says nothing."""
    return {name: value for name, value in plan.items() if name != "change_token" and value != EMPTY_PLAN[name]}


def _paths(plan: Any, kind: str) -> list[str]:
    return [item["path"] for item in plan[kind]]


def test_nothing_here_nothing_there(laptop: Device) -> None:
    plan = laptop.plan()
    assert plan == EMPTY_PLAN | {"change_token": plan["change_token"]}
    assert laptop.api.get("/changes", since=plan["change_token"])["changes"] == []


def test_files_go_from_one_device_to_the_other(laptop: Device, phone: Device) -> None:
    laptop.files = {"/a.txt": b"one", "/d/Ä %41 ö/b": b"two", "/d/empty": b""}
    plan = laptop.plan()
    upload = {"if_match": None, "if_none_match": "*"}
    assert _says(plan) == {"to_upload": [{"path": path, **upload} for path in sorted(laptop.files)]}
    laptop.apply(plan)
    assert _says(laptop.plan()) == {}
    plan = phone.plan()
    assert _says(plan).keys() == {"to_download"}
    file = next(item for item in plan["to_download"] if item["path"] == "/d/Ä %41 ö/b")
    assert (file["size"], file["sha256"], file["etag"]) == (3, sha256(b"two"), f'"{sha256(b"two")}"')
    state = {file["path"]: file for file in phone.api.get("/state")["files"]}
    assert {item["path"]: item for item in plan["to_download"]} == state, "as the state says it"
    phone.apply(plan)
    assert phone.files == laptop.files
    for device in (laptop, phone):
        assert _says(device.plan()) == {}
        assert device.api.get(f"/devices/{device.id}")["status"] == "synced"


def test_edits_and_deletions_go_both_ways(laptop: Device, phone: Device) -> None:
    laptop.files = {f"/d/{name}": name.encode() for name in "abcdefgh"}
    laptop.sync()
    phone.sync()
    laptop.files["/d/a"] = b"edited on the laptop"
    del laptop.files["/d/b"]
    laptop.files["/d/new"] = b"new"
    assert _says(laptop.sync()) == {
        "to_upload": [
            {"path": "/d/a", "if_match": f'"{sha256(b"a")}"', "if_none_match": None},
            {"path": "/d/new", "if_match": None, "if_none_match": "*"},
        ],
        "to_delete_remote": [{"path": "/d/b", "is_collection": False, "if_match": f'"{sha256(b"b")}"'}],
    }
    phone.files["/d/c"] = b"edited on the phone"
    plan = phone.sync()
    assert _paths(plan, "to_download") == ["/d/a", "/d/new"]
    assert plan["to_delete_local"] == [{"path": "/d/b", "sha256": sha256(b"b")}]
    assert _paths(plan, "to_upload") == ["/d/c"]
    assert _paths(laptop.sync(), "to_download") == ["/d/c"]
    assert laptop.files == phone.files
    assert "/d/b" not in laptop.files


def test_a_file_takes_the_place_of_a_collection_and_back(laptop: Device, phone: Device) -> None:
    laptop.files = {"/x/a": b"a", "/x/deep/b": b"b", "/y": b"y", "/keep": b"k", "/too": b"t"}
    laptop.sync()
    phone.sync()
    laptop.files = {"/x": b"now a file", "/y/a": b"now a collection", "/keep": b"k", "/too": b"t"}
    plan = laptop.sync()
    assert [(item["path"], item["is_collection"]) for item in plan["to_delete_remote"]] == [("/x", True), ("/y", False)]
    phone.sync()
    assert phone.files == laptop.files
    assert [_says(device.plan()) for device in (laptop, phone)] == [{}, {}]


def test_a_collection_that_changed_meanwhile_is_not_deleted(laptop: Device, phone: Device) -> None:
    laptop.files = {"/x/a": b"a", "/keep": b"k"}
    laptop.sync()
    laptop.files = {"/x": b"now a file", "/keep": b"k"}
    plan = laptop.plan()
    phone.put("/x/new", b"just made")
    (deletion,) = plan["to_delete_remote"]
    assert laptop.dav("DELETE", "/x", If_Match=deletion["if_match"]).status_code == 412
    plan = laptop.plan()
    assert [(one["path"], one["kind"]) for one in plan["conflicts"]] == [("/x", "file_and_collection")]
    assert plan["undecided"] == [{"path": "/x/new", "reason": "blocked"}]


def test_a_plan_is_out_of_date_at_once(laptop: Device, phone: Device) -> None:
    """Between plan and step somebody is quicker: the condition of the step holds it back."""
    laptop.files = {"/a": b"old", "/b": b"old"}
    laptop.sync()
    laptop.files = {"/a": b"edited"}
    plan = laptop.plan()
    phone.put("/a", b"quicker")
    phone.put("/b", b"quicker")
    (upload,), (deletion,) = plan["to_upload"], plan["to_delete_remote"]
    assert laptop.dav("PUT", "/a", b"edited", If_Match=upload["if_match"]).status_code == 412
    assert laptop.dav("DELETE", "/b", If_Match=deletion["if_match"]).status_code == 412
    found = laptop.api.get("/conflicts")["conflicts"]
    assert [(one["path"], one["kind"]) for one in found] == [
        ("/a", "both_edited"),
        ("/b", "deleted_here_edited_there"),
    ]
    again = laptop.plan()["conflicts"]
    assert [one["conflict_id"] for one in again] == [one["conflict_id"] for one in found], "the plan finds the same"


def test_decomposed_names_are_the_same_files(laptop: Device, phone: Device) -> None:
    """macOS lists a name decomposed; the server knows it in either form, and so does the plan."""
    name = "/Übung/Größe.txt"
    other = unicodedata.normalize("NFD", name)
    laptop.files = {name: b"one"}
    laptop.sync()
    phone.files = {other: b"one"}
    assert _says(phone.sync()) == {}
    phone.files[other] = b"two"
    assert _says(phone.sync()) == {
        "to_upload": [{"path": other, "if_match": f'"{sha256(b"one")}"', "if_none_match": None}]
    }
    laptop.sync()
    assert laptop.files == {name: b"two"}
    laptop.files[name] = b"three"
    laptop.sync()
    assert _paths(phone.sync(), "to_download") == [other]
    del phone.files[other]
    assert _paths(phone.sync(), "to_delete_remote") == [other]
    assert _paths(laptop.plan(), "to_delete_local") == [name]


def test_a_file_and_a_collection_in_two_forms(laptop: Device) -> None:
    """Linux can have both, the server takes them for one: a conflict, but no reason to refuse the list."""
    laptop.files = {"/\u00e9/x": b"in a collection", "/e\u0301": b"a file"}
    plan = laptop.sync()
    assert [(one["path"], one["collides_with"]) for one in plan["conflicts"]] == [("/\u00e9", "/e\u0301")]
    laptop.resolve(plan["conflicts"][0], "keep_both")
    assert laptop.sync()["conflicts"] == []
    assert laptop.plan()["undecided"] == []
    assert sorted(laptop.files.values()) == [b"a file", b"in a collection"]


def test_mass_deletion_is_flagged(laptop: Device, phone: Device) -> None:
    laptop.files = {f"/{number}": b"%d" % number for number in range(5)}
    laptop.sync()
    phone.sync()
    kept = dict(laptop.files)
    laptop.files = {}
    plan = laptop.plan()
    assert plan["mass_deletion"], "the disk of the device is gone"
    assert len(plan["to_delete_remote"]) == 5
    laptop.files = {"/0": b"0", "/1": b"1", "/2": b"2"}
    assert not laptop.plan()["mass_deletion"]
    laptop.files = {f"/moved{path}": body for path, body in kept.items()}
    plan = laptop.plan()
    assert not plan["mass_deletion"], "a move deletes nothing"
    laptop.apply(plan)
    assert not phone.plan()["mass_deletion"]
    phone.sync()
    for path in list(phone.files)[:3]:
        phone.dav("DELETE", path)
    assert laptop.plan()["mass_deletion"]


def test_equal_bytes_are_no_conflict(laptop: Device, phone: Device) -> None:
    laptop.files = {"/a": b"same", "/b": b"old"}
    phone.files = {"/a": b"same"}
    laptop.sync()
    assert _paths(phone.sync(), "to_download") == ["/b"]
    laptop.files["/b"] = phone.files["/b"] = b"both edited it to this"
    laptop.sync()
    assert _says(phone.sync()) == {}
    assert phone.base == laptop.base


# Devices, or servers, that were away


def test_a_device_whose_token_expired_compares_by_content(tmp_path: Path) -> None:
    """The tombstones are gone: still nothing is deleted, and nothing comes back, that should not."""
    with Server(tmp_path / "data", workers=1) as server:
        server.add_user("alice")
        api = Client(server, "alice")
        laptop, phone = Device(api, "laptop"), Device(api, "phone")
        laptop.files = {f"/{name}": name.encode() for name in ("kept", "edited", "deleted", "deleted too", "both")}
        laptop.sync()
        token = phone.sync()["change_token"]
        phone.files |= {"/new": b"made while away", "/both": b"edited while away"}
        del phone.files["/deleted too"]
        laptop.files |= {"/edited": b"again", "/from laptop": b"new", "/both": b"edited on the laptop"}
        del laptop.files["/deleted"]
        laptop.sync()
        server.stop()
        house = open_installation(tmp_path)
        house.database.commit(lambda connection: connection.execute(update(journal).values(at_ns=1)))
        expiry.expire_all(house.tree)
        house.close()
        server.start()
        assert phone.api("GET", "/changes", params={"since": token}).status_code == 410
        plan = phone.plan(change_token=token)
        assert {kind: _paths(plan, kind) for kind in PATHS} == {
            "to_delete_local": ["/deleted"],
            "to_delete_remote": ["/deleted too"],
            "to_download": ["/edited", "/from laptop"],
            "to_upload": ["/new"],
            "conflicts": ["/both"],
        }
        assert not plan["mass_deletion"]


def test_a_server_that_was_restored_from_an_older_backup(tmp_path: Path) -> None:
    """What the device has in common with the lost days is newer, not deleted: no device may throw it away."""
    with Server(tmp_path / "data", workers=1) as server:
        server.add_user("alice")
        laptop = Device(Client(server, "alice"), "laptop")
        laptop.files = {"/kept": b"kept", "/edited": b"old", "/deleted here": b"d", "/same": b"s"}
        laptop.sync()
        server.stop()
        shutil.copytree(server.data, tmp_path / "backup")
        server.start()
        laptop.files |= {"/edited": b"new", "/lost": b"made after the backup"}
        token = laptop.sync()["change_token"]
        token = laptop.plan()["change_token"]
        del laptop.files["/deleted here"]
        server.stop()
        shutil.rmtree(server.data)
        shutil.copytree(tmp_path / "backup", server.data)
        server.start()
        trusting = laptop.plan()
        assert (_paths(trusting, "to_delete_local"), _paths(trusting, "to_download")) == (["/lost"], ["/edited"])
        plan = laptop.plan(change_token=token)
        assert {kind: _paths(plan, kind) for kind in PATHS} == {
            "to_delete_local": [],
            "to_delete_remote": ["/deleted here"],
            "to_download": [],
            "to_upload": ["/lost"],
            "conflicts": ["/edited"],
        }
        assert _paths(laptop.plan(change_token="anything"), "to_upload") == ["/lost"]
        assert _paths(laptop.plan(change_token=plan["change_token"]), "to_upload") == []


# What cannot be done


def test_what_may_only_be_read(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "file").write_bytes(b"shared")
    shares = {"pub": {"folder": str(tmp_path / "share"), "read": ["alice"]}}
    with Server(tmp_path / "data", workers=1, shares=shares) as server:
        server.add_user("alice")
        laptop = Device(Client(server, "alice"), "laptop")
        wait_for(lambda: "/pub/file" in _paths(laptop.plan(), "to_download"), 20, "the share is in the index")
        laptop.sync()
        assert laptop.files == {"/pub/file": b"shared"}
        laptop.files = {"/pub/file": b"edited", "/pub/new": b"new", "/public": b"is no share"}
        plan = laptop.plan()
        assert _paths(plan, "to_upload") == ["/public"]
        assert plan["undecided"] == [{"path": path, "reason": "read_only"} for path in ("/pub/file", "/pub/new")]
        del laptop.files["/pub/file"]
        assert laptop.plan()["undecided"][0] == {"path": "/pub/file", "reason": "read_only"}
        laptop.files = {"/pub": b"a file named as the share"}
        laptop.base = {}
        plan = laptop.plan()
        assert [(one["path"], one["kind"]) for one in plan["conflicts"]] == [("/pub", "file_and_collection")]
        assert plan["to_delete_remote"] == []


def test_names_that_the_server_cannot_store(laptop: Device) -> None:
    laptop.files = {"/" + "ü" * 128: b"1", "/d/.BaluDAV/x": b"2", "/ü" * 1200: b"3", "/ü" + "/ü" * 200: b"3"}
    laptop.files["/ok"] = b"4"
    plan = laptop.plan()
    assert _paths(plan, "to_upload") == ["/ok"]
    assert {item["path"]: item["reason"] for item in plan["undecided"]} == dict.fromkeys(
        laptop.files.keys() - {"/ok"}, "name"
    )


def test_bytes_that_are_not_hashed_yet(tmp_path: Path) -> None:
    with Server(tmp_path / "data", workers=1) as server:
        server.add_user("alice")
        laptop = Device(Client(server, "alice"), "laptop")
        laptop.files = {"/a": b"a", "/b": b"b"}
        laptop.sync()
        database = Database(server.data / "index.db")
        unknown = update(resources).where(resources.c.name == "a").values(sha256=None)
        database.commit(lambda connection: connection.execute(unknown))
        database.close()
        assert _says(laptop.plan()) == {"undecided": [{"path": "/a", "reason": "not_hashed"}]}
        fresh = Device(Client(server, "alice"), "new")
        (file, _) = fresh.plan()["to_download"]
        assert (file["path"], file["sha256"], file["etag"]) == ("/a", None, None)
        fresh.sync()
        assert fresh.files == {"/a": b"a", "/b": b"b"}


# What is refused


WRONG: list[tuple[object, str]] = [
    ({"path": "a"}, "files[0].path"),
    ({"path": "/a/../b"}, "files[0].path"),
    ({"path": "/"}, "files[0].path"),
    ({"path": "/a/"}, "files[0].path"),
    ({"path": "//a"}, "files[0].path"),
    ({"path": "/a\nb"}, "files[0].path"),
    ({"path": "/\ufffe"}, "files[0].path"),
    ({"path": "/a", "sha256": "A" * 64}, "files[0].sha256"),
    ({"path": "/a", "sha256": "a"}, "files[0].sha256"),
    ({"path": "/a", "base_sha256": 1}, "files[0].base_sha256"),
    ({"path": "/a", "size": -1}, "files[0].size"),
    ({"path": "/a", "modified_at": "yesterday"}, "files[0].modified_at"),
    ({"path": "/a", "hash": "a" * 64}, "files[0].hash"),
    ("/a", "files[0]"),
]


@pytest.mark.parametrize(("wrong", "field"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_list_with_something_wrong_in_it(laptop: Device, wrong: object, field: str) -> None:
    entry = {"sha256": "a" * 64, **wrong} if isinstance(wrong, dict) else wrong
    answer = laptop.api("POST", "/changes", json={"device_id": laptop.id, "files": [entry]})
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


def test_lists_that_cannot_be(laptop: Device) -> None:
    for first, second, field in (("/a", "/a", "files[1].path"), ("/a", "/a/b", "files[0].path")):
        files = [{"path": path, "sha256": "a" * 64} for path in (first, second)]
        answer = laptop.api("POST", "/changes", json={"device_id": laptop.id, "files": files})
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    files[0]["sha256"] = None  # type: ignore[assignment]  # a file that became a collection
    assert laptop.api("POST", "/changes", json={"device_id": laptop.id, "files": files}).status_code == 200
    for body in ({"device_id": laptop.id}, {"files": []}, {"device_id": "x", "files": []}):
        assert laptop.api("POST", "/changes", json=body).status_code == 422


def test_a_list_that_is_too_long(laptop: Device) -> None:
    answer = laptop.api("POST", "/changes", data=b" " * (32 * 1024 * 1024 + 1), headers={"Content-Type": JSON})
    assert answer.status_code == 413


def test_only_the_own_devices(laptop: Device, others: Client) -> None:
    for device_id in (laptop.id, "0" * 32):
        answer = others("POST", "/changes", json={"device_id": device_id, "files": []})
        assert answer.status_code == 404


def test_a_long_list(laptop: Device) -> None:
    """10,000 files on both sides but for a few: the plan names just these."""
    home = laptop.api.server.home(laptop.api.name)
    for folder in range(10):
        (home / f"{folder}").mkdir()
        for number in range(1000):
            (home / f"{folder}" / f"{number}").write_bytes(b"%d" % (number % 7))
    assert laptop.dav("PROPFIND", "/", Depth="infinity").status_code == 207
    laptop.files = {f"/{folder}/{number}": b"%d" % (number % 7) for folder in range(10) for number in range(1000)}
    laptop.sync()
    laptop.files["/3/14"] = b"edited"
    laptop.files["/new"] = b"new"
    del laptop.files["/9/999"]
    begun = time.monotonic()
    plan = laptop.plan()
    seconds = time.monotonic() - begun
    assert (_paths(plan, "to_upload"), _paths(plan, "to_delete_remote")) == (["/3/14", "/new"], ["/9/999"])
    assert _says(plan).keys() == {"to_upload", "to_delete_remote"}
    assert seconds < 5
