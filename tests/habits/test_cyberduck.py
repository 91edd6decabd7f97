"""Cyberduck and Mountain Duck (as their source has it): Expect, times by PROPPATCH, locks that may have ended."""

from collections.abc import Iterator
from email.utils import formatdate

import pytest

from tests.habits.wire import Client, left
from tests.http.client import User, etag

BODY = b"by a duck" * 4000
AT = 1_234_567_890
LOCKINFO = (
    b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/>'
    b"</D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>"
)
LISTED = (
    b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><D:propfind xmlns:D="DAV:" xmlns:s="SAR:"><D:prop>'
    b"<D:creationdate/><D:displayname/><D:getcontentlength/><D:getcontenttype/><D:getetag/><D:getlastmodified/>"
    b"<D:lockdiscovery/><D:resourcetype/><s:lastmodified/><s:lastmodified_server/></D:prop></D:propfind>"
)


def _patch(properties: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><D:propertyupdate xmlns:D="DAV:" xmlns:s="SAR:">'
        f"<D:set><D:prop>{properties}</D:prop></D:set></D:propertyupdate>"
    ).encode()


@pytest.fixture
def duck(alice: User) -> Iterator[Client]:
    client = Client(alice, User_Agent="Mountain Duck/4.17.5.23135 (Mac OS X/15.4) (aarch64)", Accept_Encoding="gzip")
    yield client
    client.close()


def test_an_upload_keeps_its_time(duck: Client, alice: User) -> None:
    """It is the file's own time then, for every other client too; the duck finds that again in its properties."""
    duck("PUT", "/photo.jpg", 201, BODY, Expect="100-continue")
    (found,) = duck("PROPFIND", "/photo.jpg", 207, LISTED, Depth="1").found.values()
    server_time = found.text("{DAV:}getlastmodified")
    kept = f"<s:lastmodified_server>{server_time}</s:lastmodified_server>"
    kept += f"<s:lastmodified>{formatdate(AT, usegmt=True)}</s:lastmodified>"
    duck("PROPPATCH", "/photo.jpg", 207, _patch(kept), Content_Type="text/xml; charset=UTF-8").succeeded()
    (found,) = duck("PROPFIND", "/photo.jpg", 207, LISTED, Depth="1").found.values()
    assert found.text("{DAV:}getlastmodified") == formatdate(AT, usegmt=True)
    assert found.text("{SAR:}lastmodified") == formatdate(AT, usegmt=True)
    assert found.text("{SAR:}lastmodified_server") == server_time
    assert found.text("{DAV:}getetag") == etag(BODY), "the time is no part of the bytes"
    assert left(alice) == {"photo.jpg": BODY}


@pytest.mark.parametrize("value", [formatdate(AT, usegmt=True), str(AT)])
def test_the_time_as_others_set_it(duck: Client, alice: User, value: str) -> None:
    """`DAV:lastmodified`: a date of older Cyberducks, seconds of rclone."""
    alice.put("/photo.jpg", BODY)
    duck("PROPPATCH", "/photo.jpg", 207, _patch(f"<D:lastmodified>{value}</D:lastmodified>")).succeeded()
    assert alice.prop("/photo.jpg", "{DAV:}getlastmodified") == formatdate(AT, usegmt=True)


def test_a_transfer_under_a_lock(duck: Client, alice: User) -> None:
    """To a temporary name, then over the old bytes."""
    alice.put("/photo.jpg", b"old")
    token = duck("LOCK", "/photo.jpg", 200, LOCKINFO).token
    duck("PUT", "/photo.jpg-3f2a", 201, BODY, Expect="100-continue")
    duck(
        "MOVE", "/photo.jpg-3f2a", 204, b"", Destination=duck.url("/photo.jpg"), Overwrite="T",
        If=f"<{duck.url('/photo.jpg')}> (<{token}>)",
    )  # fmt: skip
    duck("UNLOCK", "/photo.jpg", 204, b"", Lock_Token=f"<{token}>")
    assert left(alice) == {"photo.jpg": BODY}


def test_a_lock_that_has_ended_can_be_given_back(duck: Client, alice: User) -> None:
    """The drive was asleep: it would ask again and again for what was refused."""
    alice.put("/photo.jpg", BODY)
    token = duck("LOCK", "/photo.jpg", 200, LOCKINFO, Timeout="Second-3600").token
    assert alice("UNLOCK", "/photo.jpg", Lock_Token=f"<{token}>").status_code == 204
    duck("UNLOCK", "/photo.jpg", 204, b"", Lock_Token=f"<{token}>")
    assert left(alice) == {"photo.jpg": BODY}


def test_a_part_is_never_taken_for_the_file(duck: Client, alice: User) -> None:
    """An upload that is resumed sends what is missing with Content-Range (RFC 9110 §14.5): refused, nothing changes."""
    alice.put("/photo.jpg", BODY[:100])
    duck("PUT", "/photo.jpg", 400, BODY[100:], Content_Range=f"bytes 100-{len(BODY) - 1}/{len(BODY)}")
    assert left(alice) == {"photo.jpg": BODY[:100]}
