"""Earlier bytes of a file as sync clients see them: listed, read and restored over DAV, by the id of the file."""

import hashlib
from pathlib import Path

import pytest
import requests

from tests.http.client import Found, User, etag
from tests.http.cloud.conftest import by_cloud, fresh
from tests.serving import Server

OC = "{http://owncloud.org/ns}"
PROPFIND = (
    '<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop><d:getcontenttype/><d:resourcetype/>'
    "<d:getcontentlength/><d:getlastmodified/><d:getetag/><oc:size/><oc:favorite/></d:prop></d:propfind>"
)


@pytest.fixture
def versions(server: Server) -> User:
    """Alice, by the path of the versions."""
    return User(server, "alice", "", "/remote.php/dav/versions/alice")


@pytest.fixture
def number(cloud: User) -> str:
    """The number of `/f.txt`, which has been written three times."""
    for second, body in enumerate((b"first", b"second one", b"third"), start=1_500_000_000):
        answer = cloud.put("/f.txt", body, X_OC_Mtime=str(second))
    return str(int(answer.headers["OC-FileId"].partition("oc")[0]))


def _of(versions: User, number: str) -> dict[str, Found]:
    """The versions of a file by their paths, newest first."""
    found = versions.propfind(f"/versions/{number}", PROPFIND, "1")
    assert found.pop(f"/versions/{number}") is not None
    return found


def test_what_a_listing_says(versions: User, cloud: User, number: str) -> None:
    """Of each version the time, size and entity-tag its bytes had; its name begins with that time."""
    second, first = found = list(_of(versions, number).items())
    assert [path.rpartition("/")[2].partition(".")[0] for path, _ in found] == ["1500000001", "1500000000"]
    assert first[1].text("{DAV:}getlastmodified") == "Fri, 14 Jul 2017 02:40:00 GMT"
    assert second[1].text("{DAV:}getcontentlength") == second[1].text(OC + "size") == "10"
    assert second[1].text("{DAV:}getetag") == etag(b"second one")
    assert second[1].text("{DAV:}getcontenttype") == "text/plain"
    assert second[1].props[OC + "favorite"][0] == 404
    named = cloud.prop("/f.txt", OC + "id")
    assert list(versions.propfind(f"/versions/{named}", PROPFIND, "1"))[1:] == [
        path.replace(number, named or "", 1) for path, _ in found
    ]
    assert set(versions.propfind(second[0], PROPFIND, "1")) == {second[0]}


