"""Windows Explorer: the WebClient service (MiniRedirector) of Windows 10 and 11."""

from collections.abc import Iterator

import pytest

from tests.habits.wire import Client, left
from tests.http.client import User, etag

BODY = b"what is copied onto the drive\r\n" * 3000
LOCKINFO = (
    b'<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner><D:href>PC\\alice</D:href></D:owner></D:lockinfo>"
)
TIMES = (
    '<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:">'
    "<D:set><D:prop><Z:Win32CreationTime>Mon, 02 Jan 2012 03:04:05 GMT</Z:Win32CreationTime>"
    "<Z:Win32LastAccessTime>Tue, 24 Nov 2026 10:00:00 GMT</Z:Win32LastAccessTime>"
    "<Z:Win32LastModifiedTime>Thu, 05 Jul 2012 06:07:08 GMT</Z:Win32LastModifiedTime>"
    "<Z:Win32FileAttributes>{attributes}</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>"
)
WIN32 = "{urn:schemas-microsoft-com:}"
ARCHIVE, HIDDEN = "00000020", "00000022"


class Explorer(Client):
    """The drive: how the redirector puts each work of Explorer into requests."""

    def store(self, path: str, body: bytes, attributes: str = ARCHIVE) -> None:
        """Write a new file."""
        self("PROPFIND", path, 404, b"", Depth="0")
        self("PUT", path, 201, b"")
        token = self.lock(path)
        self("PROPPATCH", path, 207, TIMES.format(attributes=attributes).encode(), If=f"(<{token}>)").succeeded()
        self("HEAD", path, 200)
        self("PUT", path, 204, body, If=f"(<{token}>)")
        self("PROPPATCH", path, 207, TIMES.format(attributes=attributes).encode(), If=f"(<{token}>)").succeeded()
        self("UNLOCK", path, 204, b"", Lock_Token=f"<{token}>")

    def lock(self, path: str) -> str:
        """LOCK without a Depth."""
        return self("LOCK", path, 200, LOCKINFO, Timeout="Second-3600", Content_Type='text/xml; charset="utf-8"').token

    def move(self, path: str, to: str) -> None:
        self("PROPFIND", path, 207, b"", Depth="0")
        self("PROPFIND", to, 404, b"", Depth="0")
        self("MOVE", path, 201, b"", Destination=self.url(to), Overwrite="F")


@pytest.fixture
def explorer(alice: User) -> Iterator[Explorer]:
    client = Explorer(
        alice, User_Agent="Microsoft-WebDAV-MiniRedir/10.0.22631", Translate="f", Pragma="no-cache",
        Cache_Control="no-cache", Connection="Keep-Alive",
    )  # fmt: skip
    yield client
    client.close()


def test_mounting(explorer: Explorer) -> None:
    """Every folder above the drive is asked, the root first; what is missing there must not stop it."""
    for path in ("//", "//dav", "//dav/"):
        reply = explorer("OPTIONS", path, 200)
        assert {"1", "2"} <= set(reply.headers["DAV"].replace(" ", "").split(","))
        assert reply.headers["MS-Author-Via"] == "DAV"
    for path in ("//", "//dav", "//dav/"):
        assert explorer("PROPFIND", path, 207, b"", Depth="0").found
    anonymous = dict(explorer.fields)
    del explorer.fields["Authorization"]
    assert "Basic" in explorer("PROPFIND", "//dav", 401, b"", Depth="0").headers["WWW-Authenticate"]
    explorer.fields = anonymous
    for name in ("desktop.ini", "folder.jpg", "AutoRun.inf", "Thumbs.db"):
        explorer("PROPFIND", f"//dav/{name}", 404, b"", Depth="0")


def test_a_listing_is_short(explorer: Explorer, alice: User) -> None:
    """Windows takes a megabyte for one folder: 1,000 names with all properties are far below, without a blank."""
    for number in range(10):
        alice.put(f"/file {number:04}.docx")
    reply = explorer("PROPFIND", "/", 207, b"", Depth="1")
    assert len(reply.found) == 11
    assert len(reply.body) / 11 < 950
    assert b">\n<" not in reply.body.partition(b"?>\n")[2]


