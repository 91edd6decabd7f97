"""The tree under the paths of the sync clients: the same files, and what those clients look for in the answers."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.http.client import User, etag
from tests.http.cloud.conftest import by_cloud
from tests.serving import Server

OC = "{http://owncloud.org/ns}"
NC = "{http://nextcloud.org/ns}"
# What nextcloudcmd 3.7.3 sends.
PROPFIND = (
    '<?xml version="1.0" ?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:getlastmodified/>'
    '<d:getcontentlength/><d:getetag/><size xmlns="http://owncloud.org/ns"/><id xmlns="http://owncloud.org/ns"/>'
    '<fileid xmlns="http://owncloud.org/ns"/><downloadURL xmlns="http://owncloud.org/ns"/>'
    '<dDC xmlns="http://owncloud.org/ns"/><permissions xmlns="http://owncloud.org/ns"/>'
    '<checksums xmlns="http://owncloud.org/ns"/><data-fingerprint xmlns="http://owncloud.org/ns"/>'
    '<is-encrypted xmlns="http://nextcloud.org/ns"/><share-types xmlns="http://owncloud.org/ns"/>'
    "</d:prop></d:propfind>"
)


def test_what_a_listing_says(cloud: User) -> None:
    """Id, permissions and checksums of each member; without one of them a client refuses to sync."""
    cloud.put("/ä 1%", b"12345")
    cloud("MKCOL", "/in")
    cloud.put("/in/deep", b"123")
    found = cloud.propfind("/", PROPFIND, "1")
    file, collection = found["/ä 1%"], found["/in"]
    assert file.text("{DAV:}getetag") == etag(b"12345")
    assert (file.text(OC + "checksums") or "").endswith(f"SHA256:{hashlib.sha256(b'12345').hexdigest()}")
    assert (file.text(OC + "permissions"), collection.text(OC + "permissions")) == ("GDNVW", "GDNVCK")
    assert re.fullmatch(r"0*[1-9]\d*oc[0-9a-f]{10}", file.text(OC + "id") or "")
    assert int((file.text(OC + "id") or "").partition("oc")[0]) == int(file.text(OC + "fileid") or "")
    assert (file.text(OC + "size"), collection.text(OC + "size")) == ("5", "3")
    assert found["/"].text(OC + "size") == "8"
    assert file.get(OC + "data-fingerprint") is None


def test_the_answer_is_one_that_both_clients_take(cloud: User) -> None:
    """The exact content type; the collection first; every href begins with the path of the request."""
    cloud.put("/f")
    answer = cloud("PROPFIND", "/", PROPFIND.encode(), Depth="1")
    assert answer.headers["Content-Type"] == "application/xml; charset=utf-8"
    assert "Date" in answer.headers
    hrefs = re.findall("<D:href>([^<]*)", answer.text)
    assert [href.removeprefix(f"/remote.php/dav/files/alice{cloud.top}/") for href in hrefs] == ["", "f"]


def test_stray_text_in_the_body_is_passed_over(cloud: User) -> None:
    """owncloudcmd 2.11.0 sends a character too many behind `prop`."""
    body = PROPFIND.replace("</d:prop>", "</d:prop>a")
    assert cloud("PROPFIND", "/", body.encode(), Depth="0").status_code == 207


def test_the_root_tells_a_fingerprint(tmp_path: Path) -> None:
    """Empty until files are restored; it is there, so that a client notices the first change of it."""
    with Server(tmp_path / "data") as server:
        server.add_user("alice")
        for path in ("", "/"):
            found = by_cloud(server, "alice").propfind(path, PROPFIND)
            assert found["/"].text(OC + "data-fingerprint") == ""


def test_one_tree_by_three_paths(server: Server, cloud: User, plain: User) -> None:
    """What is written by one path is there by the others, with one ETag, and each path's own hrefs."""
    webdav = User(server, "alice", cloud.top, "/remote.php/webdav")
    tag = webdav.put("/f", b"bytes").headers["ETag"]
    assert {user.get("/f").headers["ETag"] for user in (cloud, plain, webdav)} == {tag}
    assert set(webdav.propfind("/", PROPFIND, "1")) == {"/", "/f"}
    assert webdav("MOVE", "/f", Destination="/g").status_code == 201
    assert plain.get("/g").content == b"bytes"


