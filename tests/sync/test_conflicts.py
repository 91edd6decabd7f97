"""Conflicts over HTTP: found in plans and in refused requests, looked at, resolved, and nothing lost on the way."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.serving import Server
from tests.sync.client import Client
from tests.sync.device import Device, Failed, sha256

BASE, HERE, THERE = b"in common", b"of the laptop", b"of the phone"
COMMON = {"/d/f.txt": BASE, "/other": b"o", "/third": b"t"}
RESOLUTIONS = ["keep_server", "keep_local", "keep_both"]
COPY = re.compile(r" \(conflict \d{4}-\d\d-\d\d \d{6} laptop\)")


@pytest.fixture
def both(laptop: Device, phone: Device) -> tuple[Device, Device]:
    """Two devices with the same files."""
    laptop.files = dict(COMMON)
    laptop.sync()
    phone.sync()
    return laptop, phone


def _with(**changes: bytes | None) -> Callable[[Device], None]:
    """Let a device have other files; `d_f` stands for the path /d/f.txt."""

    def change(device: Device) -> None:
        for name, body in changes.items():
            path = {"d_f": "/d/f.txt", "new": "/new", "d": "/d", "upper": "/D/F.TXT", "case": "/d/F.txt"}[name]
            if body is None:
                del device.files[path]
            else:
                device.files = {p: b for p, b in device.files.items() if not p.startswith(f"{path}/")}
                device.files[path] = body

    return change


# How it comes about, then what the conflict says: path, kind, whether common, local and server bytes are known, and
# what the tree of both holds after each resolution beside what was common; the copy is called by its name without
# the mark, and a star.
CASES: dict[
    str, tuple[Callable[[Device], None], Callable[[Device], None], tuple[Any, ...], dict[str, dict[str, bytes]]]
] = {
    "both edited": (
        _with(d_f=HERE),
        _with(d_f=THERE),
        ("/d/f.txt", "both_edited", BASE, HERE, THERE),
        {
            "keep_server": {"/d/f.txt": THERE},
            "keep_local": {"/d/f.txt": HERE},
            "keep_both": {"/d/f.txt": THERE, "/d/f*.txt": HERE},
        },
    ),
    "edited here, deleted there": (
        _with(d_f=HERE),
        _with(d_f=None),
        ("/d/f.txt", "edited_here_deleted_there", BASE, HERE, None),
        {"keep_server": {}, "keep_local": {"/d/f.txt": HERE}, "keep_both": {"/d/f.txt": HERE}},
    ),
    "deleted here, edited there": (
        _with(d_f=None),
        _with(d_f=THERE),
        ("/d/f.txt", "deleted_here_edited_there", BASE, None, THERE),
        {"keep_server": {"/d/f.txt": THERE}, "keep_local": {}, "keep_both": {"/d/f.txt": THERE}},
    ),
    "both created": (
        _with(new=HERE),
        _with(new=THERE),
        ("/new", "both_created", None, HERE, THERE),
        {
            "keep_server": {"/d/f.txt": BASE, "/new": THERE},
            "keep_local": {"/d/f.txt": BASE, "/new": HERE},
            "keep_both": {"/d/f.txt": BASE, "/new": THERE, "/new*": HERE},
        },
    ),
    "a file here, a collection there": (
        _with(d=HERE),
        _with(d_f=THERE),
        ("/d", "file_and_collection", None, HERE, None),
        {
            "keep_server": {"/d/f.txt": THERE},
            "keep_local": {"/d": HERE},
            "keep_both": {"/d/f.txt": THERE, "/d*": HERE},
        },
    ),
    "a collection here, a file there": (
        _with(d_f=HERE),
        _with(d=THERE),
        ("/d", "file_and_collection", None, None, THERE),
        {
            "keep_server": {"/d": THERE, "/d*/f.txt": HERE},
            "keep_local": {"/d/f.txt": HERE},
            "keep_both": {"/d": THERE, "/d*/f.txt": HERE},
        },
    ),
    "another spelling": (
        _with(case=HERE),
        _with(d_f=THERE),
        ("/d/F.txt", "name_collision", None, HERE, THERE),
        {
            "keep_server": {"/d/f.txt": THERE},
            "keep_local": {"/d/F.txt": HERE},
            "keep_both": {"/d/f.txt": THERE, "/d/F*.txt": HERE},
        },
    ),
    "a collection spelled otherwise": (
        _with(upper=HERE),
        _with(d_f=THERE),
        ("/D", "name_collision", None, None, None),
        {
            "keep_server": {"/d/f.txt": THERE, "/D*/F.TXT": HERE},
            "keep_local": {"/D/f.txt": THERE, "/D/F*.TXT": HERE},
            "keep_both": {"/d/f.txt": THERE, "/D*/F.TXT": HERE},
        },
    ),
}


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("case", CASES)
def test_resolving(both: tuple[Device, Device], server: Server, case: str, resolution: str) -> None:
    """Both devices end with the same, and what lost is in the history."""
    here, there, (path, kind, *bodies), outcomes = CASES[case]
    laptop, phone = both
    here(laptop)
    there(phone)
    saved = {HERE, THERE} & {*laptop.files.values(), *phone.files.values()}
    phone.sync()
    (conflict,) = laptop.sync()["conflicts"]
    assert (conflict["path"], conflict["kind"], conflict["device_id"]) == (path, kind, laptop.id)
    known = [conflict[name] for name in ("base_sha256", "local_sha256", "server_sha256")]
    assert known == [None if body is None else sha256(body) for body in bodies]
    assert laptop.api.get("/conflicts", device_id=laptop.id)["conflicts"] == [conflict]
    assert laptop.api.get(f"/devices/{laptop.id}")["status"] == "conflicted"
    laptop.resolve(conflict, resolution)
    assert laptop.api.get("/conflicts")["conflicts"] == []
    for _ in range(3):
        for device in both:
            for left in device.sync()["conflicts"]:  # the members of a collection that was renamed to another's name
                assert (kind, resolution) == ("name_collision", "keep_local")
                device.resolve(left, "keep_both")
    assert laptop.files == phone.files
    marked = {COPY.sub("*", path): body for path, body in laptop.files.items()}
    assert marked == {"/other": b"o", "/third": b"t", **outcomes[resolution]}
    assert saved <= {*laptop.files.values(), *_kept(server, laptop)}
    assert [device.api.get(f"/devices/{device.id}")["status"] for device in both] == ["synced", "synced"]


def _kept(server: Server, device: Device) -> set[bytes]:
    """Every byte string in the history of a user."""
    history = server.home(device.api.name) / ".baludav"
    return {file.read_bytes() for file in history.rglob("*") if file.is_file()}


def _conflict(device: Device) -> Any:
    """The one conflict that is open for a device."""
    (conflict,) = device.api.get("/conflicts", device_id=device.id)["conflicts"]
    return conflict


def _collide(both: tuple[Device, Device]) -> tuple[Device, Device]:
    """Two names that differ in case only, made by two devices at the same time."""
    laptop, phone = both
    laptop.files["/Makefile"], phone.files["/makefile"] = HERE, THERE
    plans = [device.plan() for device in both]
    for device, plan in zip(both, plans, strict=True):
        device.apply(plan)
    return both


@pytest.mark.parametrize(
    ("resolution", "left"),
    [
        ("keep_server", {"/makefile": THERE}),
        ("keep_local", {"/Makefile": HERE}),
        ("keep_both", {"/Makefile": HERE, "/Makefile*": THERE}),
    ],
)
def test_names_that_collide_on_the_server(
    both: tuple[Device, Device], server: Server, resolution: str, left: dict[str, bytes]
) -> None:
    """Nothing is downloaded that the device might take for what it has."""
    laptop, phone = _collide(both)
    plan = laptop.plan()
    (conflict,) = plan["conflicts"]
    assert (conflict["path"], conflict["collides_with"]) == ("/Makefile", "/makefile")
    assert plan["undecided"] == [{"path": "/makefile", "reason": "blocked"}]
    assert plan["to_download"] == []
    laptop.resolve(conflict, resolution)
    for device in (laptop, phone, laptop):
        device.sync()
    assert laptop.files == phone.files
    assert {COPY.sub("*", path): body for path, body in laptop.files.items()} == {**COMMON, **left}
    assert {HERE, THERE} <= {*laptop.files.values(), *_kept(server, laptop)}


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_a_name_in_both_forms_on_a_device(both: tuple[Device, Device], server: Server, resolution: str) -> None:
    """Linux keeps both, the server takes them for one: the second must not overwrite the first."""
    laptop, phone = both
    laptop.files["/\u00e9"] = THERE
    laptop.sync()
    laptop.files["/e\u0301"] = HERE
    (conflict,) = laptop.sync()["conflicts"]
    assert (conflict["path"], conflict["collides_with"]) == ("/e\u0301", "/\u00e9")
    laptop.resolve(conflict, resolution)
    for device in (laptop, phone, laptop):
        assert device.sync()["conflicts"] == []
    assert laptop.files == phone.files
    assert laptop.files["/\u00e9"] == (HERE if resolution == "keep_local" else THERE)
    assert {HERE, THERE} <= {*laptop.files.values(), *_kept(server, laptop)}


# Requests that were refused


def test_an_outdated_request_of_a_device_is_a_conflict(both: tuple[Device, Device]) -> None:
    laptop, phone = both
    phone.put("/d/f.txt", THERE)
    outdated = f'"{sha256(BASE)}"'
    refused = laptop.dav("PUT", "/d/f.txt", HERE, If_Match=outdated, OC_Checksum=f"SHA256:{sha256(HERE)}")
    assert refused.status_code == 412
    conflict = _conflict(laptop)
    assert conflict["kind"] == "both_edited"
    known = [conflict[name] for name in ("path", "base_sha256", "local_sha256", "server_sha256")]
    assert known == ["/d/f.txt", sha256(BASE), sha256(HERE), sha256(THERE)]
    assert phone.api.get("/conflicts", device_id=phone.id)["conflicts"] == []
    laptop.files["/d/f.txt"] = HERE
    (step,) = laptop.resolve(conflict, "keep_local")
    assert step["if_match"] == f'"{sha256(THERE)}"'
    phone.sync()
    assert phone.files["/d/f.txt"] == HERE


@pytest.mark.parametrize(
    ("method", "kind"),
    [("DELETE", "deleted_here_edited_there"), ("MOVE", "deleted_here_edited_there"), ("COPY", "both_edited")],
)
def test_other_outdated_requests(both: tuple[Device, Device], method: str, kind: str) -> None:
    laptop, phone = both
    phone.put("/d/f.txt", THERE)
    target = f"{laptop.api.server.url}/dav/new"
    answer = laptop.dav(method, "/d/f.txt", If_Match=f'"{sha256(BASE)}"', Destination=target)
    assert answer.status_code == 412
    assert (_conflict(laptop)["kind"], _conflict(laptop)["local_sha256"]) == (kind, None)


def test_a_device_without_plans(both: tuple[Device, Device]) -> None:
    """A program that knows only WebDAV signs in with the token as a password; once it writes, all is well again."""
    laptop, phone = both
    session = requests.Session()
    session.auth = (laptop.api.name, laptop.api.device["token"])
    url = f"{laptop.api.server.url}/dav/d/f.txt"
    phone.put("/d/f.txt", THERE)
    answer = session.put(url, HERE, headers={"If-Match": f'"{sha256(BASE)}"'}, timeout=30)
    assert answer.status_code == 412
    assert laptop.api.get(f"/devices/{laptop.id}")["conflicts"] == 1
    tag = session.head(url, timeout=30).headers["ETag"]
    assert session.put(url, b"merged", headers={"If-Match": tag}, timeout=30).status_code == 204
    assert laptop.api.get(f"/devices/{laptop.id}")["conflicts"] == 0


def test_without_a_device_nothing_is_recorded(both: tuple[Device, Device]) -> None:
    laptop, _ = both
    auth = laptop.api.server.auth(laptop.api.name)
    url = f"{laptop.api.server.url}/dav/d/f.txt"
    assert requests.put(url, HERE, auth=auth, headers={"If-Match": '"0"'}, timeout=30).status_code == 412
    assert laptop.api.get("/conflicts")["conflicts"] == []


# Resolving


def test_the_answer_is_about_what_is_there_now(both: tuple[Device, Device]) -> None:
    """The server may have changed since the conflict was found; what is there no more needs no step."""
    laptop, phone = both
    laptop.files["/d/f.txt"] = HERE
    phone.put("/d/f.txt", THERE)
    laptop.plan()
    phone.put("/d/f.txt", b"even later")
    answer = laptop.api.post(f"/conflicts/{_conflict(laptop)['conflict_id']}/resolve", resolution="keep_local")
    assert answer["resolution"] == "keep_local"
    (step,) = answer["steps"]
    assert step == {
        "action": "upload", "path": "/d/f.txt", "to": None, "source": "/d/f.txt",
        "if_match": f'"{sha256(b"even later")}"', "if_none_match": None,
    }  # fmt: skip
    phone.put("/d/f.txt", b"and once more")
    with pytest.raises(Failed) as failed:
        laptop.take(step)
    assert failed.value.status == 412
    assert _conflict(laptop)["server_sha256"] == sha256(b"and once more"), "it is open again"
    phone.dav("DELETE", "/d/f.txt")
    laptop.resolve(_conflict(laptop), "keep_both")
    assert phone.dav("GET", "/d/f.txt").content == HERE


def test_a_conflict_is_resolved_once(both: tuple[Device, Device], others: Client) -> None:
    laptop, phone = both
    laptop.files["/d/f.txt"] = HERE
    phone.put("/d/f.txt", THERE)
    (conflict,) = laptop.plan()["conflicts"]
    path = f"/conflicts/{conflict['conflict_id']}/resolve"
    assert others("POST", path, json={"resolution": "keep_local"}).status_code == 404
    assert others.get("/conflicts")["conflicts"] == []
    assert others("GET", "/conflicts", params={"device_id": laptop.id}).status_code == 404
    assert laptop.api("POST", f"/conflicts/{'0' * 32}/resolve", json={"resolution": "keep_both"}).status_code == 404
    answer = laptop.api("POST", path, json={"resolution": "keep_nothing"})
    assert (answer.status_code, answer.json()["field"]) == (422, "resolution")
    phone.api.post(path, resolution="keep_server")
    answer = laptop.api("POST", path, json={"resolution": "keep_local"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:baludav:problem:already-resolved")
    assert laptop.api.get("/conflicts")["conflicts"] == []
    assert _paths(laptop.plan()["conflicts"]) == ["/d/f.txt"], "nobody has done it"


def test_a_conflict_that_settled_itself(both: tuple[Device, Device]) -> None:
    laptop, phone = both
    laptop.files["/d/f.txt"] = HERE
    phone.put("/d/f.txt", THERE)
    (conflict,) = laptop.plan()["conflicts"]
    phone.put("/d/f.txt", HERE)
    assert laptop.plan()["conflicts"] == []
    path = f"/conflicts/{conflict['conflict_id']}/resolve"
    assert laptop.api("POST", path, json={"resolution": "keep_local"}).status_code == 404


def test_a_conflict_copy_is_never_copied_again(both: tuple[Device, Device], server: Server) -> None:
    laptop, phone = both
    name = "/d/f (conflict 2024-01-02 030405 laptop).txt"
    for device, body in ((laptop, HERE), (phone, THERE)):
        device.files[name] = body
    phone.sync()
    (conflict,) = laptop.plan()["conflicts"]
    assert conflict["conflict_path"] is None
    laptop.resolve(conflict, "keep_both")
    phone.sync()
    assert laptop.files == phone.files == {**COMMON, name: HERE}
    assert THERE in _kept(server, laptop)


def test_a_device_that_dies_on_the_way(both: tuple[Device, Device]) -> None:
    """After each step it may die: the next plan goes on from there, and nothing is lost or doubled."""
    laptop, phone = both
    laptop.files["/d/f.txt"] = HERE
    phone.put("/d/f.txt", THERE)
    laptop.plan()
    answer = laptop.api.post(f"/conflicts/{_conflict(laptop)['conflict_id']}/resolve", resolution="keep_both")
    assert [step["action"] for step in answer["steps"]] == ["move_local", "upload", "download"]
    laptop.take(answer["steps"][0])
    plan = laptop.sync()
    assert plan["conflicts"] == []
    phone.sync()
    assert laptop.files == phone.files
    assert sorted(laptop.files.values()) == sorted([HERE, THERE, b"o", b"t"])


def _paths(items: list[Any]) -> list[str]:
    return [item["path"] for item in items]