def test_copying_a_file_onto_the_drive(explorer: Explorer, alice: User) -> None:
    """The bytes, the times and the attributes of the original."""
    explorer.store("/report.docx", BODY)
    assert left(alice) == {"report.docx": BODY}
    (found,) = explorer("PROPFIND", "/report.docx", 207, b"", Depth="0").found.values()
    assert found.text(f"{WIN32}Win32FileAttributes") == ARCHIVE
    assert found.text(f"{WIN32}Win32CreationTime") == "Mon, 02 Jan 2012 03:04:05 GMT"
    assert found.text("{DAV:}getlastmodified") == "Thu, 05 Jul 2012 06:07:08 GMT"
    assert found.text("{DAV:}creationdate") == "2012-01-02T03:04:05Z"
    assert explorer("GET", "/report.docx", 200).body == BODY


def test_replacing_a_file(explorer: Explorer, alice: User) -> None:
    """PUT of nothing, then of the bytes, both under the lock: the old bytes are a version, the nothing is none."""
    alice.put("/report.docx", b"old")
    explorer("PROPFIND", "/report.docx", 207, b"", Depth="0")
    token = explorer.lock("/report.docx")
    explorer("PUT", "/report.docx", 204, b"", If=f"(<{token}>)")
    explorer("PUT", "/report.docx", 204, BODY, If=f"(<{token}>)")
    explorer("PROPPATCH", "/report.docx", 207, TIMES.format(attributes=ARCHIVE).encode(), If=f"(<{token}>)").succeeded()
    explorer("UNLOCK", "/report.docx", 204, b"", Lock_Token=f"<{token}>")
    assert left(alice) == {"report.docx": BODY}
    history = alice.session.get(f"{alice.server.url}/api/sync/history", params={"path": f"{alice.top}/report.docx"})
    assert [version["size"] for version in history.json()["versions"]] == [3]


def test_a_lock_is_kept_up_while_a_file_is_open(explorer: Explorer, alice: User) -> None:
    """LOCK without a body, the token in `If`; others stay out meanwhile."""
    alice.put("/open.txt", b"old")
    token = explorer.lock("/open.txt")
    reply = explorer("LOCK", "/open.txt", 200, b"", If=f"(<{token}>)", Timeout="Second-3600")
    assert token.encode() in reply.body
    assert alice.put("/open.txt", b"of another program").status_code == 423
    explorer("PUT", "/open.txt", 204, b"new", If=f"(<{token}>)")
    explorer("UNLOCK", "/open.txt", 204, b"", Lock_Token=f"<{token}>")
    explorer("UNLOCK", "/open.txt", 204, b"", Lock_Token=f"<{token}>")  # after sleep, when it has expired
    assert left(alice) == {"open.txt": b"new"}


def test_folders(explorer: Explorer, alice: User) -> None:
    """`New folder` is made, then renamed; a file is moved in; all is deleted without slashes at the ends."""
    explorer("PROPFIND", "/New folder", 404, b"", Depth="0")
    explorer("MKCOL", "/New folder", 201, b"")
    explorer("PROPFIND", "/New folder", 207, b"", Depth="0")
    explorer.move("/New folder", "/Rechnungen & Belege")
    explorer.store("/a.txt", b"a")
    explorer.move("/a.txt", "/Rechnungen & Belege/ä.txt")
    explorer("MOVE", "/Rechnungen & Belege/ä.txt", 403, b"", Destination=explorer.url("/Rechnungen & Belege/ä.txt"))
    assert left(alice) == {"Rechnungen & Belege": b"(collection)", "Rechnungen & Belege/ä.txt": b"a"}
    explorer("DELETE", "/Rechnungen & Belege", 204, b"")
    assert left(alice) == {}


def test_a_copy_that_is_cancelled(explorer: Explorer, alice: User) -> None:
    """The empty file is deleted under its lock, which goes with it."""
    explorer("PUT", "/large.iso", 201, b"")
    token = explorer.lock("/large.iso")
    explorer("DELETE", "/large.iso", 204, b"", If=f"(<{token}>)")
    assert left(alice) == {}


@pytest.mark.parametrize("name", ["a+b.txt", "100%.txt", "#1.txt", "it's [x].txt", "ü.txt", "a;b=c,d.txt"])
def test_names(explorer: Explorer, alice: User, name: str) -> None:
    explorer.store(f"/{name}", BODY)
    explorer.move(f"/{name}", f"/moved {name}")
    assert explorer("GET", f"/moved {name}", 200).headers["ETag"] == etag(BODY)
    assert left(alice) == {f"moved {name}": BODY}
