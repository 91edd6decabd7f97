"""Resumable uploads by tus 1.0: each extension, broken off, two at once, lied about, and never half a file."""

import base64
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time

import pytest
import requests

from tests.http.client import User, basic, etag
from tests.serving import Server, wait_for

BODY = os.urandom(2_500_000)
BYTES = "application/offset+octet-stream"


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


class Uploads:
    """One user's uploads, as a client makes them.

    Args:
        user: below whose top the files are to go.
    """

    def __init__(self, user: User) -> None:
        self.user = user
        self.url = f"{user.server.url}/uploads/"
        self._created: list[str] = []

    def __call__(self, method: str, url: str, data: object = None, **headers: str) -> requests.Response:
        fields = {"Tus-Resumable": "1.0.0", **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self.user.session.request(method, url, data=data, headers=fields, timeout=60)
        if answer.status_code == 201:
            self._created.append(self.user.server.url + answer.headers["Location"])
        return answer

    def give_up(self) -> None:
        """Leave nothing on a server that others use, too."""
        for url in self._created:
            assert self("DELETE", url).status_code in (204, 404)

    def metadata(self, path: str, **more: str) -> str:
        pairs = {"path": self.user.top + path, **more}
        return ",".join(f"{key} {encoded(value)}" for key, value in pairs.items())

    def create(self, path: str, length: int, data: object = None, **headers: str) -> requests.Response:
        fields = {"Upload_Length": str(length), "Upload_Metadata": self.metadata(path), **headers}
        return self("POST", self.url, data, **fields)

    def begin(self, path: str, length: int, **headers: str) -> str:
        """The address of a new upload."""
        answer = self.create(path, length, **headers)
        assert answer.status_code == 201, answer.text
        location = answer.headers["Location"]
        assert location.startswith("/uploads/")
        return self.user.server.url + location

    def patch(self, url: str, offset: int, body: object, **headers: str) -> requests.Response:
        return self("PATCH", url, body, **{"Upload_Offset": str(offset), "Content_Type": BYTES, **headers})

    def offset(self, url: str) -> int:
        answer = self("HEAD", url)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        return int(answer.headers["Upload-Offset"])

    def partial(self, body: bytes) -> str:
        """A complete upload that is to be part of another."""
        answer = self("POST", self.url, Upload_Length=str(len(body)), Upload_Concat="partial")
        assert answer.status_code == 201, answer.text
        url = self.user.server.url + answer.headers["Location"]
        if body:
            assert self.patch(url, 0, body).status_code == 204
        return url

    def broken(self, url: str, offset: int, body: bytes, length: int, *fields: str) -> None:
        """A PATCH whose connection is lost before all its bytes have gone."""
        server = self.user.server
        head = [
            f"PATCH {url.removeprefix(server.url)} HTTP/1.1", "Host: 127.0.0.1",
            f"Authorization: {basic(*server.auth(self.user.name))}", "Tus-Resumable: 1.0.0", f"Content-Type: {BYTES}",
            f"Upload-Offset: {offset}", f"Content-Length: {length}", *fields, "", "",
        ]  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall("\r\n".join(head).encode() + body)


@pytest.fixture
def uploads(alice: User) -> Iterator[Uploads]:
    uploads = Uploads(alice)
    yield uploads
    uploads.give_up()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Uploads]:
    """Of a user with a quota of 1 MB, on a server of its own that takes up to 2 MB at once."""
    with Server(tmp_path / "data", environment={"BALUDAV_LIMITS": '{"upload": "2MB"}'}) as server:
        server.add_user("alice", quota="1MB")
        yield Uploads(User(server, "alice"))


def left_behind(server: Server, name: str) -> list[str]:
    return [path.name for which in ("tmp", "uploads") for path in (server.home(name) / ".baludav" / which).iterdir()]


def used(user: User) -> int:
    return int(User(user.server, user.name).prop("/", "{DAV:}quota-used-bytes") or -1)


