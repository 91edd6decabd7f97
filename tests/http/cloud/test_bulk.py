"""Many small files in one request: each as by a PUT of its own, and each fails alone."""

import contextlib
import hashlib
import http.client
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.http.client import User, basic, etag
from tests.http.cloud.conftest import by_cloud
from tests.serving import Server, wait_for

OC = "{http://owncloud.org/ns}"
KIND = 'multipart/related; boundary="boundary_.oOo._x/y=="'
Part = tuple[str, bytes, dict[str, str]]


def _part(path: str, body: bytes, fields: dict[str, str]) -> bytes:
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    said = {
        "Content-Length": str(len(body)),
        "Content-Type": "application/octet-stream",
        "X-File-MD5": md5,
        "X-File-Mtime": "1500000000",
        "X-File-Path": path,
        **fields,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items() if value)
    return b"--boundary_.oOo._x/y==\r\n" + head.encode("utf-8", "surrogateescape") + b"\r\n" + body + b"\r\n"


def _body(*parts: Part) -> bytes:
    return b"".join(_part(*part) for part in parts) + b"--boundary_.oOo._x/y==--\r\n"


def _post(user: User, body: bytes, kind: str = KIND) -> requests.Response:
    return user.session.post(
        f"{user.server.url}/remote.php/dav/bulk", data=body, headers={"Content-Type": kind}, timeout=60
    )


def _sent(user: User, *parts: Part) -> dict[str, dict[str, Any]]:
    """What is said of each file, by its path below the user's collection."""
    answer = _post(user, _body(*((user.top + path, body, fields) for path, body, fields in parts)))
    assert answer.status_code == 200, answer.text
    return {path.removeprefix(user.top): said for path, said in answer.json().items()}


def test_files_are_stored(cloud: User) -> None:
    """Of each the answer says what a listing says."""
    parts: list[Part] = [(f"/f {number} ä%41", b"%d" % number * number, {}) for number in range(30)]
    said = _sent(cloud, *parts)
    assert set(said) == {path for path, _, _ in parts}
    for path, body, _ in parts:
        got = cloud.get(path)
        assert got.content == body
        assert got.headers["Last-Modified"] == "Fri, 14 Jul 2017 02:40:00 GMT"
        assert said[path] == {
            "error": False,
            "etag": etag(body),
            "OC-ETag": etag(body),
            "fileid": got.headers["OC-FileId"],
            "OC-FileID": got.headers["OC-FileId"],
            "permissions": cloud.prop(path, OC + "permissions"),
            "X-OC-MTime": "accepted",
        }


def test_a_path_without_a_slash(cloud: User) -> None:
    """It is answered as it was sent."""
    name = f"{cloud.top[1:]}/f"
    answer = _post(cloud, _body((name, b"1", {})))
    assert list(answer.json()) == [name]
    assert cloud.get("/f").content == b"1"


def test_one_that_fails_fails_alone(cloud: User) -> None:
    """Whatever is wrong with it, those before and behind it are stored."""
    old = cloud.put("/outdated", b"old").headers["ETag"]
    cloud.put("/outdated", b"newer")
    cloud.put("/there", b"there")
    cloud.put("/locked", b"old")
    cloud.lock("/locked")
    cloud("MKCOL", "/collection")
    wrong: list[Part] = [
        ("/wrong sum", b"x", {"X-File-MD5": "0" * 32}),
        ("/wrong other sum", b"x", {"X-File-MD5": "", "OC-Checksum": "SHA1:" + "0" * 40}),
        ("/outdated", b"mine", {"If-Match": old}),
        ("/there", b"mine", {"If-None-Match": "*"}),
        ("/locked", b"mine", {}),
        ("/missing/f", b"x", {}),
        ("/collection", b"x", {}),
        ("/collection/", b"x", {}),
        ("/../up", b"x", {}),
        ("/.baludav/../x", b"x", {}),
        ("/n\x01ul", b"x", {}),
        ("/" + "x" * 256, b"x", {}),
        ("/bad \udcff", b"x", {}),
        ("/large and wrong", b"x" * 600_000, {"X-File-MD5": "0" * 32}),
        ("/large/and/nowhere", b"x" * 600_000, {}),
    ]
    good: list[Part] = [(f"/good {number}", b"%d" % number, {}) for number in range(len(wrong))]
    said = _sent(cloud, *(part for pair in zip(wrong, good, strict=True) for part in pair))
    for path, _, _ in wrong:
        assert said[path]["error"] is True, path
        assert said[path]["message"], path
    for path, body, _ in good:
        assert said[path]["error"] is False, path
        assert cloud.get(path).content == body
    assert [cloud.get(path).content for path in ("/outdated", "/there", "/locked")] == [b"newer", b"there", b"old"]
    assert set(cloud.propfind("", "", "1")) == {
        "/", "/outdated", "/there", "/locked", "/collection", *(path for path, _, _ in good),
    }  # fmt: skip


def test_conditions_that_hold(cloud: User) -> None:
    tag = cloud.put("/f", b"old").headers["ETag"]
    said = _sent(cloud, ("/f", b"new", {"If-Match": tag}), ("/g", b"1", {"If-None-Match": "*"}))
    assert [said[path]["error"] for path in ("/f", "/g")] == [False, False]
    assert cloud.get("/f").content == b"new"


def test_a_conflict_copy_keeps_what_is_said_of_it(cloud: User) -> None:
    _sent(cloud, ("/copy", b"mine", {"OC-Conflict": "1", "OC-ConflictBaseEtag": "abc"}))
    assert cloud.get("/copy").headers["OC-ConflictBaseEtag"] == "abc"


