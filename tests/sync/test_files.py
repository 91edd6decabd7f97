"""Files written without being sent: wherever the user has the bytes, under conditions, and nobody else's."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.http.client import User, etag
from tests.serving import Server
from tests.sync.client import Client


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _ask(api: Client, path: str, body: bytes, **more: Any) -> requests.Response:
    return api("POST", "/files", json={"path": path, "sha256": _sha256(body), "size": len(body), **more})


def _body(alice: User) -> bytes:
    """Bytes that are nowhere else."""
    return f"only {alice.top}".encode() + os.urandom(100_000)


def _put(alice: User, body: bytes) -> None:
    alice.put("/other", body)


def _overwrite(alice: User, body: bytes) -> None:
    alice.put("/other", body)
    alice.put("/other", b"newer")


def _delete(alice: User, body: bytes) -> None:
    alice.put("/other", body)
    assert alice("DELETE", "/other").status_code == 204


def _delete_collection(alice: User, body: bytes) -> None:
    alice("MKCOL", "/c")
    alice("MKCOL", "/c/d")
    alice.put("/c/d/other", body)
    assert alice("DELETE", "/c").status_code == 204


def _overwrite_and_delete(alice: User, body: bytes) -> None:
    _overwrite(alice, body)
    assert alice("DELETE", "/other").status_code == 204


@pytest.mark.parametrize("have", [_put, _overwrite, _delete, _delete_collection, _overwrite_and_delete])
def test_bytes_that_are_there(have: Any, api: Client, alice: User) -> None:
    """As a file, a version, in the trash, below what is in the trash, a version of what is in the trash."""
    body = _body(alice)
    have(alice, body)
    answer = _ask(api, f"{alice.top}/f", body, modified_at="2009-02-13T23:31:30Z")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "path": f"{alice.top}/f", "size": len(body), "sha256": _sha256(body), "etag": etag(body),
        "modified_at": "2009-02-13T23:31:30Z",
    }  # fmt: skip
    found = alice.get("/f")
    assert (found.content, found.headers["ETag"]) == (body, etag(body))
    assert found.headers["Last-Modified"] == "Fri, 13 Feb 2009 23:31:30 GMT"


def test_bytes_that_are_not(api: Client, alice: User) -> None:
    """404, and then an ordinary upload."""
    body = _body(alice)
    assert _ask(api, f"{alice.top}/f", body).status_code == 404
    assert alice.get("/f").status_code == 404
    alice.put("/f", body)
    assert _ask(api, f"{alice.top}/g", body).status_code == 200
    wrong = {"path": f"{alice.top}/h", "sha256": _sha256(body), "size": len(body) - 1}
    assert api("POST", "/files", json=wrong).status_code == 404


def test_two_files_are_never_one(server: Server, api: Client, alice: User) -> None:
    """They share no inode: what changes one on the disk does not change the other."""
    body = _body(alice)
    alice.put("/other", body)
    _ask(api, f"{alice.top}/f", body)
    first, second = (server.home("alice") / alice.top.strip("/") / name for name in ("other", "f"))
    assert (first.stat().st_nlink, second.stat().st_nlink) == (1, 1)
    with first.open("r+b") as file:
        file.write(b"changed outside")
    assert second.read_bytes() == body


def test_nothing_of_the_other_file_comes_along(api: Client, alice: User) -> None:
    """Neither its properties nor its place in the history."""
    body = _body(alice)
    alice.put("/other", body)
    update = '<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:t">1</a></prop></set></propertyupdate>'
    assert alice("PROPPATCH", "/other", update).status_code == 207
    assert _ask(api, f"{alice.top}/f", body).status_code == 200
    assert alice.prop("/f", "{urn:t}a") is None
    assert alice.prop("/other", "{urn:t}a") == "1"


def test_what_a_device_expects(api: Client, alice: User) -> None:
    """412 if something else is there, noted as its conflict; what was replaced is a version."""
    device = api.registered()
    body = _body(alice)
    alice.put("/other", body)
    alice.put("/f", b"theirs")
    path = f"{alice.top}/f"
    assert _ask(device, path, body).status_code == 412
    assert _ask(device, path, body, base_sha256=_sha256(b"what it was")).status_code == 412
    assert alice.get("/f").content == b"theirs"
    conflicts = device.get("/conflicts")["conflicts"]
    assert [(one["path"], one["kind"]) for one in conflicts if one["path"] == path] == [(path, "both_edited")]
    assert _ask(device, path, body, base_sha256=_sha256(b"theirs")).status_code == 200
    assert [one["sha256"] for one in api.get("/history", path=path)["versions"]] == [_sha256(b"theirs")]
    assert [one for one in device.get("/conflicts")["conflicts"] if one["path"] == path] == []
    assert _ask(device, path, body, base_sha256=_sha256(b"theirs")).status_code == 200, "its answer was lost"


def test_locks_and_places_that_cannot_be(api: Client, alice: User) -> None:
    body = _body(alice)
    alice.put("/other", body)
    alice.put("/locked", b"old")
    alice.lock("/locked")
    assert _ask(api, f"{alice.top}/locked", body, base_sha256=_sha256(b"old")).status_code == 423
    assert _ask(api, f"{alice.top}/no/such/collection", body).status_code == 409
    alice("MKCOL", "/c")
    assert _ask(api, f"{alice.top}/c", body, base_sha256=_sha256(b"x")).status_code == 412
    assert _ask(api, "/.baludav/f", body).status_code == 403
    assert _ask(api, f"{alice.top}/f", body, modified_at="1969-12-31T23:59:59Z").status_code == 400
    assert alice.get("/f").status_code == 404


def test_an_empty_file(api: Client, alice: User) -> None:
    alice.put("/empty", b"")
    assert _ask(api, f"{alice.top}/f", b"").status_code == 200
    assert alice.get("/f").content == b""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Otto may read one share and not another, and olga is an admin."""
    top = tmp_path_factory.mktemp("office")
    shares = {}
    for name, readers in (("Paper", ["otto"]), ("Private", [])):
        (top / name).mkdir()
        shares[name] = {"folder": str(top / name), "read": readers, "write": ["anna"]}
    with Server(top / "data", shares=shares) as server:
        server.add_user("anna", quota="2MB")
        server.add_user("otto", quota="1MB")
        server.add_user("olga", admin=True)
        yield server