def test_what_the_server_offers_is_told_to_anybody(server: Server, small: Uploads) -> None:
    """OPTIONS needs neither a version nor a sign-in, and names the largest size if there is one."""
    answer = requests.options(f"{server.url}/uploads/", timeout=60)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
    offered = set(answer.headers["Tus-Extension"].split(","))
    assert offered == {"creation", "creation-with-upload", "checksum", "expiration", "termination", "concatenation"}
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256,md5"
    assert "Tus-Max-Size" not in answer.headers
    assert requests.options(small.url, timeout=60).headers["Tus-Max-Size"] == "2000000"


def test_another_version_is_refused(uploads: Uploads) -> None:
    """412 names the one that is spoken, and nothing is created."""
    for version in ("0.2.2", ""):
        answer = uploads.create("/f", 5, Tus_Resumable=version)
        assert (answer.status_code, answer.headers["Tus-Version"]) == (412, "1.0.0")


def test_nobody_uploads_without_signing_in(server: Server, uploads: Uploads) -> None:
    url = uploads.begin("/f", 5)
    for method, target in (("POST", uploads.url), ("HEAD", url), ("PATCH", url), ("DELETE", url)):
        answer = requests.request(method, target, headers={"Tus-Resumable": "1.0.0"}, timeout=60)
        assert answer.status_code == 401
    assert uploads.offset(url) == 0


def test_an_upload_in_pieces(uploads: Uploads) -> None:
    """Nothing is visible before the last byte; then it is a write like a PUT, with the time that was wished for."""
    user = uploads.user
    url = uploads.begin("/f", len(BODY), Upload_Metadata=uploads.metadata("/f", mtime="1234567890"))
    for start in range(0, len(BODY), 700_000):
        assert user.get("/f").status_code == 404
        assert uploads.offset(url) == start
        answer = uploads.patch(url, start, BODY[start : start + 700_000])
        assert answer.status_code == 204, answer.text
        assert int(answer.headers["Upload-Offset"]) == min(start + 700_000, len(BODY))
        assert parsedate_to_datetime(answer.headers["Upload-Expires"]).timestamp() == pytest.approx(
            time() + 86_400, abs=120
        )
    assert answer.headers["ETag"] == etag(BODY)
    assert user.server.url + answer.headers["Content-Location"] == user.url("/f")
    assert user.get("/f").content == BODY
    assert user.prop("/f", "{DAV:}getlastmodified") == "Fri, 13 Feb 2009 23:31:30 GMT"
    assert uploads.offset(url) == len(BODY)
    assert "/f" in str(user.propfind("/", depth="1"))


def test_what_was_said_at_the_beginning_is_told_again(uploads: Uploads) -> None:
    metadata = uploads.metadata("/f", filetype="text/plain") + ",is_confidential"
    answer = uploads("HEAD", uploads.begin("/f", 5, Upload_Metadata=metadata))
    assert answer.headers["Upload-Metadata"] == metadata
    assert answer.headers["Upload-Length"] == "5"
    assert "Upload-Concat" not in answer.headers


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"path": "/{}/a b ö.txt"}, "/a b ö.txt"),
        ({"path": "{}/plain"}, "/plain"),
        ({"path": "/{}/", "filename": "in it"}, "/in it"),
        ({"path": "/{}/named", "filename": "another"}, "/named"),
    ],
)
def test_where_it_goes(uploads: Uploads, metadata: dict[str, str], path: str) -> None:
    """`path` names the file, or with a slash at its end the collection of `filename`."""
    pairs = {key: value.format(uploads.user.top.strip("/")) for key, value in metadata.items()}
    field = ",".join(f"{key} {encoded(value)}" for key, value in pairs.items())
    url = uploads.begin("", 5, Upload_Metadata=field)
    assert uploads.patch(url, 0, b"bytes").status_code == 204
    assert uploads.user.get(path).content == b"bytes"


