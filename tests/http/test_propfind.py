"""PROPFIND (RFC 4918 §9.1) and PROPPATCH (§9.2): depths, forms, live and dead properties, and XML that attacks."""

import re
import time
from datetime import datetime
from xml.etree import ElementTree

import pytest

from tests.http.client import User, etag
from tests.serving import Server

LIVE = {
    "{DAV:}creationdate", "{DAV:}displayname", "{DAV:}getcontentlength", "{DAV:}getcontenttype", "{DAV:}getetag",
    "{DAV:}getlastmodified", "{DAV:}resourcetype", "{DAV:}lockdiscovery", "{DAV:}supportedlock",
}  # fmt: skip


def _update(set_: str = "", remove: str = "") -> str:
    parts = (f"<set><prop>{set_}</prop></set>" if set_ else "") + (
        f"<remove><prop>{remove}</prop></remove>" if remove else ""
    )
    return f'<propertyupdate xmlns="DAV:" xmlns:t="urn:t">{parts}</propertyupdate>'


def test_depth(alice: User) -> None:
    """0, 1 and infinity, which is the default; a collection's href ends with a slash, a file's does not."""
    alice("MKCOL", "/c")
    alice("MKCOL", "/c/d")
    alice.put("/c/d/f")
    assert set(alice.propfind("/c", depth="0")) == {"/c"}
    assert set(alice.propfind("/c", depth="1")) == {"/c", "/c/d"}
    everything = {"/c", "/c/d", "/c/d/f"}
    assert set(alice.propfind("/c", depth="infinity")) == everything
    answer = alice("PROPFIND", "/c")
    assert set(alice.multistatus(answer)) == everything
    hrefs = re.findall(r"<\w+:href>([^<]*)</", answer.text)
    assert all(href.endswith("/") != href.endswith("f") for href in hrefs)
    assert alice("PROPFIND", "/c", Depth="2").status_code == 400
    assert alice("PROPFIND", "/missing").status_code == 404
    assert alice("PROPFIND", "/c/d/f/").status_code == 404


def test_allprop_of_a_file(alice: User) -> None:
    """An empty body means allprop; every live property has its right value."""
    before = int(time.time())
    alice.put("/ü.txt", b"hello")
    ((_, found),) = alice.propfind("/ü.txt").items()
    assert set(found.props) >= LIVE
    assert found.text("{DAV:}getcontentlength") == "5"
    assert found.text("{DAV:}getetag") == etag(b"hello")
    assert found.text("{DAV:}displayname") == "ü.txt"
    assert (found.text("{DAV:}getcontenttype") or "").startswith("text/plain")
    assert len(found.get("{DAV:}resourcetype") or ()) == 0
    created = datetime.fromisoformat(found.text("{DAV:}creationdate") or "")
    assert before - 2 <= created.timestamp() <= time.time() + 2
    assert len(found.get("{DAV:}supportedlock") or ()) == 2


def test_forms(alice: User) -> None:
    """propname gives names only, prop names what is missing with 404, include adds to allprop."""
    alice.put("/f", b"x")
    alice("PROPPATCH", "/f", _update("<t:a>1</t:a>"))
    names = alice.propfind("/f", '<propfind xmlns="DAV:"><propname/></propfind>')["/f"]
    assert "{urn:t}a" in names.props
    assert all(not "".join(element.itertext()) for _, element in names.props.values())
    some = alice.propfind(
        "/f", '<propfind xmlns="DAV:" xmlns:t="urn:t"><prop><getetag/><t:a/><t:b/></prop></propfind>'
    )["/f"]
    assert {name: status for name, (status, _) in some.props.items()} == {
        "{DAV:}getetag": 200, "{urn:t}a": 200, "{urn:t}b": 404,
    }  # fmt: skip
    more = alice.propfind(
        "/f", '<propfind xmlns="DAV:"><allprop/><include><quota-used-bytes/><resource-id/></include></propfind>'
    )["/f"]
    assert LIVE | {"{urn:t}a", "{DAV:}resource-id"} <= set(more.props)


