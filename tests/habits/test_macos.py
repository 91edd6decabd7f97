"""macOS Finder: WebDAVFS, which lets programs write files in place and sends them when they are closed."""

from collections.abc import Iterator
from unicodedata import normalize

import pytest

from tests.habits.wire import Client, left
from tests.http.client import User, etag

BODY = bytes(range(256)) * 1200
SIDE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(4000)  # AppleDouble
LOCKINFO = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:lockinfo xmlns:D="DAV:">\n<D:lockscope><D:exclusive/></D:lockscope>\n'
    b"<D:locktype><D:write/></D:locktype>\n<D:owner>\n<D:href>http://www.apple.com/webdav_fs/</D:href>\n</D:owner>\n"
    b"</D:lockinfo>\n"
)
ASKED = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:getlastmodified/>\n'
    b"<D:getcontentlength/>\n<D:creationdate/>\n<D:resourcetype/>\n</D:prop>\n</D:propfind>\n"
)
QUOTA = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:quota-available-bytes/>\n'
    b"<D:quota-used-bytes/>\n<D:quota/>\n<D:quotaused/>\n</D:prop>\n</D:propfind>\n"
)
PROBES = (
    "._.", ".hidden", ".localized", ".metadata_never_index", ".metadata_never_index_unless_rootfs", ".Spotlight-V100",
    ".ql_disablethumbnails", "Backups.backupdb", "mach_kernel", "DCIM", ".DS_Store", "._.DS_Store",
)  # fmt: skip


class Finder(Client):
    """The volume: what the file system puts the work of Finder into."""

    def look(self, path: str, status: int = 207) -> None:
        self("PROPFIND", path, status, ASKED, Depth="0", Content_Type="text/xml")

    def create(self, path: str) -> None:
        """`open(2)` of a name that is not there."""
        self.look(path, 404)
        self("PUT", path, 201, b"")
        self.look(path)

    def write(self, path: str, body: bytes) -> None:
        """Open for writing, write, close."""
        token = self("LOCK", path, 200, LOCKINFO, Depth="0", Timeout="Second-600", Content_Type="text/xml").token
        self("GET", path, 200)
        pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
        reply = self("PUT", path, 204, pieces, If=f"(<{token}>)", X_Expected_Entity_Length=str(len(body)))
        assert reply.headers["ETag"] == etag(body)
        self.look(path)
        self("UNLOCK", path, 204, Lock_Token=f"<{token}>")


@pytest.fixture
def finder(alice: User) -> Iterator[Finder]:
    client = Finder(alice, User_Agent="WebDAVFS/3.0.0 (03008000) Darwin/24.4.0 (arm64)", Accept="*/*")
    yield client
    client.close()


def test_mounting(finder: Finder) -> None:
    """Class 2, or the volume is read-only; the quota is left out where its old names are asked as well (15.4)."""
    reply = finder("OPTIONS", "/", 200)
    assert "2" in reply.headers["DAV"].replace(" ", "").split(",")
    finder.look("/")
    reply = finder("PROPFIND", "/", 207, QUOTA, Depth="0", Content_Type="text/xml")
    (found,) = reply.found.values()
    assert {status for status, _ in found.props.values()} == {404}
    for name in PROBES:
        finder.look(f"/{name}", 404)


def test_copying_a_file_with_attributes(finder: Finder, alice: User) -> None:
    """The file, and beside it what HFS+ would keep with it; what Finder notes of the folder."""
    for name, body in (("photo.jpg", BODY), ("._photo.jpg", SIDE), (".DS_Store", b"\0\0\0\1Bud1" * 99)):
        finder.create(f"/{name}")
        finder.write(f"/{name}", body)
    assert left(alice) == {"photo.jpg": BODY, "._photo.jpg": SIDE, ".DS_Store": b"\0\0\0\1Bud1" * 99}
    assert finder("GET", "/photo.jpg", 200).body == BODY
    finder("GET", "/photo.jpg", 304, If_None_Match=etag(BODY))