def test_bytes_are_read(versions: User, number: str) -> None:
    bodies = []
    for path in _of(versions, number):
        got = versions.get(path)
        bodies.append(got.content)
        assert got.headers["ETag"] == etag(got.content)
        head = versions("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == str(len(got.content))
    assert bodies == [b"second one", b"first"]


def test_a_version_is_restored(versions: User, cloud: User, number: str) -> None:
    """It is a write: what it replaces is a version now; the file stays the one that it was."""
    *_, oldest = _of(versions, number)
    answer = versions("MOVE", oldest, Destination="/restore/target")
    assert answer.status_code == 204
    assert answer.headers["ETag"] == etag(b"first")
    got = cloud.get("/f.txt")
    assert (got.content, int(got.headers["OC-FileId"].partition("oc")[0])) == (b"first", int(number))
    assert got.headers["Last-Modified"] == "Fri, 14 Jul 2017 02:40:00 GMT"
    assert [versions.get(path).content for path in _of(versions, number)] == [b"third", b"second one", b"first"]


def test_versions_follow_their_file(versions: User, cloud: User, number: str) -> None:
    """Through a move; with its deletion they are gone from here, and with it they come back."""
    cloud("MKCOL", "/in")
    cloud("MOVE", "/f.txt", Destination="/in/g.txt")
    assert len(_of(versions, number)) == 2
    cloud("DELETE", "/in")
    assert versions("PROPFIND", f"/versions/{number}", Depth="1").status_code == 404


def test_a_file_without_versions(versions: User, cloud: User) -> None:
    number = cloud.put("/new", b"1").headers["OC-FileId"].partition("oc")[0]
    assert _of(versions, str(int(number))) == {}


@pytest.mark.parametrize("path", ["/0", "/999999999", "/x", "/-1", "/12oc0000000000", "/1" + "0" * 30])
def test_what_is_not_there(versions: User, path: str) -> None:
    assert versions("PROPFIND", f"/versions{path}", Depth="1").status_code == 404


def test_a_version_that_is_not_there(versions: User, cloud: User, number: str) -> None:
    """A version belongs to its own file."""
    cloud.put("/other", b"1")
    other = str(int(cloud.put("/other", b"2").headers["OC-FileId"].partition("oc")[0]))
    (path,) = _of(versions, other)
    for missing in (path.replace(f"/{other}/", f"/{number}/"), f"/versions/{number}/1", f"{path}0"):
        assert versions.get(missing).status_code == 404
        assert versions("MOVE", missing, Destination="/restore/target").status_code == 404
    assert versions("PROPFIND", f"/versions/{cloud.prop('', OC + 'fileid')}", Depth="1").status_code == 404


def test_where_it_cannot_go(versions: User, cloud: User, number: str) -> None:
    path = next(iter(_of(versions, number)))
    assert versions("MOVE", path, Destination="/versions/1/x").status_code == 409
    assert versions("MOVE", path, Destination=cloud.url("/f.txt")).status_code == 502
    assert versions("MOVE", path).status_code == 400
    assert versions("DELETE", path).status_code == 405
    assert versions.put(path, b"x").status_code == 405
    assert cloud.get("/f.txt").content == b"third"


def test_a_lock_is_in_the_way(versions: User, cloud: User, number: str) -> None:
    path = next(iter(_of(versions, number)))
    cloud.lock("/f.txt")
    assert versions("MOVE", path, Destination="/restore/target").status_code == 423
    assert cloud.get("/f.txt").content == b"third"


def test_they_are_nobody_elses(server: Server, versions: User, number: str) -> None:
    path = next(iter(_of(versions, number)))
    for mount in (versions.mount, "/remote.php/dav/versions/bob"):
        bob = User(server, "bob", "", mount)
        for method in ("PROPFIND", "GET", "MOVE"):
            assert bob(method, path, Destination="/restore/x").status_code == 404, (mount, method)
    assert requests.get(versions.url(path), timeout=60).status_code == 401


def test_who_may_only_read_may_look(office: Server, request: pytest.FixtureRequest) -> None:
    admin, anna = by_cloud(office, "admin"), by_cloud(office, "anna")
    name = fresh(request)
    for body in (b"1", b"2"):
        number = admin.put(f"/Paper{name}", body).headers["OC-FileId"].partition("oc")[0]
    versions = User(office, "anna", "", "/remote.php/dav/versions/anna")
    (path,) = _of(versions, str(int(number)))
    assert versions.get(path).content == b"1"
    assert versions("MOVE", path, Destination="/restore/target").status_code == 403
    assert anna.get(f"/Paper{name}").content == b"2"


def test_capabilities_say_what_is_kept(tmp_path: Path) -> None:
    """None are kept: a client must not offer to look at them."""
    with Server(tmp_path / "data", environment={"BALUDAV_HISTORY_VERSIONS": "0"}) as server:
        admin = User(server, "admin", "", "")
        found = admin.session.get(
            server.url + "/ocs/v2.php/cloud/capabilities", params={"format": "json"}, timeout=60
        ).json()["ocs"]["data"]["capabilities"]["files"]
        assert (found["versioning"], found["undelete"]) == (False, True)


def test_large_bytes_are_read_whole(versions: User, cloud: User) -> None:
    body = hashlib.shake_256(b"large").digest(3_000_000)
    cloud.put("/large", body)
    number = cloud.put("/large", b"small").headers["OC-FileId"].partition("oc")[0]
    (path,) = _of(versions, str(int(number)))
    assert versions.get(path).content == body