def test_a_filename_alone_goes_to_the_top(uploads: Uploads) -> None:
    name = uploads.user.top.strip("/") + ".txt"
    url = uploads.begin("", 5, Upload_Metadata=f"filename {encoded(name)}")
    assert uploads.patch(url, 0, b"bytes").status_code == 204
    assert User(uploads.user.server, "alice").get(f"/{name}").content == b"bytes"


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ("", 400),
        (f"filename {encoded('')}", 400),
        (f"filename {encoded('a/b')}", 400),
        (f"path {encoded('/a/../b')}", 400),
        (f"path {encoded(b'/' + bytes([0xFF]))}", 400),
        (f"path {encoded('/a')},path {encoded('/b')}", 400),
        ("path !!!", 400),
        (f"path {encoded('/' + 'x' * 300)}", 414),
        (f"path {encoded('/no such collection/f')}", 409),
        (f"path {encoded('/.baludav/f')}", 403),
        (f"path {encoded('/')},filename {encoded('.baludav')}", 403),
    ],
)
def test_a_target_that_cannot_be(uploads: Uploads, metadata: str, status: int) -> None:
    answer = uploads.create("", 5, Upload_Metadata=metadata)
    assert (answer.status_code, answer.headers["Tus-Resumable"]) == (status, "1.0.0"), answer.text


@pytest.mark.parametrize("fields", [{}, {"Upload_Length": "-1"}, {"Upload_Length": "5x"}, {"Upload_Defer_Length": "1"}])
def test_a_length_must_be_named(uploads: Uploads, fields: dict[str, str]) -> None:
    assert uploads("POST", uploads.url, Upload_Metadata=uploads.metadata("/f"), **fields).status_code == 400


def test_creation_with_the_bytes(uploads: Uploads) -> None:
    """All of them, some of them, or none because there are none."""
    answer = uploads.create("/all", 5, b"bytes", Content_Type=BYTES)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "5")
    assert answer.headers["ETag"] == etag(b"bytes")
    answer = uploads.create("/some", 5, b"byt", Content_Type=BYTES)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "3")
    assert uploads.user.get("/some").status_code == 404
    assert uploads.patch(uploads.user.server.url + answer.headers["Location"], 3, b"es").status_code == 204
    assert uploads.create("/none", 0).status_code == 201
    assert [uploads.user.get(path).content for path in ("/all", "/some", "/none")] == [b"bytes", b"bytes", b""]


def test_a_creation_that_fails_leaves_nothing(server: Server, uploads: Uploads) -> None:
    """The client is not told the address, so nothing may stay there."""
    before = left_behind(server, "alice")
    sha1 = encoded(hashlib.sha1(b"other", usedforsecurity=False).digest())
    answer = uploads.create("/f", 5, b"bytes", Content_Type=BYTES, Upload_Checksum=f"sha1 {sha1}")
    assert answer.status_code == 460
    assert uploads.create("/f", 3, b"bytes", Content_Type=BYTES).status_code == 413
    assert left_behind(server, "alice") == before


def test_a_lost_connection(server: Server, uploads: Uploads) -> None:
    """What came is kept, and the upload goes on from there, also after a restart of the server."""
    url = uploads.begin("/f", len(BODY))
    uploads.broken(url, 0, BODY[:400_000], len(BODY))
    wait_for(lambda: uploads.offset(url) == 400_000, 60, "what came is kept")
    server.restart()
    uploads.broken(url, 400_000, BODY[400_000:900_000], len(BODY) - 400_000)
    wait_for(lambda: uploads.offset(url) == 900_000, 60, "what came is kept")
    assert uploads.patch(url, 900_000, BODY[900_000:]).headers["ETag"] == etag(BODY)
    assert uploads.user.get("/f").content == BODY


def test_a_killed_server_has_what_it_said(tmp_path: Path) -> None:
    """What was acknowledged is there; of a request under way, all but the last piece."""
    body = os.urandom(40 << 20)
    with Server(tmp_path / "data") as server:
        server.add_user("alice")
        uploads = Uploads(User(server, "alice"))
        url = uploads.begin("/f", len(body) + 10)
        assert uploads.patch(url, 0, b"acknowledged"[:10]).status_code == 204
        holder = threading.Event()

        def endless() -> Iterator[bytes]:
            for start in range(0, len(body) - 100, 1 << 20):
                yield body[start : start + (1 << 20)]
            holder.wait(60)

        with ThreadPoolExecutor(1) as pool:
            request = pool.submit(uploads.patch, url, 10, endless())
            other = Uploads(User(server, "alice"))
            wait_for(lambda: other.offset(url) >= 10 + (32 << 20), 60, "pieces are kept while more come")
            server.kill()
            holder.set()
            with pytest.raises(requests.RequestException):
                request.result(60)
        server.start()
        there = uploads.offset(url)
        assert there >= 10 + (32 << 20)
        assert uploads.patch(url, there, body[there - 10 :]).status_code == 204
        assert uploads.user.get("/f").content == b"acknowledg" + body