def test_a_lock_makes_the_file(finder: Finder, alice: User) -> None:
    """LOCK of a name that is not there: 201 and an empty file (RFC 4918 §7.3)."""
    token = finder("LOCK", "/new.txt", 201, LOCKINFO, Depth="0", Timeout="Second-600").token
    finder("PUT", "/new.txt", 204, [b"te", b"xt"], If=f"(<{token}>)", X_Expected_Entity_Length="4")
    finder("UNLOCK", "/new.txt", 204, Lock_Token=f"<{token}>")
    assert left(alice) == {"new.txt": b"text"}


def test_a_copy_that_loses_bytes_on_the_way(finder: Finder, alice: User) -> None:
    """A proxy that drops the chunks would leave an empty file: it is refused, and the old bytes stay."""
    alice.put("/photo.jpg", BODY)
    finder("PUT", "/photo.jpg", 400, [], X_Expected_Entity_Length=str(len(BODY)))
    finder("PUT", "/photo.jpg", 400, [BODY[:1000]], X_Expected_Entity_Length=str(len(BODY)))
    finder("PUT", "/photo.jpg", 400, b"", X_Expected_Entity_Length=str(len(BODY)))
    assert left(alice) == {"photo.jpg": BODY}


def test_names_are_decomposed(finder: Finder, alice: User) -> None:
    """The Mac writes NFD; everybody else finds the same file in NFC, and there is one of it."""
    nfd, nfc = normalize("NFD", "/Übersicht café.txt"), normalize("NFC", "/Übersicht café.txt")
    finder.create(nfd)
    finder.write(nfd, BODY)
    assert alice.get(nfc).content == BODY
    assert alice.put(nfc, b"from Linux").status_code == 204
    assert finder("GET", nfd, 200).body == b"from Linux"
    finder("MOVE", nfd, 201, b"", Destination=finder.url(normalize("NFD", "/größer.txt")))
    assert left(alice) == {normalize("NFC", "größer.txt"): b"from Linux"}


def test_textedit_saves(finder: Finder, alice: User) -> None:
    """In a folder beside the document, out of which the new one is moved in its place: it stays the same resource."""
    alice.put("/letter.rtf", b"old")
    identity = alice.prop("/letter.rtf", "{DAV:}resource-id")
    finder("MKCOL", "/letter.rtf.sb-1a2b3c4d-Xy12Zz/", 201)
    finder.create("/letter.rtf.sb-1a2b3c4d-Xy12Zz/letter.rtf")
    finder.write("/letter.rtf.sb-1a2b3c4d-Xy12Zz/letter.rtf", BODY)
    finder("MOVE", "/letter.rtf", 201, Destination=finder.url("/letter.rtf.sb-1a2b3c4d-AbCdEf"))
    finder("MOVE", "/letter.rtf.sb-1a2b3c4d-Xy12Zz/letter.rtf", 201, Destination=finder.url("/letter.rtf"))
    finder("DELETE", "/letter.rtf.sb-1a2b3c4d-AbCdEf", 204)
    finder("DELETE", "/letter.rtf.sb-1a2b3c4d-Xy12Zz/", 204)
    assert left(alice) == {"letter.rtf": BODY}
    assert alice.prop("/letter.rtf", "{DAV:}resource-id") == identity


def test_deleting_a_folder(finder: Finder, alice: User) -> None:
    """Member by member, each with its side file if there is one, and then the folder."""
    finder("MKCOL", "/folder/", 201)
    finder.create("/folder/a")
    finder("PROPFIND", "/folder/", 207, ASKED, Depth="1", Content_Type="text/xml")
    finder.look("/folder/._a", 404)
    finder("DELETE", "/folder/a", 204)
    finder("DELETE", "/folder/", 204)
    assert left(alice) == {}
