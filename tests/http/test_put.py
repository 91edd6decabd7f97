"""PUT: all or nothing, the digest, conditions, lengths that lie, chunks, times."""

import base64
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.http.client import User, basic, etag
from tests.serving import Server, wait_for


def test_a_new_file_and_its_replacement(alice: User) -> None:
    """201 with a Location, then 204; each with the ETag of the bytes, at once and later."""
    made = alice.put("/ä b.txt", b"one")
    assert (made.status_code, made.headers["ETag"]) == (201, etag(b"one"))
    assert made.headers["Location"].endswith("/%C3%A4%20b.txt")
    replaced = alice.put("/ä b.txt", b"two")
    assert (replaced.status_code, replaced.headers["ETag"]) == (204, etag(b"two"))
    assert alice.get("/ä b.txt").headers["ETag"] == etag(b"two")
    assert alice.put("/empty", b"").headers["ETag"] == etag(b"")
    assert alice.get("/empty").content == b""


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_bodies_of_every_size(alice: User, size: int, is_chunked: bool) -> None:
    """Sizes around the server's buffers, with a length and in chunks."""
    body = os.urandom(size)

    def chunks() -> Iterator[bytes]:
        for start in range(0, size, 7001):
            yield body[start : start + 7001]

    answer = alice("PUT", "/f", chunks() if is_chunked else body)
    assert (answer.status_code, answer.headers["ETag"]) == (201, etag(body))
    assert alice.get("/f").content == body


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"If_Match": "same"}, 204),
        ({"If_Match": '"x", same'}, 204),
        ({"If_Match": '"other"'}, 412),
        ({"If_Match": "W/same"}, 204),  # a proxy that compresses made it weak
        ({"If_Match": "*"}, 204),
        ({"If_None_Match": "*"}, 412),
        ({"If_None_Match": "same"}, 412),
        ({"If_None_Match": '"other"'}, 204),
        ({"If_Unmodified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
    ],
)
def test_conditions_over_a_file(alice: User, fields: dict[str, str], status: int) -> None:
    tag = alice.put("/f", b"old").headers["ETag"]
    answer = alice.put("/f", b"new", **{name: value.replace("same", tag) for name, value in fields.items()})
    assert answer.status_code == status
    assert alice.get("/f").content == (b"new" if status == 204 else b"old")


def test_conditions_where_nothing_is(alice: User) -> None:
    """If-Match never matches what does not exist; If-None-Match: * is how to create and never replace."""
    assert alice.put("/f", b"new", If_Match="*").status_code == 412
    assert alice.get("/f").status_code == 404
    assert alice.put("/f", b"new", If_None_Match="*").status_code == 201


def test_one_of_many_wins(alice: User) -> None:
    """Of 16 clients that replace the same bytes at once, over two workers, one gets 204 and the others 412."""
    for round in range(5):
        tag = alice.put("/f", f"base {round}".encode()).headers["ETag"]
        answers: list[requests.Response] = []
        gate = threading.Barrier(16)

        def write(number: int, tag: str = tag, gate: threading.Barrier = gate) -> None:
            user = User(alice.server, "alice", alice.top)
            gate.wait()
            answers.append(user.put("/f", b"%d" % number, If_Match=tag))  # noqa: B023 - ends in this round

        threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status_code for answer in answers) == [204] + [412] * 15
        (winner,) = (answer for answer in answers if answer.status_code == 204)
        assert alice.get("/f").headers["ETag"] == winner.headers["ETag"]


def _digest(body: bytes, name: str = "sha256") -> str:
    algorithm = {"sha256": "sha-256", "sha512": "sha-512"}[name]
    return f"{algorithm}=:{base64.b64encode(hashlib.new(name, body).digest()).decode()}:"


@pytest.mark.parametrize("field", ["Repr_Digest", "Content_Digest"])
@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_digests_are_verified(alice: User, field: str, name: str) -> None:
    """RFC 9530: the wrong bytes are refused and change nothing."""
    alice.put("/f", b"old")
    wrong = alice.put("/f", b"new", **{field: _digest(b"something else", name)})
    assert wrong.status_code == 400
    assert alice.get("/f").content == b"old"
    assert alice.put("/f", b"new", **{field: _digest(b"new", name)}).status_code == 204
    assert alice.put("/missing", b"new", **{field: _digest(b"else", name)}).status_code == 400
    assert alice.get("/missing").status_code == 404


