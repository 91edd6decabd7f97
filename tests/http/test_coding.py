"""gzip for listings and the API's JSON, where it is asked for; never for files, pages and what is short."""

import gzip
from xml.etree import ElementTree

import pytest
import requests

from tests.http.client import User, etag

TEXT = b"what compresses well\n" * 999
SYNC = b'<sync-collection xmlns="DAV:"><sync-token/><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>'


def asked(
    alice: User, method: str, url: str, body: bytes = b"", accepts: str = "gzip", depth: str = "1"
) -> requests.Response:
    """The answer as it comes over the wire: `content` is not unpacked."""
    fields = {"Accept-Encoding": accepts, "Depth": depth}
    answer = alice.session.request(method, url, data=body, headers=fields, stream=True, timeout=60)
    answer._content = answer.raw.read(decode_content=False)
    return answer


def is_packed(answer: requests.Response) -> bool:
    assert ("Accept-Encoding" in answer.headers.get("Vary", "")) or "Content-Encoding" not in answer.headers
    return answer.headers.get("Content-Encoding") == "gzip"


@pytest.fixture
def folder(alice: User) -> User:
    for number in range(12):
        alice.put(f"/file {number}.txt")
    return alice


@pytest.mark.parametrize(("method", "body"), [("PROPFIND", b""), ("REPORT", SYNC)])
def test_listings_are_packed_for_who_asks(folder: User, method: str, body: bytes) -> None:
    """The same listing either way, in turn, also when it is kept; after a change the new one."""
    for name in ("/file 0.txt", "/another.txt"):
        folder.put(name, name.encode())
        for _ in range(3):
            plain = asked(folder, method, folder.url("/"), body, "identity", "1" if method == "PROPFIND" else "0")
            answer = asked(
                folder, method, folder.url("/"), body, "deflate, gzip;q=0.5", "1" if method == "PROPFIND" else "0"
            )
            assert (answer.status_code, plain.status_code) == (207, 207)
            assert is_packed(answer) and not is_packed(plain)
            assert plain.headers["Vary"] == "Accept-Encoding"
            assert int(answer.headers["Content-Length"]) == len(answer.content) < len(plain.content) / 3
            assert gzip.decompress(answer.content) == plain.content
            assert answer.headers["Content-Type"] == plain.headers["Content-Type"] == "application/xml; charset=utf-8"
            assert etag(name.encode()) in "".join(ElementTree.fromstring(plain.content).itertext())  # noqa: S314


@pytest.mark.parametrize("accepts", ["gzip", "x-gzip", "*", "GZIP ; q=1.000", "br, zstd, gzip", "gzip;q=0.001"])
def test_who_asks_for_gzip(folder: User, accepts: str) -> None:
    """RFC 9110 §12.5.3."""
    assert is_packed(asked(folder, "PROPFIND", folder.url("/"), accepts=accepts))


@pytest.mark.parametrize(
    "accepts", ["gzip;q=0", "*, gzip;q=0", "*;q=0", "br, zstd, deflate", "gzipped", "", "gzip;q=x"]
)
def test_who_does_not(folder: User, accepts: str) -> None:
    assert not is_packed(asked(folder, "PROPFIND", folder.url("/"), accepts=accepts))


def test_what_ends_with_time_is_not_kept(folder: User) -> None:
    """A listing that shows a lock is made anew, packed or not: its timeout counts down."""
    folder.lock("/file 1.txt", timeout="Second-100")
    for _ in range(3):
        assert b"activelock" in gzip.decompress(asked(folder, "PROPFIND", folder.url("/")).content)


def test_json_is_packed(folder: User) -> None:
    """The API's answers; HEAD has the fields of GET, but for the length that only GET knows."""
    url = f"{folder.server.url}/api/sync/state?limit=1000"
    plain, answer = asked(folder, "GET", url, accepts="identity"), asked(folder, "GET", url)
    assert is_packed(answer) and not is_packed(plain)
    assert gzip.decompress(answer.content) == plain.content
    for accepts, got in (("gzip", answer), ("identity", plain)):
        fields = dict(asked(folder, "HEAD", url, accepts=accepts).headers)
        expected = {
            name: value for name, value in got.headers.items() if accepts == "identity" or name != "Content-Length"
        }
        assert {name: value for name, value in fields.items() if name != "Date"} == {
            name: value for name, value in expected.items() if name != "Date"
        }


def test_files_are_sent_as_they_are(alice: User) -> None:
    """Their entity-tag is the hash of what is sent."""
    for name in ("/text.txt", "/page.html", "/listing.xml", "/state.json"):
        alice.put(name, TEXT)
        for method in ("GET", "HEAD"):
            answer = asked(alice, method, alice.url(name))
            assert not is_packed(answer)
            assert answer.headers["ETag"] == etag(TEXT)
            assert "Vary" not in answer.headers


def test_what_is_short_is_sent_as_it_is(alice: User) -> None:
    answer = asked(
        alice, "PROPFIND", alice.url("/"), b'<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>', depth="0"
    )
    assert not is_packed(answer)
    assert "Vary" not in answer.headers


def test_pages_are_not_packed(alice: User) -> None:
    """Their length would betray the secret in them to who can make a browser ask (BREACH)."""
    told = alice.session.post(f"{alice.server.url}/index.php/login/v2", timeout=60).json()
    page = asked(alice, "GET", told["login"])
    assert page.status_code == 200
    assert len(page.content) > 1024
    assert not is_packed(page)