def test_a_wrong_offset(uploads: Uploads) -> None:
    """409 whether too small or too large, and nothing is added."""
    url = uploads.begin("/f", 10)
    uploads.patch(url, 0, b"01234")
    for offset in (0, 4, 6, 10, 99):
        answer = uploads.patch(url, offset, b"x")
        assert (answer.status_code, answer.headers["Tus-Resumable"]) == (409, "1.0.0")
    assert uploads.patch(url, 5, b"56789").status_code == 204
    assert uploads.patch(url, 0, b"x").status_code == 409
    assert uploads.user.get("/f").content == b"0123456789"


@pytest.mark.parametrize("how", ["with a length", "in chunks"])
def test_more_bytes_than_there_are(uploads: Uploads, how: str) -> None:
    """413, nothing of them is kept, and the upload can be completed."""
    url = uploads.begin("/f", 10)
    body = b"0123456789x" if how == "with a length" else iter([b"01234", b"56789", b"x"])
    assert uploads.patch(url, 0, body).status_code == 413
    assert uploads.offset(url) == 0
    assert uploads.user.get("/f").status_code == 404
    assert uploads.patch(url, 0, iter([b"01234", b"56789"])).status_code == 204
    assert uploads.user.get("/f").content == b"0123456789"


def test_a_body_of_another_type(uploads: Uploads) -> None:
    url = uploads.begin("/f", 5)
    assert uploads.patch(url, 0, b"bytes", Content_Type="application/octet-stream").status_code == 415
    assert uploads.patch(url, 0, b"bytes", Content_Encoding="gzip").status_code == 415
    assert uploads("PATCH", url, b"bytes", Content_Type=BYTES).status_code == 400
    assert uploads.offset(url) == 0


def test_a_client_that_cannot_say_patch(uploads: Uploads) -> None:
    url = uploads.begin("/f", 5)
    fields = {"Upload_Offset": "0", "Content_Type": BYTES, "X_HTTP_Method_Override": "PATCH"}
    assert uploads("POST", url, b"bytes", **fields).status_code == 204
    assert uploads.user.get("/f").content == b"bytes"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_checksums(uploads: Uploads, algorithm: str) -> None:
    """460, and none of the bytes is kept; so are none of a request that broke off."""

    def checksum(body: bytes) -> str:
        return f"{algorithm} {encoded(hashlib.new(algorithm, body, usedforsecurity=False).digest())}"

    url = uploads.begin("/f", 10)
    assert uploads.patch(url, 0, b"01234", Upload_Checksum=checksum(b"01234")).status_code == 204
    answer = uploads.patch(url, 5, b"56789", Upload_Checksum=checksum(b"0123456789"))
    assert (answer.status_code, answer.headers["Tus-Resumable"]) == (460, "1.0.0")
    uploads.broken(url, 5, b"56", 5, f"Upload-Checksum: {checksum(b'56789')}")
    assert uploads.offset(url) == 5
    assert uploads.patch(url, 5, b"56789", Upload_Checksum=checksum(b"56789")).headers["ETag"] == etag(b"0123456789")


@pytest.mark.parametrize("field", ["crc32 AAAA", "sha1", "sha1 !!", "sha1 aGFs bGVzIA==", "SHA1 AAAA"])
def test_a_checksum_that_makes_no_sense(uploads: Uploads, field: str) -> None:
    url = uploads.begin("/f", 5)
    assert uploads.patch(url, 0, b"bytes", Upload_Checksum=field).status_code in (400, 460)
    assert uploads.offset(url) == 0