def test_minimal_answers(alice: User) -> None:
    """`Prefer: return=minimal` (RFC 8144) leaves out what is not there."""
    alice.put("/f", b"x")
    body = b'<propfind xmlns="DAV:" xmlns:t="urn:t"><prop><getetag/><t:b/></prop></propfind>'
    answer = alice("PROPFIND", "/f", body, Depth="0", Prefer="return=minimal")
    assert "404" not in answer.text
    assert "getetag" in answer.text


def test_quota_and_principal_properties(alice: User) -> None:
    """RFC 4331 and RFC 5397."""
    used = int(alice.prop("", "{DAV:}quota-used-bytes") or "x")
    alice.put("/f", b"x" * 10_000)
    assert int(alice.prop("", "{DAV:}quota-used-bytes") or "x") == used + 10_000
    assert int(alice.prop("", "{DAV:}quota-available-bytes") or "x") > 0
    assert (alice.prop("", "{DAV:}current-user-principal") or "").startswith("/")


@pytest.mark.parametrize(
    "value",
    [
        "plain", "", "  blank  ", "&lt;escaped&gt; &amp; more",
        "<x:deep xmlns:x='urn:x'><x:er a='1'>t</x:er>tail</x:deep>",
        "日本 🎌", "<![CDATA[<raw>]]>", "line\nline", "<!-- a comment -->text",
    ],
)  # fmt: skip
def test_dead_properties_come_back(alice: User, value: str) -> None:
    """Whatever XML a client keeps there, it gets the same infoset back (§4.3)."""
    alice.put("/f")
    assert "200 OK" in alice("PROPPATCH", "/f", _update(f"<t:a>{value}</t:a>").encode()).text
    found = alice.propfind("/f", '<propfind xmlns="DAV:"><prop><a xmlns="urn:t"/></prop></propfind>')["/f"]
    sent = ElementTree.fromstring(f'<t:a xmlns:t="urn:t">{value}</t:a>')  # noqa: S314 - written above
    kept = found.get("{urn:t}a")
    assert kept is not None
    assert _infoset(kept) == _infoset(sent)


def _infoset(element: ElementTree.Element) -> object:
    inside = [(_infoset(child), child.tail or "") for child in element]
    return element.tag, element.attrib, element.text or "", inside


def test_proppatch_is_all_or_nothing(alice: User) -> None:
    """A protected property refuses the whole update (§9.2): 403 for it and 424 for the others."""
    alice.put("/f", b"x")
    answer = alice("PROPPATCH", "/f", _update("<t:a>1</t:a><getetag>mine</getetag>"))
    found = alice.multistatus(answer)["/f"]
    assert {name: status for name, (status, _) in found.props.items()} == {"{DAV:}getetag": 403, "{urn:t}a": 424}
    assert alice.prop("/f", "{urn:t}a") is None
    assert alice.prop("/f", "{DAV:}getetag") == etag(b"x")


def test_remove(alice: User) -> None:
    """What is not there is removed without an error (§14.23); in document order, the last counts."""
    alice.put("/f")
    alice("PROPPATCH", "/f", _update("<t:a>1</t:a><t:b>2</t:b>"))
    assert "200 OK" in alice("PROPPATCH", "/f", _update(remove="<t:a/><t:missing/>")).text
    assert alice.prop("/f", "{urn:t}a") is None
    assert alice.prop("/f", "{urn:t}b") == "2"
    alice("PROPPATCH", "/f", _update("<t:b>3</t:b>", "<t:b/>"))
    assert alice.prop("/f", "{urn:t}b") is None


