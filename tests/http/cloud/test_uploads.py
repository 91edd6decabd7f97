"""Uploads in chunks: each dialect, broken off, resumed, lied about, and never half a file."""

import hashlib
import itertools
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.http.client import User, basic, etag
from tests.http.cloud.conftest import by_cloud
from tests.serving import Server, wait_for

_numbers = itertools.count()
BODY = os.urandom(2_500_000)


class Upload:
    """One upload of a user, as a client does it.

    Args:
        user: below whose top the file is to go.
    """

    def __init__(self, user: User, name: str = "") -> None:
        self.user = user
        self.name = name or f"upload-{next(_numbers)}"
        self.url = f"{user.server.url}/remote.php/dav/uploads/{user.name}/{self.name}"

    def __call__(self, method: str, member: str = "", data: object = None, **headers: str) -> requests.Response:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.user.session.request(method, self.url + member, data=data, headers=fields, timeout=60)

    def begin(self, **headers: str) -> "Upload":
        assert self("MKCOL", **headers).status_code == 201
        return self

    def put(self, name: str, body: bytes, **headers: str) -> requests.Response:
        return self("PUT", f"/{name}", body, **headers)

    def finish(self, path: str, **headers: str) -> requests.Response:
        return self("MOVE", "/.file", Destination=self.user.url(path), **headers)

    def chunks(self) -> dict[str, int]:
        """What the server has: sizes by name."""
        answer = self("PROPFIND", Depth="1")
        assert answer.status_code == 207, answer.text
        top = User(self.user.server, self.user.name, f"/{self.name}", f"/remote.php/dav/uploads/{self.user.name}")
        found = top.multistatus(answer)
        assert found.pop("/").get("{DAV:}resourcetype") is not None
        return {path[1:]: int(one.text("{DAV:}getcontentlength") or -1) for path, one in found.items()}


def _pieces(body: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(body), size):
        yield start, body[start : start + size]


def _left_behind(server: Server, name: str) -> list[str]:
    return [path.name for which in ("tmp", "uploads") for path in (server.home(name) / ".baludav" / which).iterdir()]


NAMES = {
    "nextcloud 1": lambda number, start, piece: (f"{number:016}", {"OC_Chunk_Offset": str(start)}),
    "owncloud": lambda number, start, piece: (f"{start:016}", {"OC_Chunk_Offset": str(start)}),
    "rclone": lambda number, start, piece: (f"{start:015}-{start + len(piece) - 1:015}", {}),
    "nextcloud 2": lambda number, start, piece: (f"{number + 1}", {}),
}


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("order", ["forward", "backward"])
def test_each_dialect_in_any_order(cloud: User, dialect: str, order: str) -> None:
    """Names decide where a chunk belongs, also 2 before 10; the answer is that of a PUT."""
    pieces = [(*NAMES[dialect](n, start, piece), piece) for n, (start, piece) in enumerate(_pieces(BODY, 200_000))]
    target = {"Destination": cloud.url("/f")} if dialect == "nextcloud 2" else {}
    upload = Upload(cloud).begin(OC_Total_Length=str(len(BODY)), **target)
    for name, headers, piece in pieces if order == "forward" else reversed(pieces):
        assert upload.put(name, piece, **headers, **target).status_code == 201
    assert upload.chunks() == {name: len(piece) for name, _, piece in pieces}
    answer = upload.finish("/f", OC_Total_Length=str(len(BODY)), X_OC_Mtime="1234567890")
    assert (answer.status_code, answer.headers["ETag"]) == (201, etag(BODY))
    assert answer.headers["OC-ETag"] == answer.headers["ETag"]
    assert answer.headers["OC-FileId"] == cloud.prop("/f", "{http://owncloud.org/ns}id")
    assert answer.headers["X-OC-MTime"] == "accepted"
    assert cloud.get("/f").content == BODY
    assert cloud.prop("/f", "{DAV:}getlastmodified") == "Fri, 13 Feb 2009 23:31:30 GMT"
    assert upload("PROPFIND", Depth="1").status_code == 404