def test_an_upload_is_given_up(server: Server, uploads: Uploads) -> None:
    """Its bytes are gone from disk and quota; of one that is finished, the file stays."""
    before, room = left_behind(server, "alice"), used(uploads.user)
    url = uploads.begin("/f", 10)
    uploads.patch(url, 0, b"01234")
    assert used(uploads.user) == room + 5
    assert uploads("DELETE", url).status_code == 204
    assert used(uploads.user) == room
    assert left_behind(server, "alice") == before
    for method in ("HEAD", "DELETE"):
        assert uploads(method, url).status_code == 404
    assert uploads.patch(url, 5, b"56789").status_code == 404
    url = uploads.begin("/f", 5)
    uploads.patch(url, 0, b"bytes")
    assert uploads("DELETE", url).status_code == 204
    assert uploads.user.get("/f").content == b"bytes"


def test_uploads_of_others_are_not_there(uploads: Uploads, bob: User) -> None:
    """404, as for one that never was."""
    url, partial = uploads.begin("/f", 10), uploads.partial(b"part")
    his = Uploads(bob)
    for address in (url, f"{uploads.url}never-was"):
        assert his("HEAD", address).status_code == 404
        assert "Upload-Offset" not in his("HEAD", address).headers
        assert his.patch(address, 0, b"x").status_code == 404
        assert his("DELETE", address).status_code == 404
    final = {"Upload_Concat": f"final;{partial}", "Upload_Metadata": his.metadata("/f")}
    assert his("POST", his.url, **final).status_code == 404
    assert (uploads.offset(url), uploads.offset(partial)) == (0, 4)


def test_uploads_in_chunks_are_others(uploads: Uploads) -> None:
    """What Nextcloud clients call by names of their own is not reached here, nor the other way round."""
    session, server = uploads.user.session, uploads.user.server
    cloud = f"{server.url}/remote.php/dav/uploads/alice"
    url = uploads.begin("/f", 10)
    upload_id = url.rpartition("/")[2]
    assert upload_id not in session.request("PROPFIND", cloud, headers={"Depth": "1"}, timeout=60).text
    for name in (upload_id, f"%2F{upload_id}"):
        assert session.put(f"{cloud}/{name}/1", data=b"x", timeout=60).status_code in (400, 404)
    assert session.request("MKCOL", f"{cloud}/{upload_id}x", timeout=60).status_code == 201
    assert uploads("HEAD", f"{url}x").status_code == 404
    assert session.delete(f"{cloud}/{upload_id}x", timeout=60).status_code == 204


def test_nobodys_edit_is_lost(uploads: Uploads) -> None:
    """Conditions hold at the beginning and at the end; what was refused at the end is not said to be complete."""
    user = uploads.user
    user.put("/f", b"first")
    assert uploads.create("/f", 5, If_None_Match="*").status_code == 412
    assert uploads.create("/f", 5, If_Match=etag(b"other")).status_code == 412
    url = uploads.begin("/f", 8, If_Match=etag(b"first"))
    assert uploads.patch(url, 0, b"upl").status_code == 204
    user.put("/f", b"second")
    answer = uploads.patch(url, 3, b"oaded")
    assert (answer.status_code, answer.headers["Tus-Resumable"]) == (412, "1.0.0")
    assert user.get("/f").content == b"second"
    assert uploads.offset(url) == 3
    assert uploads.patch(url, 3, b"oaded", If_Match=etag(b"second")).status_code == 204
    assert user.get("/f").content == b"uploaded"


def test_of_two_that_create_one_wins(uploads: Uploads) -> None:
    """`If-None-Match: *` of both held when they began."""
    urls = [uploads.begin("/f", 3, If_None_Match="*") for _ in range(2)]
    answers = [uploads.patch(url, 0, body) for url, body in zip(urls, (b"one", b"two"), strict=True)]
    assert [answer.status_code for answer in answers] == [204, 412]
    assert uploads.user.get("/f").content == b"one"