def test_bytes_of_others_are_not_there(office: Server) -> None:
    """In the home of another, in a share that one may not read, in its trash; not even for an admin."""
    anna = User(office, "anna")
    secrets = {"/at-home": b"anna's own", "/Private/f": b"anna's paper", "/Paper/gone": b"thrown away"}
    for path, body in secrets.items():
        assert anna.put(path, body).status_code == 201
    assert anna("DELETE", "/Paper/gone").status_code == 204
    for name in ("otto", "olga"):
        api = Client(office, name)
        for number, body in enumerate(secrets.values()):
            if name == "olga" and number:  # who sees every share, and its trash
                continue
            answer, never = _ask(api, f"/{number}", body), _ask(api, f"/{number}", b"x" * len(body))
            assert (answer.status_code, answer.content) == (404, never.content)
            assert set(answer.headers) == set(never.headers)


def test_bytes_of_a_share_that_one_may_read(office: Server) -> None:
    """A file and its versions; not where one may only read."""
    anna, otto = User(office, "anna"), Client(office, "otto")
    for body in (b"first paper", b"second paper"):
        anna.put("/Paper/both", body)
        assert _ask(otto, f"/copied-{len(body)}", body).status_code == 200
    assert _ask(otto, "/copied-again", b"first paper").status_code == 200
    assert User(office, "otto").get("/copied-again").content == b"first paper"
    assert _ask(otto, "/Paper/mine", b"first paper").status_code == 403


def test_the_quota(office: Server) -> None:
    otto = User(office, "otto")
    body = os.urandom(600_000)
    assert otto.put("/large", body).status_code == 201
    assert _ask(Client(office, "otto"), "/twice", body).status_code == 507
    assert otto.get("/twice").status_code == 404


def test_changed_outside(server: Server, api: Client, alice: User) -> None:
    """Bytes that a file does not have any more are not given as if they were."""
    body = _body(alice)
    alice.put("/other", body)
    file: Path = server.home("alice") / alice.top.strip("/") / "other"
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"X")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _ask(api, f"{alice.top}/f", body).status_code == 404
    assert alice.get("/f").status_code == 404