def test_files_of_every_size(cloud: User) -> None:
    """Empty, and larger than what is kept in memory; a body that looks like the end of one is none."""
    bodies = [b"", b"x", b"\r\n--boundary_.oOo._x/y==--\r\n", b"\n" * 70_000, bytes(range(256)) * 8_000]
    said = _sent(cloud, *((f"/{number}", body, {}) for number, body in enumerate(bodies)))
    assert not any(one["error"] for one in said.values())
    assert [cloud.get(f"/{number}").content for number in range(len(bodies))] == bodies


def test_one_path_twice(cloud: User) -> None:
    """The later one counts, as if they had come one after the other."""
    said = _sent(cloud, *(("/f", b"%d" % number, {}) for number in range(20)))
    assert (said["/f"]["etag"], cloud.get("/f").content) == (etag(b"19"), b"19")


def test_a_body_in_chunks(cloud: User) -> None:
    body = _body((cloud.top + "/f", b"1", {}))
    answer = cloud.session.post(
        f"{cloud.server.url}/remote.php/dav/bulk",
        data=(body[at : at + 7] for at in range(0, len(body), 7)),
        headers={"Content-Type": KIND},
        timeout=60,
    )
    assert answer.json()[cloud.top + "/f"]["error"] is False


def test_other_boundaries(cloud: User) -> None:
    """Not quoted, with text before the first part; and no part at all."""
    body = _body((cloud.top + "/f", b"1", {})).replace(b"boundary_.oOo._x/y==", b"abc")
    answer = _post(cloud, b"a preamble\r\n" + body, "multipart/related; boundary=abc; type=x")
    assert answer.json()[cloud.top + "/f"]["error"] is False
    assert _post(cloud, b"--abc--\r\n", "multipart/related; boundary=abc").json() == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Content-Length: 6", b"Content-Length: 7"),
        (b"Content-Length: 6", b"Content-Length: 5"),
        (b"Content-Length: 6", b"Content-Length: -6"),
        (b"Content-Length: 6", b"Content-Length: 99999999999999999999"),
        (b"Content-Length: 6\r\n", b""),
        (b"X-File-Path", b"no colon\r\nX-File-Path"),
        (b"X-File-Path", b"X-Long: " + b"x" * 40_000 + b"\r\nX-File-Path"),
        (b"--boundary_.oOo._x/y==--", b"--other--"),
        (b"\r\n--boundary_.oOo._x/y==--\r\n", b""),
    ],
)
def test_what_makes_no_sense(cloud: User, old: bytes, new: bytes) -> None:
    """The rest cannot be told from it, so the whole is refused; what came before it may have been stored."""
    answer = _post(cloud, _body((cloud.top + "/f", b"second", {})).replace(old, new))
    assert answer.status_code == 400
    assert cloud.get("/f").status_code in (200, 404)


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/related", "application/x-www-form-urlencoded"])
def test_what_is_no_such_body(cloud: User, kind: str) -> None:
    assert _post(cloud, _body(("/f", b"1", {})), kind).status_code == 415


def test_an_upload_that_breaks_off(server: Server, cloud: User) -> None:
    """Nothing half of it is stored."""
    body = _body((cloud.top + "/whole", b"whole", {}), (cloud.top + "/half", b"h" * 3_000_000, {}))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/remote.php/dav/bulk")
    for name, value in {
        "Authorization": basic(*server.auth("alice")),
        "Content-Type": KIND,
        "Content-Length": str(len(body)),
    }.items():
        connection.putheader(name, value)
    connection.endheaders(body[:-5_000])
    assert connection.sock is not None
    connection.sock.shutdown(1)
    with contextlib.suppress(http.client.RemoteDisconnected):  # who sends no more may not be there to be answered
        assert connection.getresponse().status == 400
    connection.close()
    wait_for(lambda: cloud.get("/whole").content == b"whole", 30, "what had come is stored")
    assert cloud.get("/half").status_code == 404


def test_the_quota_holds(tmp_path_factory: pytest.TempPathFactory) -> None:
    """At once on several threads, and never a byte more than it allows."""
    with Server(tmp_path_factory.mktemp("bulk") / "data") as server:
        server.add_user("small", quota="10kB")
        small = by_cloud(server, "small")
        said = _sent(small, *((f"/{number}", b"x" * 1_000, {}) for number in range(30)))
        stored = [path for path, one in said.items() if not one["error"]]
        assert len(stored) == 10
        assert set(small.propfind("", "", "1")) == {"/", *stored}


def test_shares(office: Server) -> None:
    anna = by_cloud(office, "anna")
    said = _sent(anna, ("/Team/by bulk", b"1", {}), ("/Paper/by bulk", b"1", {}))
    assert (said["/Team/by bulk"]["error"], said["/Paper/by bulk"]["error"]) == (False, True)
    assert said["/Team/by bulk"]["permissions"] == "SGDNVW"


def test_who_may_ask(cloud: User) -> None:
    url = f"{cloud.server.url}/remote.php/dav/bulk"
    assert cloud.session.get(url, timeout=60).status_code == 405
    assert requests.post(url, timeout=60).status_code == 401


@pytest.mark.parametrize("is_allowed", [False, True])
def test_it_is_announced_if_it_is_allowed(tmp_path: Path, *, is_allowed: bool) -> None:
    environment = {"BALUDAV_BULK_UPLOAD": "true"} if is_allowed else {}
    with Server(tmp_path / "data", environment=environment) as server:
        url = f"{server.url}/ocs/v1.php/cloud/capabilities"
        found = requests.get(url, params={"format": "json"}, auth=server.auth("admin"), timeout=60).json()
    assert found["ocs"]["data"]["capabilities"]["dav"].get("bulkupload") == ("1.0" if is_allowed else None)