def test_locks(uploads: Uploads) -> None:
    """423 at the beginning and at the end; the token lets the upload through, by a tag or without."""
    user = uploads.user
    user.put("/f", b"old")
    early = uploads.begin("/f", 3)
    token = user.lock("/f")
    assert uploads.create("/f", 3).status_code == 423
    answer = uploads.patch(early, 0, b"new")
    assert answer.status_code == 423
    assert f"<D:href>{user.url('/f').removeprefix(user.server.url)}" in answer.text
    assert uploads.offset(early) == 0
    url = uploads.begin("/f", 5, If=f"<{user.url('/f')}> (<{token}>)")
    assert uploads.patch(url, 0, b"named").status_code == 204
    assert uploads.patch(early, 0, b"new", If=f"(<{token}>)").status_code == 204
    assert user.get("/f").content == b"new"


def test_what_was_there_is_a_version(uploads: Uploads) -> None:
    """And the resource stays the same one: properties, history."""
    user = uploads.user
    user.put("/f", b"old bytes")
    url = uploads.begin("/f", 3)
    uploads.patch(url, 0, b"new")
    found = user.session.get(f"{user.server.url}/api/sync/history", params={"path": f"{user.top}/f"}, timeout=60).json()
    assert [one["sha256"] for one in found["versions"]] == [hashlib.sha256(b"old bytes").hexdigest()]


def test_two_at_once_do_not_mix(server: Server, uploads: Uploads) -> None:
    """Of several PATCHes with one offset exactly one is taken."""
    size = 600_000
    bodies = [bytes([letter]) * size for letter in b"abcd"]
    url = uploads.begin("/f", 2 * size)
    several = [Uploads(User(server, "alice")) for _ in bodies]
    with ThreadPoolExecutor(len(bodies)) as pool:
        for offset in (0, size):
            sent = pool.map(lambda one, body, at=offset: one.patch(url, at, body).status_code, several, bodies)
            assert sorted(sent) == [204, 409, 409, 409]
    found = uploads.user.get("/f").content
    assert len(found) == 2 * size
    assert found[:size] in bodies
    assert found[size:] in bodies


