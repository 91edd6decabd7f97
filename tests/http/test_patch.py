"""SabreDAV's partial updates: every range, and that readers, other writers and a full disk never see half of one."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from baludav.tree.http.digests import format_digest
from tests.http.client import User, basic, etag
from tests.serving import Server

TYPE = "application/x-sabredav-partialupdate"
OLD = b"0123456789"


def patch(user: User, path: str, body: object, update: str | None, **headers: str) -> requests.Response:
    fields = {"Content_Type": TYPE, **({"X_Update_Range": update} if update is not None else {}), **headers}
    return user("PATCH", path, body, **fields)


@pytest.fixture
def user(alice: User) -> User:
    """Alice, who has a file."""
    assert alice.put("/f", OLD).status_code == 201
    return alice


def test_it_is_offered(user: User) -> None:
    answer = user("OPTIONS", "/f")
    assert "sabredav-partialupdate" in answer.headers["DAV"]
    assert "PATCH" in answer.headers["Allow"]
    assert answer.headers["Accept-Patch"] == TYPE


@pytest.mark.parametrize(
    ("update", "body", "new"),
    [
        ("append", b"abc", b"0123456789abc"),
        ("APPEND", b"abc", b"0123456789abc"),
        ("bytes=2-4", b"abc", b"01abc56789"),
        ("bytes=0-0", b"a", b"a123456789"),
        ("bytes=8-", b"abc", b"01234567abc"),
        ("bytes=10-", b"abc", b"0123456789abc"),
        ("bytes=9-12", b"abcd", b"012345678abcd"),
        ("bytes=-3", b"a", b"0123456a89"),
        ("bytes=-10", b"abc", b"abc3456789"),
        ("bytes=-1", b"abc", b"012345678abc"),
        ("bytes=5-", b"", OLD),
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
def test_each_range(user: User, update: str, body: bytes, new: bytes, is_known: bool) -> None:
    """With a length, and in chunks."""
    answer = patch(user, "/f", body if is_known else iter([body] if body else []), update)
    assert (answer.status_code, answer.headers["ETag"]) == (204, etag(new)), answer.text
    found = user.get("/f")
    assert (found.content, found.headers["ETag"]) == (new, etag(new))


@pytest.mark.parametrize(
    ("update", "status"),
    [
        (None, 400), ("", 400), ("bytes=", 400), ("bytes=-", 400), ("bytes=a-b", 400), ("bytes=1-2,4-5", 400),
        ("items=1-3", 400), ("bytes=1-3x", 400), (f"bytes={'9' * 19}-", 400),
        ("bytes=4-2", 416), ("bytes=2-5", 416), ("bytes=2-3", 416),  # the body has three bytes
        ("bytes=11-", 416), ("bytes=11-13", 416), ("bytes=-11", 416), (f"bytes={'9' * 18}-", 416),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_known", [True, False])
def test_a_range_that_cannot_be(user: User, update: str | None, status: int, is_known: bool) -> None:
    """There is never a hole, and nothing is changed."""
    answer = patch(user, "/f", b"abc" if is_known else iter([b"abc"]), update)
    assert answer.status_code == status, answer.text
    assert user.get("/f").content == OLD


def test_what_cannot_be_updated(user: User) -> None:
    """Nothing, a collection, a file written as one, a body of another type; and a PUT is no partial update."""
    user("MKCOL", "/c")
    assert patch(user, "/nothing", b"x", "append").status_code == 404
    assert patch(user, "/no/parent", b"x", "append").status_code == 409
    assert patch(user, "/c", b"x", "append").status_code == 405
    assert patch(user, "/f/", b"x", "append").status_code == 404
    answer = user("PATCH", "/f", b"x", Content_Type="text/plain", X_Update_Range="append")
    assert (answer.status_code, answer.headers["Accept-Patch"]) == (415, TYPE)
    assert patch(user, "/f", b"x", "append", Content_Encoding="gzip").status_code == 415
    assert user.put("/f", b"x", Content_Type=TYPE, X_Update_Range="append").status_code == 415
    assert user.get("/f").content == OLD


def test_nobody_updates_without_signing_in(server: Server, user: User, bob: User) -> None:
    headers = {"Content-Type": TYPE, "X-Update-Range": "append"}
    assert requests.patch(user.url("/f"), b"x", headers=headers, timeout=60).status_code == 401
    his = User(server, "bob", user.top)
    assert patch(his, "/f", b"x", "append").status_code in (404, 409)
    assert user.get("/f").content == OLD


def test_conditions(user: User) -> None:
    """Checked before the bytes are sent, and at the end."""
    assert patch(user, "/f", b"x", "append", If_Match=etag(b"other")).status_code == 412
    assert patch(user, "/f", b"x", "append", If_None_Match="*").status_code == 412
    assert patch(user, "/f", b"x", "append", If=f"([{etag(b'other')}])").status_code == 412
    first = patch(user, "/f", b"x", "append", If_Match=etag(OLD))
    assert first.status_code == 204
    again = patch(user, "/f", b"x", "append", If_Match=etag(OLD))
    assert again.status_code == 412, "the answer was lost, and the client must look before it appends again"
    assert user.get("/f").content == OLD + b"x"


def test_locks(user: User) -> None:
    token = user.lock("/f")
    assert patch(user, "/f", b"x", "append").status_code == 423
    assert patch(user, "/f", b"x", "append", If=f"(<{token}>)").status_code == 204
    assert user.get("/f").content == OLD + b"x"


def test_the_file_stays_itself(user: User) -> None:
    """Dead properties stay, what was there is a version, and a time may be wished for."""
    update = '<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:t">1</a></prop></set></propertyupdate>'
    user("PROPPATCH", "/f", update)
    answer = patch(user, "/f", b"x", "append", X_OC_Mtime="1234567890")
    assert answer.headers["X-OC-Mtime"] == "accepted"
    assert user.prop("/f", "{urn:t}a") == "1"
    assert user.prop("/f", "{DAV:}getlastmodified") == "Fri, 13 Feb 2009 23:31:30 GMT"
    api = f"{user.server.url}/api/sync/history"
    found = user.session.get(api, params={"path": f"{user.top}/f"}, timeout=60).json()
    assert [one["sha256"] for one in found["versions"]] == [hashlib.sha256(OLD).hexdigest()]


def test_digests(user: User) -> None:
    """`Content-Digest` is that of the body."""
    right, wrong = (format_digest(hashlib.sha256(body).hexdigest()) for body in (b"new", b"old"))
    assert patch(user, "/f", b"new", "append", Content_Digest=wrong).status_code == 400
    assert user.get("/f").content == OLD
    assert patch(user, "/f", b"new", "append", Content_Digest=right).status_code == 204


def test_a_lost_connection(server: Server, user: User) -> None:
    """Nothing of an update is there of which not everything came, whether it has a length or comes in chunks."""
    for field, body in (("Content-Length: 1000000", b"x" * 400_000), ("Transfer-Encoding: chunked", b"5\r\nxxxxx\r\n")):
        head = [
            f"PATCH {user.url('/f').removeprefix(server.url)} HTTP/1.1", "Host: 127.0.0.1",
            f"Authorization: {basic(*server.auth('alice'))}", f"Content-Type: {TYPE}", "X-Update-Range: append",
            field, "", "",
        ]  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall("\r\n".join(head).encode() + body)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
        assert user.get("/f").content == OLD


def test_a_reader_sees_old_or_new(server: Server, user: User) -> None:
    """Each answer is one whole file, with the entity-tag of just these bytes."""
    size = 3_000_000
    states = [bytes([letter]) * size for letter in b"abcdef"]
    user.put("/f", states[0])
    stop = threading.Event()
    seen = []

    def read() -> None:
        reader = User(server, "alice", user.top)
        while not stop.is_set():
            answer = reader.get("/f")
            seen.append((hashlib.sha256(answer.content).hexdigest(), answer.headers["ETag"].strip('"')))

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for state in states[1:]:
            assert patch(user, "/f", state, f"bytes=0-{size - 1}").status_code == 204
        stop.set()
        for reader in readers:
            reader.result(60)
    assert {sha256 for sha256, _ in seen} <= {hashlib.sha256(state).hexdigest() for state in states}
    assert all(sha256 == tag for sha256, tag in seen)
    assert seen


def test_none_of_many_updates_is_lost(server: Server, user: User) -> None:
    """Several clients append at once, and each finds all its lines, whole."""
    lines = [f"{client} {number} {'x' * 500}\n".encode() for client in range(6) for number in range(5)]
    several = [User(server, "alice", user.top) for _ in range(6)]

    def append(client: int) -> list[int]:
        own = lines[client * 5 : client * 5 + 5]
        return [patch(several[client], "/f", line, "append").status_code for line in own]

    with ThreadPoolExecutor(6) as pool:
        assert {status for statuses in pool.map(append, range(6)) for status in statuses} == {204}
    found = user.get("/f").content
    assert found.startswith(OLD)
    assert sorted(found.removeprefix(OLD).splitlines(keepends=True)) == sorted(lines)


def test_of_several_under_a_condition_one_wins(server: Server, user: User) -> None:
    several = [User(server, "alice", user.top) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        sent = pool.map(
            lambda number: patch(several[number], "/f", b"%d" % number, "append", If_Match=etag(OLD)).status_code,
            range(4),
        )
        assert sorted(sent) == [204, 412, 412, 412]
    assert len(user.get("/f").content) == len(OLD) + 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[User]:
    """A user with a quota of 1 MB, on a server that takes up to 900 kB at once."""
    with Server(tmp_path / "data", environment={"BALUDAV_LIMITS": '{"upload": "900kB"}'}) as server:
        server.add_user("alice", quota="1MB")
        yield User(server, "alice")


def test_the_quota(small: User) -> None:
    """What an update adds must fit; what it replaces needs no room."""
    body = os.urandom(600_000)
    small.put("/f", body)
    small.put("/other", b"x" * 300_000)
    for is_known in (True, False):
        more = b"y" * 200_000
        assert patch(small, "/f", more if is_known else iter([more]), "append").status_code == 507
        most = b"y" * 400_000
        assert patch(small, "/f", most if is_known else iter([most]), "append").status_code == 413
    assert small.get("/f").content == body
    assert patch(small, "/f", b"z" * 600_000, "bytes=0-").status_code == 204
    assert patch(small, "/f", b"z" * 100_000, "append").status_code == 204
    assert small.get("/f").content == b"z" * 700_000