def test_an_upload_that_broke_off_is_resumed(server: Server, cloud: User) -> None:
    """A chunk that was cut off is not there; what was acknowledged is, and it can be sent again."""
    upload = Upload(cloud).begin()
    upload.put("1", b"one ")
    path = upload.url.removeprefix(server.url)
    head = (
        f"PUT {path}/2 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {basic(*server.auth('alice'))}\r\n"
        f"Content-Length: 4000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode() + b"x" * 400_000)
    assert upload.chunks() == {"1": 4}
    assert upload.put("2", b"two ").status_code == 201
    assert upload.put("1", b"one ").status_code == 201, "the answer was lost, so it comes again"
    assert upload.put("3", b"three").status_code == 201
    assert upload.finish("/f").status_code == 201
    assert cloud.get("/f").content == b"one two three"
    wait_for(lambda: _left_behind(server, "alice") == [], 10, "nothing is left behind")


def test_a_compressed_chunk(cloud: User) -> None:
    """415: its bytes are not those of the file."""
    upload = Upload(cloud).begin()
    assert upload.put("1", b"x", Content_Encoding="gzip").status_code == 415
    assert upload.chunks() == {}
    assert upload("DELETE").status_code == 204


def test_a_chunk_of_another_size_takes_the_place(cloud: User) -> None:
    """A client that resumes with other sizes sends a chunk anew; the last one of its name counts."""
    upload = Upload(cloud).begin()
    for name, body in (("1", b"aaaa"), ("2", b"bbbb"), ("1", b"AA"), ("3", b"cc"), ("2", b"BBBBBBBB")):
        upload.put(name, body)
    assert upload.chunks() == {"1": 2, "2": 8, "3": 2}
    assert upload.finish("/f").headers["ETag"] == etag(b"AABBBBBBBBcc")
    assert cloud.get("/f").content == b"AABBBBBBBBcc"


def test_offsets_that_lie_spoil_nothing(cloud: User) -> None:
    """Two chunks that claim one place, and one far beyond the end."""
    upload = Upload(cloud).begin(OC_Total_Length="12")
    upload.put("1", b"1111", OC_Chunk_Offset="0")
    upload.put("2", b"2222", OC_Chunk_Offset="2")
    upload.put("3", b"3333", OC_Chunk_Offset="999999999999999")
    assert upload.finish("/f", OC_Total_Length="12").status_code == 201
    assert cloud.get("/f").content == b"111122223333"


@pytest.mark.parametrize("where", ["at the beginning", "at the end"])
def test_a_length_that_is_not_reached(cloud: User, where: str) -> None:
    """400, the old bytes stay, and the upload can be completed."""
    cloud.put("/f", b"old")
    upload = Upload(cloud).begin(**({"OC_Total_Length": "8"} if where == "at the beginning" else {}))
    upload.put("1", b"half")
    assert upload.finish("/f", **({"OC_Total_Length": "8"} if where == "at the end" else {})).status_code == 400
    assert cloud.get("/f").content == b"old"
    upload.put("2", b"half")
    assert upload.finish("/f", OC_Total_Length="8").status_code == 204
    assert cloud.get("/f").content == b"halfhalf"


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_the_hash_of_the_whole(cloud: User, algorithm: str) -> None:
    """What does not have the announced hash is thrown away: the client can only begin again."""
    upload = Upload(cloud).begin()
    upload.put("1", b"what ")
    upload.put("2", b"came")
    wrong = f"{algorithm.upper()}:{hashlib.new(algorithm, b'what was meant').hexdigest()}"
    assert upload.finish("/f", OC_Checksum=wrong).status_code == 400
    assert cloud.get("/f").status_code == 404
    assert upload("PROPFIND", Depth="1").status_code == 404
    upload.begin()
    upload.put("1", b"what ")
    upload.put("2", b"came")
    right = f"{algorithm.upper()}:{hashlib.new(algorithm, b'what came').hexdigest()}"
    assert upload.finish("/f", OC_Checksum=right).status_code == 201


def test_what_is_overwritten_must_be_what_the_client_knows(cloud: User) -> None:
    """A tagged list (RFC 4918 §10.4) names the target, as If-Match would speak of the upload."""
    known = cloud.put("/f", b"known").headers["ETag"]
    path = cloud.url("/f").removeprefix(cloud.server.url)
    upload = Upload(cloud).begin()
    upload.put("1", b"mine")
    cloud.put("/f", b"another's")
    assert upload.finish("/f", If=f"<{path}> ([{known}])").status_code == 412
    assert cloud.get("/f").content == b"another's"
    assert upload.finish("/f", Overwrite="F").status_code == 412
    now = cloud.get("/f").headers["ETag"]
    assert upload.finish("/f", If=f"<{path}> ([{now}])").status_code == 204
    assert cloud.get("/f").content == b"mine"


def test_the_last_step_can_be_repeated(cloud: User) -> None:
    """A client that lost the answer gets it again; elsewhere, or when the file has changed since, there is none."""
    upload = Upload(cloud).begin()
    upload.put("1", b"bytes")
    first = upload.finish("/f")
    again = upload.finish("/f")
    assert again.status_code in (201, 204)
    assert [again.headers[name] for name in ("ETag", "OC-FileId")] == [
        first.headers[name] for name in ("ETag", "OC-FileId")
    ]
    assert upload.finish("/g").status_code == 404
    assert upload.put("2", b"late").status_code == 404
    cloud.put("/f", b"changed since")
    assert upload.finish("/f").status_code == 404
    assert cloud.get("/f").content == b"changed since"


def test_a_name_is_used_again(cloud: User) -> None:
    """rclone calls every upload of a file alike; an unfinished one is given up first."""
    upload = Upload(cloud).begin()
    upload.put("1", b"first")
    assert upload("MKCOL").status_code == 405
    upload.finish("/f")
    upload.begin()
    assert upload.chunks() == {}
    upload.put("1", b"second")
    assert upload.finish("/f").status_code == 204
    assert cloud.get("/f").content == b"second"


def test_an_upload_is_given_up(server: Server, cloud: User) -> None:
    upload = Upload(cloud).begin()
    upload.put("1", b"bytes")
    assert upload("DELETE").status_code == 204
    assert upload("DELETE").status_code == 404
    assert upload("PROPFIND", Depth="0").status_code == 404
    assert upload.put("2", b"bytes").status_code == 404
    assert upload.finish("/f").status_code == 404
    assert _left_behind(server, "alice") == []


def test_chunks_at_once(cloud: User) -> None:
    """Over two workers, in any order, some of them twice."""
    upload = Upload(cloud).begin(OC_Total_Length=str(len(BODY)))
    left = [*_pieces(BODY, 100_000)] * 2
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not left:
                    return
                start, piece = left.pop()
            mine = Upload(User(cloud.server, "alice", cloud.top, cloud.mount), upload.name)
            assert mine.put(f"{start:016}", piece, OC_Chunk_Offset=str(start)).status_code == 201

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert upload.finish("/f").headers["ETag"] == etag(BODY)
    assert hashlib.sha256(cloud.get("/f").content).hexdigest() == hashlib.sha256(BODY).hexdigest()


def test_two_clients_finish_at_once(cloud: User) -> None:
    """One writes; the other gets the same answer."""
    upload = Upload(cloud).begin()
    upload.put("1", BODY)
    answers: list[requests.Response] = []
    gate = threading.Barrier(6)

    def work() -> None:
        mine = Upload(User(cloud.server, "alice", cloud.top, cloud.mount), upload.name)
        gate.wait()
        answers.append(mine.finish("/f"))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [201, *[204] * 5]
    assert {answer.headers["ETag"] for answer in answers} == {etag(BODY)}


def test_where_it_cannot_go(cloud: User) -> None:
    """Refused at the last step as a PUT would be, and the upload is still there."""
    cloud("MKCOL", "/c")
    upload = Upload(cloud).begin()
    upload.put("1", b"bytes")
    assert upload.finish("/c").status_code == 405
    assert upload.finish("/missing/f").status_code == 409
    assert upload("MOVE", "/.file", Destination=cloud.server.dav("alice") + "f").status_code == 502
    assert upload("MOVE", "/.file").status_code == 400
    assert upload("MOVE", "/1", Destination=cloud.url("/f")).status_code == 405
    assert upload("COPY", "/.file", Destination=cloud.url("/f")).status_code == 405
    assert upload.finish("/f").status_code == 201
    upload.begin()
    upload.put("1", b"new")
    token = by_cloud(cloud.server, "alice").lock(f"{cloud.top}/f")
    assert upload.finish("/f").status_code == 423
    assert cloud.get("/f").content == b"bytes"
    path = cloud.url("/f").removeprefix(cloud.server.url)
    assert upload.finish("/f", If=f"<{path}> (<{token}>)").status_code == 204


def test_nobody_reaches_the_uploads_of_others(server: Server, cloud: User) -> None:
    upload = Upload(cloud).begin()
    upload.put("1", b"bytes")
    bob = User(server, "bob", "", "/remote.php/dav/uploads")
    assert bob("PROPFIND", "/alice", Depth="1").status_code == 404
    assert bob("PROPFIND", f"/alice/{upload.name}", Depth="1").status_code == 404
    assert bob("PUT", f"/alice/{upload.name}/2", b"x").status_code == 404
    assert bob("PROPFIND", f"/bob/{upload.name}", Depth="1").status_code == 404
    mine = Upload(by_cloud(server, "bob"), upload.name)
    assert mine("DELETE").status_code == 404
    assert mine("MOVE", "/.file", Destination=cloud.url("/f")).status_code == 502
    assert requests.request("PROPFIND", upload.url, timeout=30).status_code == 401
    assert upload("PROPFIND", Depth="1").status_code == 207


def test_uploads_are_listed(cloud: User) -> None:
    upload = Upload(cloud).begin()
    found = User(cloud.server, "alice", "", "/remote.php/dav/uploads/alice").propfind("/", depth="1")
    assert f"/{upload.name}" in found
    assert upload("DELETE").status_code == 204


def test_an_empty_file(cloud: User) -> None:
    assert Upload(cloud).begin().finish("/f", OC_Total_Length="0").headers["ETag"] == etag(b"")


def test_into_a_share(office: Server) -> None:
    """The chunks gather in the home, or, if the client says where they go (version 2), in the share itself."""
    anna = by_cloud(office, "anna")
    for number, headers in enumerate(({}, {"Destination": anna.url("/Team/2")})):
        upload = Upload(anna).begin(**headers)
        upload.put("1", b"one ")
        upload.put("2", b"two")
        assert upload.finish(f"/Team/{number}").headers["ETag"] == etag(b"one two")
        assert anna.get(f"/Team/{number}").content == b"one two"
    assert Upload(anna)("MKCOL", Destination=anna.url("/Paper/x")).status_code == 403
    upload = Upload(anna).begin()
    upload.put("1", b"x")
    assert upload.finish("/Paper/x").status_code == 403


def test_they_count_toward_the_quota_and_survive_a_restart(tmp_path: Path) -> None:
    """Chunks that fill the quota are refused; given up they make room; a restart loses none."""
    with Server(tmp_path / "data") as server:
        server.add_user("ida", quota="1MB")
        ida = by_cloud(server, "ida")
        upload = Upload(ida).begin()
        assert upload.put("1", b"a" * 600_000).status_code == 201
        assert ida.put("/f", b"x" * 600_000).status_code == 507
        assert upload.put("2", b"b" * 600_000).status_code == 507
        assert upload("PUT", "/2", (b"b" * 10_000 for _ in range(60))).status_code == 507
        assert Upload(ida)("MKCOL", OC_Total_Length="600000").status_code == 507
        assert upload.put("1", b"A" * 600_000).status_code == 201, "the same chunk again takes no more room"
        server.restart()
        assert upload.chunks() == {"1": 600_000}
        assert upload.put("2", b"b" * 400_000).status_code == 201
        answer = upload.finish("/f")
        assert (answer.status_code, answer.headers["ETag"]) == (201, etag(b"A" * 600_000 + b"b" * 400_000))
        assert int(ida.prop("/", "{DAV:}quota-used-bytes") or 0) == 1_000_000
        assert ida("DELETE", "/f").status_code == 204
        upload = Upload(ida).begin()
        assert upload.put("1", b"a" * 1_000_000).status_code == 201
        assert upload("DELETE").status_code == 204
        assert ida.put("/g", b"x" * 1_000_000).status_code == 201


def test_too_large(tmp_path: Path) -> None:
    with Server(tmp_path / "data", environment={"BALUDAV_LIMITS": '{"upload": "10KB"}'}) as server:
        server.add_user("ida")
        ida = by_cloud(server, "ida")
        assert Upload(ida)("MKCOL", OC_Total_Length="10001").status_code == 413
        upload = Upload(ida).begin()
        assert upload.put("1", b"x" * 10_001).status_code == 413
        assert upload.put("1", b"x" * 6_000).status_code == 201
        assert upload.put("2", b"x" * 6_000).status_code == 201
        assert upload.finish("/f").status_code == 413
