"""davfs2 1.6: recorded from it; it locks what is opened for writing, and sends it when it is closed.

The real one works in `tests.conformance`; here is what it does only after half an hour, or when something went wrong.
"""

from collections.abc import Iterator

import pytest

from tests.habits.wire import Client, left
from tests.http.client import User, etag

LOCKINFO = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<lockinfo xmlns=\'DAV:\'>\n <lockscope><exclusive/></lockscope>\n'
    b"<locktype><write/></locktype><owner>alice</owner>\n</lockinfo>\n"
)
LISTED = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<propfind xmlns="DAV:"><prop>\n<resourcetype xmlns="DAV:"/>\n'
    b'<getcontentlength xmlns="DAV:"/>\n<getetag xmlns="DAV:"/>\n<getlastmodified xmlns="DAV:"/>\n'
    b'<executable xmlns="http://apache.org/dav/props/"/>\n</prop></propfind>\n'
)
EXECUTABLE = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<propertyupdate xmlns="DAV:"><set><prop>'
    b'<executable xmlns="http://apache.org/dav/props/">T</executable></prop></set></propertyupdate>\n'
)


class Davfs2(Client):
    """A mount."""

    def lock(self, path: str, status: int) -> str:
        return self(
            "LOCK", path, status, LOCKINFO, Depth="0", Timeout="Second-1800", Content_Type="application/xml"
        ).token

    def under(self, path: str, token: str) -> str:
        """The `If` field with which it says that it holds the lock."""
        return f"<{self.url(path)}> (<{token}>)"


@pytest.fixture
def mount(alice: User) -> Iterator[Davfs2]:
    client = Davfs2(alice, User_Agent="davfs2/1.6.1 neon/0.32.5", Connection="TE", TE="trailers")
    yield client
    client.close()


def test_a_file_is_written_and_written_again(mount: Davfs2, alice: User) -> None:
    """LOCK makes it, and the ETag that HEAD tells is the condition of the PUT; Expect, if told to."""
    token = mount.lock("/new.txt", 201)
    tag = mount("HEAD", "/new.txt", 200).headers["ETag"]
    under = mount.under("/new.txt", token)
    reply = mount("PUT", "/new.txt", 204, b"two\n", If_Match=tag, If=under, Expect="100-continue")
    assert reply.headers["ETag"] == etag(b"two\n")
    mount("UNLOCK", "/new.txt", 204, Lock_Token=f"<{token}>")
    token = mount.lock("/new.txt", 200)
    mount("PUT", "/new.txt", 204, b"two\nthree\n", If_Match=etag(b"two\n"), If=mount.under("/new.txt", token))
    mount("PROPPATCH", "/new.txt", 207, EXECUTABLE, If=mount.under("/new.txt", token)).succeeded()
    mount("UNLOCK", "/new.txt", 204, Lock_Token=f"<{token}>")
    found = mount("PROPFIND", "/", 207, LISTED, Depth="1", Content_Type="application/xml").found["/new.txt"]
    assert found.text("{http://apache.org/dav/props/}executable") == "T"
    assert left(alice) == {"new.txt": b"two\nthree\n"}


def test_a_file_is_open_for_long(mount: Davfs2, alice: User) -> None:
    """A minute before the lock would end, it asks for as much again."""
    alice.put("/log", b"1")
    token = mount.lock("/log", 200)
    reply = mount("LOCK", "/log", 200, b"", If=f"(<{token}>)", Timeout="Second-1800")
    assert token.encode() in reply.body
    assert alice.put("/log", b"other").status_code == 423
    mount("PUT", "/log", 204, b"12", If_Match=etag(b"1"), If=mount.under("/log", token))
    mount("UNLOCK", "/log", 204, Lock_Token=f"<{token}>")
    assert left(alice) == {"log": b"12"}


def test_the_lock_was_lost_on_the_way(mount: Davfs2, alice: User) -> None:
    """The machine slept, and another wrote: 412, and davfs2 keeps its bytes in lost+found; they overwrite nothing."""
    alice.put("/doc", b"1")
    token = mount.lock("/doc", 200)
    assert alice("UNLOCK", "/doc", Lock_Token=f"<{token}>").status_code == 204
    alice.put("/doc", b"of another")
    mount("LOCK", "/doc", 412, b"", If=f"(<{token}>)", Timeout="Second-1800")
    mount("PUT", "/doc", 412, b"12", If_Match=etag(b"1"), If=mount.under("/doc", token))
    mount("UNLOCK", "/doc", 204, Lock_Token=f"<{token}>")
    assert left(alice) == {"doc": b"of another"}
