"""KDE's Dolphin: the worker `http` of KIO, recorded from KDE Frameworks 5.103, and as the source of 6 has it."""

from collections.abc import Iterator

import pytest

from tests.habits.wire import Client, left
from tests.http.client import User, etag

BODY = b"from Dolphin" * 5000
ASKED = (
    b'<?xml version="1.0" encoding="utf-8" ?><D:propfind xmlns:D="DAV:"><D:prop><D:creationdate/><D:getcontentlength/>'
    b"<D:displayname/><D:source/><D:getcontentlanguage/><D:getcontenttype/><D:getlastmodified/><D:getetag/>"
    b"<D:supportedlock/><D:lockdiscovery/><D:resourcetype/><D:quota-available-bytes/><D:quota-used-bytes/></D:prop>"
    b"</D:propfind>"
)
EXISTS = (
    b'<?xml version="1.0" encoding="utf-8" ?><D:propfind xmlns:D="DAV:"><D:prop><D:creationdate/><D:getcontentlength/>'
    b"<D:displayname/><D:resourcetype/></D:prop></D:propfind>"
)


@pytest.fixture
def dolphin(alice: User) -> Iterator[Client]:
    client = Client(alice, User_Agent="Mozilla/5.0 (X11; Linux x86_64) KIO/6.18 kioworker/6.18", Accept="*/*")
    yield client
    client.close()


def test_opening_a_folder(dolphin: Client, alice: User) -> None:
    """Sizes, times and the room left, which Dolphin adds up to a total."""
    alice.put("/a.txt", BODY)
    for depth in ("0", "1"):
        found = dolphin("PROPFIND", "", 207, ASKED, Depth=depth, Content_Type="text/xml; charset=utf-8").found
        assert int(found["/"].text("{DAV:}quota-used-bytes") or -1) >= 0
        assert int(found["/"].text("{DAV:}quota-available-bytes") or -1) > 0
    assert found["/a.txt"].text("{DAV:}getcontentlength") == str(len(BODY))
    assert found["/a.txt"].text("{DAV:}getetag") == etag(BODY)


def test_a_folder_without_a_password_is_no_page(dolphin: Client) -> None:
    """401, so that it asks for the password."""
    del dolphin.fields["Authorization"]
    dolphin("PROPFIND", "/", 401, ASKED, Depth="0")
    dolphin("GET", "/", 401)


@pytest.mark.parametrize("scheme", ["http", "http://alice:secret@", "webdav", "webdav://alice@"])
def test_everyday_work(dolphin: Client, alice: User, scheme: str) -> None:
    """Upload, rename, copy, delete; Destination tells who signs in, and in Frameworks 6 begins as the address bar."""

    def address(path: str) -> str:
        start, _, who = scheme.partition("://")
        return dolphin.url(path).replace("http://", f"{start}://{who}")

    dolphin("PROPFIND", "/new.txt", 404, EXISTS, Depth="0")
    dolphin("PUT", "/new.txt", 201, BODY, Content_Type="text/plain")
    dolphin("MKCOL", "/Neuer Ordner", 201, b"")
    dolphin("MOVE", "/new.txt", 201, b"", Destination=address("/ä & b.txt"), Overwrite="F", Depth="infinity")
    dolphin("MOVE", "/Neuer Ordner", 201, b"", Destination=address("/Ordner"), Overwrite="F", Depth="infinity")
    dolphin("COPY", "/ä & b.txt", 201, b"", Destination=address("/Ordner/c.txt"), Overwrite="F", Depth="infinity")
    dolphin("COPY", "/ä & b.txt", 412, b"", Destination=address("/Ordner/c.txt"), Overwrite="F", Depth="infinity")
    dolphin("COPY", "/ä & b.txt", 204, b"", Destination=address("/Ordner/c.txt"), Overwrite="T", Depth="infinity")
    assert left(alice) == {"ä & b.txt": BODY, "Ordner": b"(collection)", "Ordner/c.txt": BODY}
    dolphin("DELETE", "/ä & b.txt", 204, b"")
    dolphin("DELETE", "/Ordner", 204, b"")
    assert left(alice) == {}
