"""Ids of others: whoever tries one is answered as if it had never been, and nothing happens to what it names."""

import base64
import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.attacks.attacker import Attacker
from tests.http.client import User, etag
from tests.serving import Server
from tests.sync.client import Client

OLD, NEW = b"victor's first draft", b"victor's second draft"


class Loot(NamedTuple):
    """What Victor has, by the ids that his own clients know."""

    version: str
    trash: str
    device: str
    lock: str
    file: str
    upload: str
    part: str
    conflict: str


# Of the same form, and nobody's.
NEVER = Loot(
    "9" * 9, "9" * 9, "0" * 32, "urn:uuid:00000000-0000-4000-8000-000000000000", "9" * 8, "0" * 24, "0" * 24, "0" * 32
)


@pytest.fixture(scope="module")
def loot(fort: Server) -> Iterator[Loot]:
    victor, api = User(fort, "victor"), Client(fort, "victor")
    cloud, uploads = User(fort, "victor", mount="/remote.php/dav/files/victor"), User(fort, "victor", mount="/uploads")
    laptop = api.registered()
    victor.put("/diary", OLD)
    victor.put("/gone", OLD)
    victor("DELETE", "/gone")
    stale = {"If-Match": etag(b"another"), "Authorization": f"Bearer {laptop.device['token']}"}
    assert laptop.session.put(victor.url("/diary"), b"edited there", headers=stale, timeout=60).status_code == 412
    said = cloud.put("/diary", NEW).headers
    tus = {"Tus_Resumable": "1.0.0", "Upload_Length": "9"}
    upload = uploads("POST", "/", b"", Upload_Metadata=_path("/from-tus"), **tus).headers["Location"]
    part = uploads("POST", "/", b"", Upload_Concat="partial", **tus).headers["Location"]
    yield Loot(
        version=api.get("/history", path="/diary")["versions"][0]["version"],
        trash=api.get("/trash")["entries"][0]["trash_id"],
        device=laptop.device["device_id"],
        lock=victor.lock("/diary", timeout="Second-3600"),
        file=said["OC-FileId"].partition("oc")[0],
        upload=upload.rpartition("/")[2],
        part=part.rpartition("/")[2],
        conflict=api.get("/conflicts")["conflicts"][0]["conflict_id"],
    )


def _path(path: str) -> str:
    return f"path {base64.b64encode(path.encode()).decode()}"


def _api(method: str, path: str, /, **body: object) -> tuple[str, str, tuple[str, ...], bytes]:
    return method, f"/api/sync{path}", ("Content-Type: application/json",), json.dumps(body).encode() if body else b""


TUS = "Tus-Resumable: 1.0.0"
CLOUD = "/remote.php/dav"
Attempt = tuple[str, str, tuple[str, ...], bytes]


def _attempts(of: Loot) -> dict[str, Attempt]:
    """Every door at which an id of that kind can be tried, by name."""
    bytes_ = ("Content-Type: application/offset+octet-stream", TUS, "Upload-Offset: 0")
    final = (TUS, f"Upload-Concat: final;/uploads/{of.part}", f"Upload-Metadata: {_path('/stolen')}")
    restore = f"Destination: {CLOUD}/versions/mallory/restore/x"
    return {
        "history": _api("GET", "/history?path=/diary"),
        "state": _api("GET", "/state?path=/diary"),
        "restore a version": _api("POST", "/history/restore", path="/mine", version=of.version),
        "restore from the trash": _api("POST", "/trash/restore", trash_id=of.trash),
        "look at a device": _api("GET", f"/devices/{of.device}"),
        "end a device": _api("DELETE", f"/devices/{of.device}"),
        "conflicts of a device": _api("GET", f"/conflicts?device_id={of.device}"),
        "resolve a conflict": _api("POST", f"/conflicts/{of.conflict}/resolve", resolution="keep_local"),
        "end a lock": _api("DELETE", f"/locks/{of.lock}"),
        "locks in the way": _api("GET", "/locks?path=/diary"),
        "ask for an upload": ("HEAD", f"/uploads/{of.upload}", (TUS,), b""),
        "go on with an upload": ("PATCH", f"/uploads/{of.upload}", bytes_, b"poison"),
        "give up an upload": ("DELETE", f"/uploads/{of.upload}", (TUS,), b""),
        "take a part": ("POST", "/uploads/", final, b""),
        "versions by an id": ("PROPFIND", f"{CLOUD}/versions/mallory/versions/{of.file}", ("Depth: 1",), b""),
        "a version by its id": ("GET", f"{CLOUD}/versions/mallory/versions/{of.file}/1.{of.version}", (), b""),
        "restore by ids": ("MOVE", f"{CLOUD}/versions/mallory/versions/{of.file}/1.{of.version}", (restore,), b""),
        "read from the trash": ("GET", f"{CLOUD}/trashbin/mallory/trash/gone.d{of.trash}", (), b""),
        "remove for good": ("DELETE", f"{CLOUD}/trashbin/mallory/trash/gone.d{of.trash}", (), b""),
        "unlock": ("UNLOCK", "/dav/mine", (f"Lock-Token: <{of.lock}>",), b""),
        "refresh a lock": ("LOCK", "/dav/mine", (f"If: (<{of.lock}>)", "Timeout: Second-60"), b""),
        "write with a lock": ("PUT", "/dav/mine", (f"If: (<{of.lock}>)",), b"x"),
        "chunks into an upload": ("PUT", f"{CLOUD}/uploads/mallory/{of.upload}/1", (), b"poison"),
        "end chunks": ("DELETE", f"{CLOUD}/uploads/mallory/{of.upload}", (), b""),
    }  # fmt: skip


