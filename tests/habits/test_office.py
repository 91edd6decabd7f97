"""Microsoft Office: on a mapped drive it saves beside and renames; on a web address it is a client of its own."""

from collections.abc import Iterator

import pytest

from tests.habits.test_windows import HIDDEN, LOCKINFO, Explorer
from tests.habits.wire import Client, left
from tests.http.client import User

OLD, NEW = b"PK old document" * 999, b"PK new document" * 1111
OWNER = b"\x05alice" + bytes(159)  # what `~$` files hold: who has the document open


@pytest.fixture
def drive(alice: User) -> Iterator[Explorer]:
    client = Explorer(alice, User_Agent="Microsoft-WebDAV-MiniRedir/10.0.22631", Translate="f")
    yield client
    client.close()


@pytest.fixture
def office(alice: User) -> Iterator[Client]:
    client = Client(
        alice, User_Agent="Microsoft Office Word 2016 (16.0.17328) Windows NT 10.0", X_Office_Major_Version="16"
    )
    yield client
    client.close()


def test_word_saves_on_a_drive(drive: Explorer, alice: User) -> None:
    """A `~$` file while it is open; the new bytes in a temporary file, two renames, and the old one is deleted.

    The document is the same resource as before, so its history is that of the document, not of a temporary file.
    """
    alice.put("/report.docx", OLD)
    identity = alice.prop("/report.docx", "{DAV:}resource-id")
    drive.store("/~$report.docx", OWNER, HIDDEN)
    drive.store("/1A2B3C4D.tmp", NEW)
    drive.move("/report.docx", "/5E6F7A8B.tmp")
    drive.move("/1A2B3C4D.tmp", "/report.docx")
    drive("DELETE", "/5E6F7A8B.tmp", 204, b"")
    drive("DELETE", "/~$report.docx", 204, b"")
    assert left(alice) == {"report.docx": NEW}
    assert alice.prop("/report.docx", "{DAV:}resource-id") == identity


def test_word_saves_to_an_address(office: Client, alice: User) -> None:
    """Discovery, LOCK, GET, refresh, PUT, UNLOCK; LOCK changes no ETag, or Word would think of another author."""
    alice.put("/report.docx", OLD)
    assert "." not in office.target("/").partition("/dav")[0], "Office goes by the drive's way where there is a dot"
    for path in ("/", "/report.docx"):
        reply = office("OPTIONS", path, 200, User_Agent="Microsoft Office Protocol Discovery")
        assert {"1", "2"} <= set(reply.headers["DAV"].replace(" ", "").split(","))
        assert "LOCK" in reply.headers["Allow"]
    before = office("HEAD", "/report.docx", 200, User_Agent="Microsoft Office Existence Discovery").headers["ETag"]
    token = office("LOCK", "/report.docx", 200, LOCKINFO, Depth="0", Timeout="Second-3600").token
    reply = office("GET", "/report.docx", 200)
    assert (reply.body, reply.headers["ETag"]) == (OLD, before)
    reply = office("LOCK", "/report.docx", 200, b"", If=f"(<{token}>)", Timeout="Second-3600")
    assert token.encode() in reply.body
    assert alice.put("/report.docx", b"of another").status_code == 423
    reply = office("PUT", "/report.docx", 204, NEW, If=f"(<{token}>)", Content_Type="application/msword")
    assert office("HEAD", "/report.docx", 200).headers["ETag"] == reply.headers["ETag"] != before
    office("UNLOCK", "/report.docx", 204, b"", Lock_Token=f"<{token}>")
    assert left(alice) == {"report.docx": NEW}


def test_somebody_else_has_it_open(office: Client, alice: User) -> None:
    """423, and who it is: Word then offers to open a copy."""
    alice.put("/report.docx", OLD)
    token = alice.lock("/report.docx")
    reply = office("LOCK", "/report.docx", 423, LOCKINFO, Depth="0", Timeout="Second-3600")
    assert b"no-conflicting-lock" in reply.body
    (found,) = office("PROPFIND", "/report.docx", 207, b"", Depth="0").found.values()
    assert "alice" in (found.text("{DAV:}lockdiscovery") or "")
    assert office("GET", "/report.docx", 200).body == OLD
    assert alice("UNLOCK", "/report.docx", Lock_Token=f"<{token}>").status_code == 204


def test_what_sharepoint_would_answer(office: Client) -> None:
    """Office looks for SharePoint and FrontPage first; a plain no is all it needs."""
    office("GET", "//_vti_inf.html", 404)
    office("POST", "//_vti_bin/shtml.dll/_vti_rpc", 404, b"method=server+version")
