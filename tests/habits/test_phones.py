"""Apps on phones: each has a library of its own, and all together have these habits."""

from collections.abc import Iterator

import pytest

from tests.habits.wire import Client, left
from tests.http.client import User, etag

BODY = bytes(range(250)) * 4000
ASKED = (
    b"<?xml version='1.0' encoding='UTF-8' standalone='yes' ?><propfind xmlns=\"DAV:\"><prop><resourcetype />"
    b"<getcontenttype /><getetag /><getlastmodified /><getcontentlength /><quota-available-bytes /><quota-used-bytes />"
    b"<current-user-privilege-set /></prop></propfind>"
)


@pytest.fixture
def phone(alice: User) -> Iterator[Client]:
    client = Client(alice, User_Agent="dav4jvm/2.2 okhttp/4.12.0", Accept_Encoding="gzip", Connection="Keep-Alive")
    yield client
    client.close()


def test_browsing(phone: Client, alice: User) -> None:
    """Without a body, or with one that asks for what only calendars have; folders come without a slash."""
    alice("MKCOL", "/Bilder")
    alice.put("/Bilder/1.jpg", BODY)
    for body in (None, b"", ASKED):
        found = phone("PROPFIND", "/Bilder", 207, body, Depth="1", Content_Type="application/xml; charset=utf-8").found
        assert found["/Bilder"].get("{DAV:}resourcetype") is not None
        assert found["/Bilder/1.jpg"].text("{DAV:}getcontentlength") == str(len(BODY))


def test_photos_go_up(phone: Client, alice: User) -> None:
    """HEAD to see whether it is there, the folders one after the other, the bytes in chunks, a look at what came."""
    for folder, status in (("/Camera", 201), ("/Camera/2026", 201), ("/Camera", 405)):
        phone("MKCOL", folder, status)
    phone("HEAD", "/Camera/2026/IMG 1.jpg", 404)
    pieces = (BODY[start : start + 8192] for start in range(0, len(BODY), 8192))
    reply = phone("PUT", "/Camera/2026/IMG 1.jpg", 201, pieces, If_None_Match="*", Content_Type="image/jpeg")
    assert reply.headers["ETag"] == etag(BODY)
    assert phone("HEAD", "/Camera/2026/IMG 1.jpg", 200).headers["Content-Length"] == str(len(BODY))
    phone("PUT", "/Camera/2027/IMG 1.jpg", 409, BODY)
    assert left(alice) == {
        "Camera": b"(collection)", "Camera/2026": b"(collection)", "Camera/2026/IMG 1.jpg": BODY,
    }  # fmt: skip


def test_films_are_watched(phone: Client, alice: User) -> None:
    """Pieces of a file, from where the player wants, of one and the same file."""
    alice.put("/film.mp4", BODY)
    assert phone("HEAD", "/film.mp4", 200).headers["Accept-Ranges"] == "bytes"
    reply = phone("GET", "/film.mp4", 206, Range="bytes=0-", If_Match=etag(BODY))
    assert (reply.body, reply.headers["Content-Type"]) == (BODY, "video/mp4")
    reply = phone("GET", "/film.mp4", 206, Range=f"bytes={len(BODY) - 10}-", If_Match=etag(BODY))
    assert reply.body == BODY[-10:]
    alice.put("/film.mp4", b"another")
    phone("GET", "/film.mp4", 412, Range="bytes=0-9", If_Match=etag(BODY))


def test_destinations_without_a_host(phone: Client, alice: User) -> None:
    """iOS apps and some libraries write a path, percent-encoded or only half."""
    alice.put("/a (1).txt", BODY)
    phone("MOVE", "/a (1).txt", 201, Destination=phone.target("/b [2].txt"), Overwrite="F")
    phone("MOVE", "/b [2].txt", 201, Destination=phone.target("/") + "c(3)[4]'.txt", Overwrite="F")
    assert left(alice) == {"c(3)[4]'.txt": BODY}