@pytest.mark.parametrize("name", _attempts(NEVER))
def test_what_is_another_s_never_was(mallory: Attacker, loot: Loot, name: str) -> None:
    """The same answer, letter by letter, as for an id that nothing has."""
    mallory("DELETE", "/dav/mine")
    assert mallory("PUT", "/dav/mine", body=b"mine").status == 201
    answers = []
    for of in (loot, NEVER):
        method, target, fields, body = _attempts(of)[name]
        answer = mallory(method, target, *fields, body=body)
        assert answer.status in (404, 409, 412) or name == "unlock", answer  # what is gone is unlocked already
        text = answer.body.decode()
        for one in (one for one in of if len(one) >= len(NEVER.file)):
            text = text.replace(one, "ID")
        answers.append((answer.status, text))
    assert answers[0] == answers[1]
    assert mallory("GET", "/dav/mine").body == b"mine"


def test_the_token_of_another_in_a_shared_folder(fort: Server, mallory: Attacker, victor: User) -> None:
    """Who may write there sees the lock and its token; to know it is not to hold it (RFC 4918 §6.4)."""
    victor("MKCOL", "/Team/plans")
    victor.put("/Team/plans/doc", b"agreed")
    token = victor.lock("/Team/plans")
    assert token in mallory("PROPFIND", "/dav/Team/plans", "Depth: 0").body.decode()
    doc, whole, submitted = "/dav/Team/plans/doc", "/dav/Team/plans", f"If: (<{token}>)"
    tagged = f"If: </dav/Team/plans> (<{token}>)"
    lockinfo = b"<lockinfo xmlns='DAV:'><lockscope><%s/></lockscope><locktype><write/></locktype></lockinfo>"
    for method, target, fields, body in (
        ("PUT", doc, (submitted,), b"poison"),
        ("PUT", f"{whole}/new", (tagged,), b"poison"),
        ("DELETE", doc, (submitted,), b""),
        ("DELETE", whole, (tagged,), b""),
        ("MOVE", doc, (submitted, "Destination: /dav/stolen"), b""),
        ("MOVE", whole, (submitted, "Destination: /dav/stolen"), b""),
        ("COPY", "/dav/Team", (tagged, "Destination: /dav/Team/plans"), b""),
        ("MKCOL", f"{whole}/sub", (tagged,), b""),
        ("LOCK", doc, (), lockinfo % b"shared"),
        ("LOCK", doc, (submitted,), lockinfo % b"exclusive"),
        ("LOCK", whole, (submitted, "Timeout: Second-60"), b""),
        ("LOCK", whole, (f"Lock-Token: <{token}>", "Timeout: Second-60"), b""),
        ("UNLOCK", whole, (f"Lock-Token: <{token}>",), b""),
        ("UNLOCK", doc, (f"Lock-Token: <{token}>",), b""),
        ("DELETE", f"/api/sync/locks/{token}", (), b""),
    ):
        answer = mallory(method, target, *fields, body=body)
        assert answer.status in (403, 404, 409, 412, 423), (method, target, fields, answer)
    assert victor.get("/Team/plans/doc").content == b"agreed"
    assert set(victor.propfind("/Team/plans", depth="1")) == {"/Team/plans", "/Team/plans/doc"}
    assert victor.put("/Team/plans/doc", b"mine", If=submitted.removeprefix("If: ")).status_code == 204
    assert victor("UNLOCK", "/Team/plans", Lock_Token=f"<{token}>").status_code == 204


def test_the_owner_has_everything_as_it_was(loot: Loot, fort: Server, victor: User) -> None:
    """After all that."""
    api = Client(fort, "victor")
    assert victor.get("/diary").content == NEW
    assert loot.lock in (victor.prop("/diary", "{DAV:}lockdiscovery") or "")
    assert loot.device in {device["device_id"] for device in api.get("/devices")["devices"]}
    assert [one["conflict_id"] for one in api.get("/conflicts")["conflicts"]] == [loot.conflict]
    uploads = User(fort, "victor", mount="/uploads")
    for upload in (loot.upload, loot.part):
        assert uploads("HEAD", f"/{upload}", Tus_Resumable="1.0.0").headers["Upload-Offset"] == "0"
    assert api.post("/trash/restore", trash_id=loot.trash)["path"] == "/gone"
    assert victor.get("/gone").content == OLD