def test_windows_times_are_kept_and_count(alice: User) -> None:
    """What Explorer sets after a copy is shown again, and is the modification time."""
    alice.put("/f")
    win32 = (
        '<propertyupdate xmlns="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><set><prop>'
        "<Z:Win32CreationTime>Sat, 14 Feb 2009 00:00:00 GMT</Z:Win32CreationTime>"
        "<Z:Win32LastModifiedTime>Sun, 15 Feb 2009 00:00:00 GMT</Z:Win32LastModifiedTime>"
        "<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></prop></set></propertyupdate>"
    )
    tag = alice.get("/f").headers["ETag"]
    assert "200 OK" in alice("PROPPATCH", "/f", win32).text
    assert alice.prop("/f", "{DAV:}getlastmodified") == "Sun, 15 Feb 2009 00:00:00 GMT"
    assert (alice.prop("/f", "{DAV:}creationdate") or "").startswith("2009-02-14T00:00:00")
    assert alice.prop("/f", "{urn:schemas-microsoft-com:}Win32FileAttributes") == "00000020"
    assert alice.prop("/f", "{urn:schemas-microsoft-com:}Win32LastModifiedTime") == "Sun, 15 Feb 2009 00:00:00 GMT"
    assert alice.get("/f").headers["ETag"] == tag


ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "&a;" * 10}">' for n in range(8)
)


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        ("<propfind", {400}),
        ("not xml at all", {400}),
        ("<other xmlns='DAV:'/>", {400, 422}),
        ("<propfind xmlns='DAV:'><prop><a:b/></prop></propfind>", {400}),
        ("<propfind xmlns='DAV:'><prop><b xmlns:c=''/></prop></propfind>", {400, 207}),
        (BOMB + "]><propfind xmlns='DAV:'><prop>&a7;</prop></propfind>", {400, 403}),
        (ENTITY + '<propfind xmlns="DAV:"><prop>&x;</prop></propfind>', {400, 403}),
        ("<propfind xmlns='DAV:'>" + "<a>" * 5000 + "</a>" * 5000 + "</propfind>", {400, 413}),
        ("<propfind xmlns='DAV:'><prop>" + "<a/>" * 2_000_000 + "</prop></propfind>", {413}),
        ("\0\0\0", {400}),
    ],
    ids=range(10),
)  # fmt: skip
def test_xml_that_attacks(alice: User, body: str, statuses: set[int]) -> None:
    """Refused with a clear status, quickly, and nothing of the server's files comes back."""
    begun = time.monotonic()
    for method in ("PROPFIND", "PROPPATCH", "LOCK"):
        answer = alice(method, "/", body.encode(), Depth="0")
        assert answer.status_code in statuses | {400, 422}, (method, answer.text)
        assert "root:" not in answer.text
    assert time.monotonic() - begun < 60


def test_encodings_of_xml(alice: User) -> None:
    """UTF-16 with its mark, and a declared ISO-8859-1."""
    alice.put("/f")
    body = '<?xml version="1.0" encoding="{}"?>' + _update("<t:a>ü</t:a>")
    assert "200 OK" in alice("PROPPATCH", "/f", body.format("utf-16").encode("utf-16")).text
    assert alice.prop("/f", "{urn:t}a") == "ü"
    assert "200 OK" in alice("PROPPATCH", "/f", body.format("iso-8859-1").replace("ü", "ö").encode("latin-1")).text
    assert alice.prop("/f", "{urn:t}a") == "ö"


def test_infinity_on_a_large_tree(server: Server) -> None:
    """All of it, or `propfind-finite-depth` (RFC 4918 §9.1): never a part that looks like all."""
    server.add_user("hoarder")  # so that no other test has to do with all this
    hoarder, home = User(server, "hoarder"), server.home("hoarder")
    for folder in range(20):
        (home / str(folder)).mkdir()
        for number in range(300):
            (home / str(folder) / str(number)).touch()
    answer = hoarder("PROPFIND", "/", Depth="infinity")
    if answer.status_code == 403:
        assert "propfind-finite-depth" in answer.text
    else:
        assert answer.status_code == 207
        assert len(hoarder.multistatus(answer)) == 1 + 20 + 6000


@pytest.mark.parametrize("path", ["/", "/dav", "/dav/"])
def test_windows_finds_its_way(server: Server, path: str) -> None:
    """The WebClient asks the root first, without a password: OPTIONS answers, PROPFIND says how to sign in."""
    status, _ = User(server, "alice").raw("OPTIONS", path)
    assert status == 200
    found = User(server, "alice").raw("PROPFIND", path, Depth="0")
    assert found[0] == 207