def test_owncloud_checksum_is_verified(alice: User) -> None:
    alice.put("/f", b"old")
    good = hashlib.sha256(b"new").hexdigest()
    bad = hashlib.sha256(b"else").hexdigest()
    assert alice.put("/f", b"new", OC_Checksum=f"SHA256:{bad}").status_code == 400
    assert alice.put("/f", b"new", OC_Checksum=f"SHA256:{good}").status_code == 204


@pytest.mark.parametrize(
    "fields",
    [
        {"Content_Range": "bytes 0-2/10"},
        {"Content_Encoding": "gzip"},
        {"Content_Type": "application/x-sabredav-partialupdate"},
        {"OC_Chunked": "1"},
    ],
)
def test_parts_and_encodings_never_become_the_file(alice: User, fields: dict[str, str]) -> None:
    alice.put("/f", b"old bytes")
    assert alice.put("/f", b"new", **fields).status_code in (400, 415, 501)
    assert alice("PATCH", "/f", b"new", **fields).status_code in (400, 415, 501)
    assert alice.get("/f").content == b"old bytes"


def test_where_it_cannot_be(alice: User) -> None:
    """409 without a parent, 405 over a collection, 405 with the name of a collection."""
    alice("MKCOL", "/c")
    alice.put("/f")
    assert alice.put("/missing/f").status_code == 409
    assert alice.put("/f/below").status_code == 409
    assert alice.put("/c").status_code == 405
    assert alice.put("/new/").status_code == 405
    assert alice.put("/").status_code == 405


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_broken_upload_changes_nothing(alice: User, is_chunked: bool) -> None:
    """The connection is lost in the middle: the old bytes stay, and nothing is left on the disk."""
    alice.put("/f", b"old")
    before = _everything(alice.server)
    length = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 5000000"
    target = alice.url("/f").removeprefix(alice.server.url)
    head = (
        f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1:{alice.server.port}\r\n"
        f"Authorization: {basic(*alice.server.auth('alice'))}\r\n{length}\r\n\r\n"
    ).encode()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", alice.server.port), timeout=60) as connection:
            connection.sendall(head + (b"7A120\r\n" if is_chunked else b"") + b"x" * 400_000)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    assert alice.get("/f").content == b"old"
    wait_for(lambda: _everything(alice.server) == before, 10, "nothing is left of broken uploads")


def _everything(server: Server) -> set[Path]:
    return {path for path in (server.data / "files").rglob("*") if path.is_file()}


def test_the_time_the_client_wants(alice: User) -> None:
    """X-OC-Mtime, as rclone and the sync clients send it."""
    answer = alice.put("/f", X_OC_Mtime="1234567890")
    assert answer.headers["X-OC-Mtime"] == "accepted"
    assert alice.prop("/f", "{DAV:}getlastmodified") == "Fri, 13 Feb 2009 23:31:30 GMT"
    for nonsense in ("yesterday", "-5", "nan", "inf", "1e400"):
        assert "X-OC-Mtime" not in alice.put("/f", X_OC_Mtime=nonsense).headers


def test_a_replacement_keeps_what_hangs_on_the_resource(alice: User) -> None:
    """Id, creation time and dead properties stay when the bytes change."""
    alice.put("/f", b"old")
    before = [alice.prop("/f", f"{{DAV:}}{name}") for name in ("resource-id", "creationdate")]
    alice.put("/f", b"new")
    assert [alice.prop("/f", f"{{DAV:}}{name}") for name in ("resource-id", "creationdate")] == before


def test_macos_announces_the_length_beside_its_chunks(alice: User) -> None:
    assert alice("PUT", "/f", iter([b"abc"]), X_Expected_Entity_Length="3").status_code == 201
    assert alice("PUT", "/f", iter([b"ab"]), X_Expected_Entity_Length="3").status_code == 400
    assert alice.get("/f").content == b"abc"