def test_one_that_hangs_keeps_nobody_waiting(server: Server, uploads: Uploads) -> None:
    """The client has lost the connection, the server has not noticed yet: what comes by another is taken."""
    url = uploads.begin("/f", 1_000_000)
    head = (
        f"PATCH {url.removeprefix(server.url)} HTTP/1.1\r\nHost: 127.0.0.1\r\nTus-Resumable: 1.0.0\r\n"
        f"Authorization: {basic(*server.auth('alice'))}\r\nContent-Type: {BYTES}\r\nUpload-Offset: 0\r\n"
        "Content-Length: 1000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as hanging:
        hanging.sendall(head.encode() + b"x" * 500_000)
        assert uploads.offset(url) == 0
        assert uploads.patch(url, 0, b"y" * 1_000_000).status_code == 204
        hanging.sendall(b"x" * 500_000)
        assert hanging.recv(1000).startswith(b"HTTP/1.1 409")
    assert uploads.user.get("/f").content == b"y" * 1_000_000


def test_the_quota(small: Uploads) -> None:
    """What has come counts, whoever asks; nothing is taken that does not fit, and the end needs no second room."""
    user = small.user
    url = small.begin("/f", 900_000)
    assert small.patch(url, 0, b"x" * 600_000).status_code == 204
    assert used(user) == 600_000
    assert user.put("/other", b"y" * 500_000).status_code == 507
    assert small.create("/other", 500_000).status_code == 507
    assert small.patch(url, 600_000, b"x" * 300_000).status_code == 204
    assert used(user) == 900_000
    assert user.get("/f").content == b"x" * 900_000
    assert small.create("/larger", 2_000_001).status_code == 413


def test_two_together_do_not_pass_the_quota(small: Uploads) -> None:
    """Both fitted when they began; the bytes that do not fit are refused, those that came before stay."""
    first, second = small.begin("/a", 700_000), small.begin("/b", 700_000)
    assert small.patch(first, 0, b"a" * 500_000).status_code == 204
    assert small.patch(second, 0, b"b" * 400_000).status_code == 204
    assert small.patch(second, 400_000, b"b" * 300_000).status_code == 507
    assert small.offset(second) == 400_000
    assert small.patch(first, 500_000, b"a" * 200_000).status_code == 507
    assert small("DELETE", second).status_code == 204
    assert small.patch(first, 500_000, b"a" * 200_000).status_code == 204
    assert used(small.user) == 700_000


def test_concatenation(server: Server, uploads: Uploads) -> None:
    """Parts in the order that is named make a file; they and their bytes are gone then, and its length is theirs."""
    user, before, room = uploads.user, left_behind(server, "alice"), used(uploads.user)
    parts = [uploads.partial(body) for body in (b"world", b"hello ", b"")]
    assert uploads("HEAD", parts[0]).headers["Upload-Concat"] == "partial"
    concat = f"final;{parts[1].removeprefix(server.url)} {parts[0]} {parts[2]}"
    fields = {"Upload_Concat": concat, "Upload_Metadata": uploads.metadata("/f", mtime="1234567890")}
    assert uploads("POST", uploads.url, Upload_Length="11", **fields).status_code == 400
    answer = uploads("POST", uploads.url, **fields)
    assert (answer.status_code, answer.headers["ETag"]) == (201, etag(b"hello world"))
    assert user.get("/f").content == b"hello world"
    assert user.prop("/f", "{DAV:}getlastmodified") == "Fri, 13 Feb 2009 23:31:30 GMT"
    final = uploads("HEAD", server.url + answer.headers["Location"])
    assert (final.headers["Upload-Length"], final.headers["Upload-Offset"]) == ("11", "11")
    assert final.headers["Upload-Concat"] == concat
    assert uploads.patch(server.url + answer.headers["Location"], 11, b"!").status_code == 403
    assert [uploads("HEAD", part).status_code for part in parts] == [404, 404, 404]
    assert left_behind(server, "alice") == before
    assert used(user) == room + 11


def test_what_cannot_be_concatenated(uploads: Uploads) -> None:
    """Parts that are not complete, not parts, named twice, or none; and conditions hold. All parts stay."""
    user = uploads.user
    user.put("/f", b"old")
    whole, part = uploads.begin("/whole", 4), uploads.partial(b"part")
    answer = uploads("POST", uploads.url, Upload_Length="4", Upload_Concat="partial")
    unfinished = user.server.url + answer.headers["Location"]
    metadata = uploads.metadata("/f")
    for urls in ((whole,), (part, unfinished), (part, part), (), ("/elsewhere/x",)):
        final = uploads("POST", uploads.url, Upload_Concat=f"final;{' '.join(urls)}", Upload_Metadata=metadata)
        assert final.status_code == 400, urls
    fields = {"Upload_Concat": f"final;{part}", "Upload_Metadata": metadata}
    assert uploads("POST", uploads.url, **fields, If_None_Match="*").status_code == 412
    assert uploads("POST", uploads.url, Upload_Concat="whatever", Upload_Length="1").status_code == 400
    assert user.get("/f").content == b"old"
    assert uploads.offset(part) == 4
    assert uploads("POST", uploads.url, **fields, If_Match=etag(b"old")).status_code == 201
    assert user.get("/f").content == b"part"


def test_parts_need_no_room_twice_in_the_quota(small: Uploads) -> None:
    parts = [small.partial(bytes([letter]) * 450_000) for letter in b"ab"]
    fields = {"Upload_Concat": f"final;{' '.join(parts)}", "Upload_Metadata": small.metadata("/f")}
    assert small("POST", small.url, **fields).status_code == 201
    assert used(small.user) == 900_000


def test_there_is_a_limit(tmp_path: Path) -> None:
    """Of unfinished uploads of one user; of those that are finished there is none."""
    with Server(tmp_path / "data") as server:
        server.add_user("alice")
        uploads = Uploads(User(server, "alice"))
        urls = [uploads.begin(f"/{number}", 1) for number in range(200)]
        assert uploads.create("/f", 1).status_code == 409
        assert uploads.patch(urls[0], 0, b"x").status_code == 204
        assert uploads.create("/f", 1).status_code == 201


def test_no_other_method(uploads: Uploads) -> None:
    url = uploads.begin("/f", 1)
    for method, address in (("GET", url), ("PUT", url), ("GET", uploads.url), ("DELETE", uploads.url)):
        answer = uploads(method, address)
        assert (answer.status_code, "PATCH" in answer.headers["Allow"]) == (405, True)
