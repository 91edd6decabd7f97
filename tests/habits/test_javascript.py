"""The package `webdav` of npm, on which many plug-ins and apps are built: recorded from version 5.11 on Node 20."""

from collections.abc import Iterator

import pytest

from tests.habits.wire import Client, left
from tests.http.client import User, etag

LOCKINFO = b"""<d:lockinfo xmlns:d="DAV:">
  <d:lockscope>
    <d:exclusive/>
  </d:lockscope>
  <d:locktype>
    <d:write/>
  </d:locktype>
  <d:owner>
    <d:href>https://github.com/perry-mitchell/webdav-client/blob/master/LOCK_CONTACT.md</d:href>
  </d:owner>
</d:lockinfo>"""


@pytest.fixture
def app(alice: User) -> Iterator[Client]:
    client = Client(
        alice, user_agent="node-fetch", accept="text/plain,application/xml", accept_encoding="gzip, deflate, br"
    )
    yield client
    client.close()


def test_notes(app: Client, alice: User) -> None:
    """Made only if it is not there; listed with all below; moved, copied and deleted."""
    assert "1" in app("OPTIONS", "", 200).headers["DAV"]
    app("PROPFIND", "/notes", 404, b"", depth="0")
    app("MKCOL", "/notes/", 201, b"")
    note = "/notes/a ä#.md"
    app("PUT", note, 201, b"hello", if_none_match="*", content_type="application/octet-stream")
    app("PUT", note, 412, b"again", if_none_match="*", content_type="application/octet-stream")
    app("PUT", note, 204, b"more", content_type="application/octet-stream")
    found = app("PROPFIND", "/notes", 207, b"", depth="infinity").found
    assert list(found) == ["/notes", note]
    assert found[note].text("{DAV:}getetag") == etag(b"more")
    assert app("GET", note, 200).body == b"more"
    app("MOVE", note, 201, b"", destination=app.url("/notes/b.md"), overwrite="T")
    app("COPY", "/notes/b.md", 201, b"", destination=app.url("/notes/c.md"), overwrite="T", depth="infinity")
    assert left(alice) == {"notes": b"(collection)", "notes/b.md": b"more", "notes/c.md": b"more"}
    app("DELETE", "/notes", 204)
    assert left(alice) == {}


def test_locks(app: Client, alice: User) -> None:
    """The token is given back without its brackets."""
    app("PUT", "/n.md", 201, b"n")
    token = app(
        "LOCK", "/n.md", 200, LOCKINFO, content_type="text/plain;charset=UTF-8", timeout="Infinite, Second-4100000000"
    ).token
    assert alice.put("/n.md").status_code == 423
    app("UNLOCK", "/n.md", 204, b"", lock_token=token)
    assert left(alice) == {"n.md": b"n"}