def test_a_destination_under_another_prefix_is_refused(cloud: User, plain: User) -> None:
    cloud.put("/f")
    assert cloud("MOVE", "/f", Destination=plain.url("/g")).status_code == 502
    assert cloud("MOVE", "/f", Destination=cloud.url("/g").replace("/alice/", "/bob/")).status_code == 502


@pytest.mark.parametrize(
    "make",
    [
        lambda user: user.put("/f", b"bytes"),
        lambda user: user.put("/f", b"bytes") and user.put("/f", b"other"),
        lambda user: user.put("/f") and user.get("/f"),
        lambda user: user.put("/f") and user("HEAD", "/f"),
        lambda user: user.put("/e") and user("MOVE", "/e", Destination="/f"),
        lambda user: user.put("/e") and user("COPY", "/e", Destination="/f"),
    ],
    ids=["create", "overwrite", "get", "head", "move", "copy"],
)
def test_answers_name_the_file(cloud: User, make: Callable[[User], requests.Response]) -> None:
    """Id, entity-tag and hash in the answer are those that a listing says."""
    answer = make(cloud)
    found = cloud.propfind("/f", PROPFIND)["/f"]
    assert answer.headers["OC-FileId"] == found.text(OC + "id")
    assert answer.headers["OC-ETag"] == answer.headers["ETag"] == found.text("{DAV:}getetag")
    assert answer.headers["OC-Checksum"] in (found.text(OC + "checksums") or "")


def test_a_new_collection_is_named_too(cloud: User) -> None:
    assert cloud("MKCOL", "/c").headers["OC-FileId"] == cloud.propfind("/c", PROPFIND)["/c"].text(OC + "id")
    assert cloud("MKCOL", "/c").status_code == 405


def test_a_plain_client_is_not_told(plain: User) -> None:
    """Fields that only sync clients know stay off the other answers."""
    assert not [name for name in plain.put("/f").headers if name.lower().startswith("oc-")]


def test_the_id_stays(cloud: User) -> None:
    """Through new bytes, a rename and a move into another collection; so do the bytes' entity-tags."""
    number = cloud.put("/f", b"1").headers["OC-FileId"]
    cloud("MKCOL", "/c")
    assert cloud.put("/f", b"2").headers["OC-FileId"] == number
    assert cloud("MOVE", "/f", Destination="/g").headers["OC-FileId"] == number
    assert cloud("MOVE", "/g", Destination="/c/g").headers["OC-FileId"] == number
    assert cloud("MOVE", "/c", Destination="/d").status_code == 201
    assert cloud.prop("/d/g", OC + "id") == number
    assert cloud.prop("/d/g", "{DAV:}getetag") == etag(b"2")


def test_a_favourite_is_kept(cloud: User) -> None:
    cloud.put("/f")
    assert cloud.prop("/f", OC + "favorite") == "0"
    body = (
        '<propertyupdate xmlns="DAV:"><set><prop><favorite xmlns="http://owncloud.org/ns">1</favorite></prop></set>'
        "</propertyupdate>"
    )
    assert "200 OK" in cloud("PROPPATCH", "/f", body).text
    assert cloud.prop("/f", OC + "favorite") == "1"
    body = body.replace("set>", "remove>").replace(">1<", "><")
    assert "200 OK" in cloud("PROPPATCH", "/f", body).text
    assert cloud.prop("/f", OC + "favorite") == "0"
    assert "403" in cloud("PROPPATCH", "/f", body.replace("favorite", "id")).text


def test_sizes_follow_every_change(cloud: User) -> None:
    """Two workers remember sums; none may answer with one from before a change."""

    def size() -> tuple[str | None, str | None]:
        found = [cloud.propfind("/", PROPFIND)["/"].text(OC + "size") for _ in range(4)]
        assert len(set(found)) == 1, found
        return found[0], cloud.propfind("/", PROPFIND, "1").get("/a", cloud.propfind("/", PROPFIND)["/"]).text(
            OC + "size"
        )

    for path in ("/a", "/a/b", "/a/b/c"):
        cloud("MKCOL", path)
    assert size() == ("0", "0")
    cloud.put("/a/b/c/f", b"x" * 100)
    assert size() == ("100", "100")
    cloud.put("/a/b/c/f", b"x" * 10)
    assert size() == ("10", "10")
    cloud("COPY", "/a/b", Destination="/a/copy")
    assert size() == ("20", "20")
    cloud("MOVE", "/a/b", Destination="/b")
    assert size() == ("20", "10")
    cloud("DELETE", "/a/copy/c/f")
    assert size() == ("10", "0")


