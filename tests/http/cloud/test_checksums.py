"""Hashes that a client announces are verified, and those that rclone compares by are kept beside SHA-256."""

import hashlib
import zlib
from pathlib import Path

import pytest

from tests.http.client import User, etag
from tests.serving import Server

OC = "{http://owncloud.org/ns}"
# What rclone asks of a folder, and what a sync client asks beside.
RCLONE = (
    '<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop><d:displayname/><d:getlastmodified/>'
    "<d:getcontentlength/><d:resourcetype/><d:getcontenttype/><oc:checksums/></d:prop></d:propfind>"
)
SYNC = RCLONE.replace("<oc:checksums/>", "<oc:id/><oc:checksums/>")


def _sums(body: bytes) -> dict[str, str]:
    return {
        "SHA256": hashlib.sha256(body).hexdigest(),
        "SHA1": hashlib.sha1(body, usedforsecurity=False).hexdigest(),
        "MD5": hashlib.md5(body, usedforsecurity=False).hexdigest(),
        "ADLER32": f"{zlib.adler32(body):08x}",
    }


def _listed(user: User, path: str, body: str = SYNC) -> dict[str, str]:
    found = user.propfind("/", body, "1")[path].text(OC + "checksums") or ""
    return dict(one.split(":") for one in found.split())


@pytest.mark.parametrize("name", ["SHA256", "SHA1", "MD5", "ADLER32", "sha1"])
def test_an_announced_hash_is_verified(cloud: User, name: str) -> None:
    """The wrong bytes are refused and change nothing."""
    cloud.put("/f", b"old")
    wrong, right = _sums(b"else")[name.upper()], _sums(b"new")[name.upper()]
    assert cloud.put("/f", b"new", OC_Checksum=f"{name}:{wrong}").status_code == 400
    assert cloud.get("/f").content == b"old"
    assert cloud.put("/f", b"new", OC_Checksum=f"{name}:{right.upper()}").status_code == 204
    assert cloud.put("/g", b"new", OC_Checksum=f"{name}:{right}").status_code == 201


@pytest.mark.parametrize("value", ["SHA1", "SHA1:", "SHA1:zz", "SHA3-256:00", "SHA1:00", "CRC32:00000000"])
def test_a_hash_that_is_not_known_is_passed_over(cloud: User, value: str) -> None:
    assert cloud.put("/f", b"new", OC_Checksum=value).status_code == 201


def test_hashes_that_were_announced_are_kept(cloud: User) -> None:
    """A client that announces SHA-1 or MD5 compares by them; SHA-256 alone says that it does not need them."""
    body = b"for rclone"
    sums = _sums(body)
    cloud.put("/by rclone", body, OC_Checksum=f"MD5:{sums['MD5']}")
    cloud.put("/by sync client", b"other", OC_Checksum=f"SHA256:{_sums(b'other')['SHA256']}")
    assert _listed(cloud, "/by rclone") == {name: sums[name] for name in ("SHA1", "MD5", "SHA256")}
    assert set(_listed(cloud, "/by sync client")) == {"SHA256"}


def test_they_belong_to_the_bytes(cloud: User) -> None:
    """A copy, a renamed file and another one with the same bytes have them, and new bytes have not."""
    sums = _sums(b"same")
    cloud.put("/f", b"same", OC_Checksum=f"SHA1:{sums['SHA1']}")
    cloud("COPY", "/f", Destination="/copy")
    cloud("MOVE", "/f", Destination="/moved")
    cloud.put("/again", b"same")
    for path in ("/copy", "/moved", "/again"):
        assert _listed(cloud, path)["SHA1"] == sums["SHA1"], path
    cloud.put("/moved", b"changed")
    assert set(_listed(cloud, "/moved")) == {"SHA256"}


def test_rclone_gets_them_of_every_file(server: Server, cloud: User) -> None:
    """Those that came by another way, or from outside, are read when it asks, and known from then on."""
    cloud.put("/by another", b"by another")
    (server.home("alice") / cloud.top[1:] / "outside").write_bytes(b"outside")
    files = {"/by another": b"by another", "/outside": b"outside"}
    assert [set(_listed(cloud, path)) for path in files] == [{"SHA256"}, {"SHA256"}]
    for path, body in files.items():
        assert _listed(cloud, path, RCLONE) == {name: _sums(body)[name] for name in ("SHA1", "MD5", "SHA256")}
        assert "MD5" in _listed(cloud, path)


def test_rclone_asks_for_one_that_is_missing(cloud: User) -> None:
    cloud.put("/f", b"bytes")
    answer = cloud("PATCH", "/f", b"", X_Recalculate_Hash="sha1")
    assert (answer.status_code, answer.headers["OC-Checksum"]) == (204, f"SHA1:{_sums(b'bytes')['SHA1']}")
    assert cloud("PATCH", "/f", b"", X_Recalculate_Hash="crc32").status_code == 415
    assert cloud("PATCH", "/missing", b"", X_Recalculate_Hash="sha1").status_code == 404
    assert cloud.get("/f").content == b"bytes"


def test_none_are_kept_if_none_are_configured(tmp_path: Path) -> None:
    with Server(tmp_path / "data", environment={"BALUDAV_CHECKSUMS": '["md5"]'}) as server:
        server.add_user("alice")
        alice = User(server, "alice", "", "/remote.php/webdav")
        body = b"bytes"
        alice.put("/f", body, OC_Checksum=f"SHA1:{_sums(body)['SHA1']}")
        assert set(_listed(alice, "/f", RCLONE)) == {"SHA256", "MD5"}
        server.stop()
        server.environment["BALUDAV_CHECKSUMS"] = '["sha1", "md5"]'
        server.start()
        assert set(_listed(alice, "/f", RCLONE)) == {"SHA256", "MD5", "SHA1"}
        server.stop()
        server.environment["BALUDAV_CHECKSUMS"] = "[]"
        server.start()
        alice.put("/g", body, OC_Checksum=f"SHA1:{_sums(body)['SHA1']}")
        assert set(_listed(alice, "/g", RCLONE)) == {"SHA256"}


def test_equal_bytes_are_no_conflict(cloud: User) -> None:
    """A client that lost the answer, or a second device with the same edit, sends what is there already.

    Its condition on the older entity-tag does not count then (RFC 9110 §13.1.1); for other bytes it does.
    """
    old = cloud.put("/f", b"old").headers["ETag"]
    announced = f"SHA256:{_sums(b'new')['SHA256']}"
    assert cloud.put("/f", b"new", If_Match=old, OC_Checksum=announced).status_code == 204
    again = cloud.put("/f", b"new", If_Match=old, OC_Checksum=announced)
    assert (again.status_code, again.headers["ETag"]) == (204, etag(b"new"))
    others = f"SHA256:{_sums(b'others')['SHA256']}"
    assert cloud.put("/f", b"others", If_Match=old, OC_Checksum=others).status_code == 412
    lying = cloud.put("/f", b"lying!", If_Match=old, OC_Checksum=announced)
    assert lying.status_code in (400, 412)
    assert cloud.put("/f", b"new", If_None_Match="*", OC_Checksum=announced).status_code == 412
    assert cloud.get("/f").content == b"new"
