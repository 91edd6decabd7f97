"""GET and HEAD: bytes, conditions, ranges, digests, and what a browser may do with them."""

import base64
import hashlib
import os
from email.utils import formatdate

import pytest

from tests.http.client import User, etag

BODY = bytes(range(256)) * 1000


def test_get_and_head_say_the_same(alice: User) -> None:
    """HEAD has the fields of GET and no body (RFC 9110 §9.3.2)."""
    alice.put("/f.txt", BODY)
    got, head = alice.get("/f.txt"), alice("HEAD", "/f.txt")
    assert (got.status_code, got.content) == (200, BODY)
    assert head.status_code == 200
    ignored = {"Date"}
    assert {k: v for k, v in got.headers.items() if k not in ignored} == {
        k: v for k, v in head.headers.items() if k not in ignored
    }
    assert got.headers["ETag"] == etag(BODY)
    assert got.headers["Content-Type"].startswith("text/plain")
    assert got.headers["Content-Length"] == str(len(BODY))
    assert got.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"If_None_Match": "same"}, 304),
        ({"If_None_Match": "W/same"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_None_Match": '"other", same'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_Match": "same"}, 200),
        ({"If_Match": "W/same"}, 200),  # a proxy that compresses made it weak
        ({"If_Match": '"other"'}, 412),
        ({"If_Match": "*"}, 200),
        ({"If_Modified_Since": "now"}, 304),
        ({"If_Modified_Since": formatdate(0, usegmt=True)}, 200),
        ({"If_Modified_Since": "yesterday or so"}, 200),
        ({"If_Unmodified_Since": "now"}, 200),
        ({"If_Unmodified_Since": formatdate(0, usegmt=True)}, 412),
        ({"If_None_Match": '"other"', "If_Modified_Since": "now"}, 200),
        ({"If_Match": "same", "If_Unmodified_Since": formatdate(0, usegmt=True)}, 200),
    ],
)
def test_conditions(alice: User, fields: dict[str, str], status: int) -> None:
    """RFC 9110 §13.1 and the order of §13.2.2."""
    tag = alice.put("/f", BODY).headers["ETag"]
    now = alice.get("/f").headers["Last-Modified"]
    fields = {name: value.replace("same", tag).replace("now", now) for name, value in fields.items()}
    answer = alice.get("/f", **fields)
    assert answer.status_code == status
    if status == 304:
        assert answer.headers["ETag"] == tag
        assert answer.content == b""
    if status == 200:
        assert answer.content == BODY


@pytest.mark.parametrize(
    ("field", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=255990-", 255990, 256000),
        ("bytes=-10", 255990, 256000),
        ("bytes=255990-999999999", 255990, 256000),
        ("bytes=-999999999", 0, 256000),
    ],
)
def test_one_range(alice: User, field: str, start: int, stop: int) -> None:
    """RFC 9110 §14.2: 206 with just these bytes."""
    alice.put("/f", BODY)
    answer = alice.get("/f", Range=field)
    assert (answer.status_code, answer.content) == (206, BODY[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(BODY)}"


@pytest.mark.parametrize("field", ["bytes=256000-", "bytes=300000-400000", "bytes=-0"])
def test_a_range_beyond_the_end(alice: User, field: str) -> None:
    """416 that says how long the file is (RFC 9110 §15.5.17)."""
    alice.put("/f", BODY)
    answer = alice.get("/f", Range=field)
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(BODY)}"


@pytest.mark.parametrize("field", ["bytes=5-1", "bytes=a-b", "lines=1-2", "bytes", "bytes="])
def test_a_field_that_is_no_range_is_ignored(alice: User, field: str) -> None:
    alice.put("/f", BODY)
    answer = alice.get("/f", Range=field)
    assert (answer.status_code, answer.content) == (200, BODY)


def test_several_ranges(alice: User) -> None:
    """A multipart answer whose parts are the ranges asked for (RFC 9110 §14.6)."""
    alice.put("/f", BODY)
    answer = alice.get("/f", Range="bytes=0-9, 1000-1009, -5")
    assert answer.status_code == 206
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    boundary = answer.headers["Content-Type"].partition("boundary=")[2].encode()
    parts = answer.content.split(b"--" + boundary)
    assert [part.partition(b"\r\n\r\n")[2][:-2] for part in parts[1:-1]] == [BODY[:10], BODY[1000:1010], BODY[-5:]]


def test_many_overlapping_ranges_cost_no_more_than_the_file(alice: User) -> None:
    """The answer to 1,000 ranges of all the bytes is not 1,000 times as long (RFC 9110 §17.15)."""
    alice.put("/f", BODY)
    answer = alice.get("/f", Range="bytes=" + ",".join(["0-"] * 1000))
    assert answer.status_code in (200, 206, 416)
    assert len(answer.content) <= len(BODY) + 1000


def test_if_range(alice: User) -> None:
    """A part is only given of the representation that the client has; else all of the new one."""
    tag = alice.put("/f", BODY).headers["ETag"]
    assert alice.get("/f", Range="bytes=0-9", If_Range=tag).status_code == 206
    assert alice.get("/f", Range="bytes=0-9", If_Range="W/" + tag).status_code == 200
    assert alice.get("/f", Range="bytes=0-9", If_Range='"other"').content == BODY


def test_digests_are_given_when_asked(alice: User) -> None:
    """RFC 9530: of the whole file also where only a part is sent."""
    alice.put("/f", BODY)
    assert "Repr-Digest" not in alice.get("/f").headers
    expected = f"sha-256=:{base64.b64encode(hashlib.sha256(BODY).digest()).decode()}:"
    assert alice.get("/f", Want_Repr_Digest="sha-256=1").headers["Repr-Digest"] == expected
    assert alice("HEAD", "/f", Want_Repr_Digest="sha-256=1").headers["Repr-Digest"] == expected
    assert alice.get("/f", Want_Repr_Digest="sha-256=1", Range="bytes=1-2").headers["Repr-Digest"] == expected


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "script.js", "page.xhtml", "page.htm", "page.xml"])
def test_a_page_does_not_run_in_the_origin_of_the_server(alice: User, name: str) -> None:
    """An uploaded page is sandboxed and keeps the type that its name says."""
    alice.put(f"/{name}", b"<script>alert(1)</script>")
    headers = alice.get(f"/{name}").headers
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_not_there(alice: User) -> None:
    assert alice.get("/missing").status_code == 404
    alice.put("/f")
    assert alice.get("/f/").status_code == 404, "a file is no collection"
    assert alice.get("/f/below").status_code == 404


def test_a_browser_sees_a_listing(alice: User) -> None:
    """Names are shown as they are and never as markup."""
    alice.put("/<b>&'\".txt")
    page = alice.get("/")
    assert page.status_code == 200
    assert "&lt;b&gt;&amp;&#x27;&quot;.txt" in page.text
    assert "<b>" not in page.text


def test_a_download_goes_on_although_the_file_is_replaced(alice: User) -> None:
    """What was begun is the old bytes, whole."""
    old = os.urandom(40 << 20)
    alice.put("/large", old)
    answer = alice.session.get(alice.url("/large"), stream=True, timeout=60)
    begin = answer.raw.read(1 << 20)
    assert alice.put("/large", b"new").status_code == 204
    assert begin + answer.raw.read() == old
    assert alice.get("/large").content == b"new"