def test_a_change_on_the_disk_counts_in_the_size(server: Server, cloud: User) -> None:
    cloud("MKCOL", "/a")
    assert cloud.prop("/", OC + "size") == "0"
    (server.home("alice") / cloud.top[1:] / "a" / "f").write_bytes(b"1234")
    cloud.propfind("/a", PROPFIND, "1")
    assert cloud.prop("/", OC + "size") == "4"


def test_others_are_not_there(server: Server) -> None:
    """Another user's files answer like those of nobody; without a password nothing but OPTIONS does."""
    alice = User(server, "alice", "", "/remote.php/dav/files")
    for path in ("/bob", "/bob/", "/nobody", "/Alice", ""):
        assert alice("PROPFIND", path, Depth="0").status_code == 404, path
    assert alice.put("/bob/f").status_code == 404
    assert requests.request("PROPFIND", alice.url("/alice"), timeout=30).status_code == 401
    options = requests.options(alice.url("/bob/x"), timeout=30)
    assert (options.status_code, options.headers["DAV"][:7]) == (200, "1, 2, 3")


def test_permissions_in_shares(office: Server) -> None:
    """A share can be neither deleted nor renamed; one that may only be read, not written either."""
    found = by_cloud(office, "anna").propfind("/", PROPFIND, "1")
    assert found["/"].text(OC + "permissions") == "GCK"
    assert found["/Team"].text(OC + "permissions") == "SGCK"
    assert found["/Paper"].text(OC + "permissions") == "SG"
    inside = by_cloud(office, "anna").propfind("/Paper", PROPFIND, "1")
    assert {inside["/Paper/file"].text(OC + "permissions"), inside["/Paper/in"].text(OC + "permissions")} == {"SG"}
    inside = by_cloud(office, "anna").propfind("/Team", PROPFIND, "1")
    assert inside["/Team/file"].text(OC + "permissions") == "SGDNVW"
    assert inside["/Team/in"].text(OC + "permissions") == "SGDNVCK"


def test_an_admin_does_not_sync_all_homes(office: Server) -> None:
    """A sync client keeps a copy of all it sees; the homes of others, and one's own twice, are left to `/dav`."""
    assert set(User(office, "admin").propfind("/", depth="1")) == {"/", "/Team", "/Paper", "/homes"}
    admin = by_cloud(office, "admin")
    assert set(admin.propfind("/", depth="1")) == {"/", "/Team", "/Paper"}
    assert admin("PROPFIND", "/homes/anna", Depth="0").status_code == 404
    before = admin.prop("/", "{DAV:}getetag")
    by_cloud(office, "anna").put("/of-anna")
    assert admin.prop("/", "{DAV:}getetag") == before


def test_a_report_of_changes_says_the_same(office: Server) -> None:
    """A client that asks for changes (RFC 6578) sees the permissions that a listing shows."""
    anna = by_cloud(office, "anna")
    anna.put("/Team/new")
    body = (
        '<sync-collection xmlns="DAV:"><sync-token/><sync-level>infinite</sync-level><prop>'
        '<permissions xmlns="http://owncloud.org/ns"/><size xmlns="http://owncloud.org/ns"/></prop></sync-collection>'
    )
    answer = anna("REPORT", "/", body)
    listed = anna.propfind("/Team", PROPFIND, "1") | anna.propfind("/Paper", PROPFIND, "1")
    found = {path: one for path, one in anna.multistatus(answer).items() if path in listed}
    assert {"/Team/new", "/Team/file", "/Paper/file", "/Paper/in"} <= set(found)
    for name in (OC + "permissions", OC + "size"):
        assert {path: one.text(name) for path, one in found.items()} == {
            path: listed[path].text(name) for path in found
        }
