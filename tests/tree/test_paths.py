"""Paths: one decoding, no name that cannot be, and an href that comes back as the same names."""

import sys
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baludav.errors import BadRequest, Failure, OtherServer, PathTooLong
from baludav.tree import paths
from baludav.tree.paths import Path

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: (
        name not in (".", "..", paths.RESERVED)
        and "/" not in name
        and paths.is_visible(name)
        and paths.is_visible(normalize("NFC", name))
    )
)


@pytest.mark.parametrize(
    ("target", "names", "has_trailing_slash"),
    [
        ("/", (), True),
        ("//", (), True),
        ("/a", ("a",), False),
        ("/a/", ("a",), True),
        ("//a///b//", ("a", "b"), True),
        ("/./co:lon", ("co:lon",), False),
        ("/a/./b", ("a", "b"), False),
        ("/.", (), True),
        ("/a/.", ("a",), True),
        ("/a/./", ("a",), True),
        ("/a%20b", ("a b",), False),
        ("/a b", ("a b",), False),
        ("/a+b", ("a+b",), False),
        ("/%C3%A4", ("ä",), False),
        ("/%c3%a4", ("ä",), False),
        ("/\xc3\xa4", ("ä",), False),
        ("/\xc3%A4", ("ä",), False),
        ("/a%CC%88", ("a\u0308",), False),
        ("/a%252Fb", ("a%2Fb",), False),
        ("/%252e%252e", ("%2e%2e",), False),
        ("/a;b=c/d", ("a;b=c", "d"), False),
        ("/..;/a", ("..;", "a"), False),
        ("/a%3Fb", ("a?b",), False),
        ("/a%23b", ("a#b",), False),
        ("/a?b/c", ("a",), False),
        ("/a/?b%23c", ("a",), True),
        ("/a\\b", ("a\\b",), False),
        ("/..%5c..%5Cetc", ("..\\..\\etc",), False),
        ("/C:", ("C:",), False),
        ("/...", ("...",), False),
        ("/.a./..b", (".a.", "..b"), False),
        ("/%C2%85", ("\x85",), False),
        ("/%F0%9F%98%80", ("😀",), False),
        ("/%EF%BF%BD", ("\ufffd",), False),
    ],
)
def test_a_target_is_split_then_decoded_once(target: str, names: Path, has_trailing_slash: bool) -> None:
    """RFC 3986 §2.4, §3.3: separators are found before decoding, and nothing is decoded twice."""
    assert paths.parse(target) == (names, has_trailing_slash)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "a/b",
        "?a",
        "http://host/a",
        "/a#b",
        "/%",
        "/%2",
        "/%zz",
        "/%u0041",
        "/% 41",
        "/%+41",
        "/%FF",
        "/%C3",
        "/%C3/%A4",
        "/\xe4",
        "/\u20ac",
        "/%C0%AF",
        "/%C0%AE%C0%AE",
        "/%E0%80%AF",
        "/%ED%A0%80",
        "/%F4%90%80%80",
        "/%00",
        "/a\x00b",
        "/%0a",
        "/%0D%0ASet-Cookie:x",
        "/%1f",
        "/%7F",
        "/a\x7f",
        "/%EF%BF%BE",
        "/%EF%BF%BF",
        "/a%2Fb",
        "/a%2fb",
        "/..%2fetc",
        "/..",
        "/../",
        "/a/../b",
        "/./../a",
        "/a/./..",
        "/a/%2e/b",
        "/%2e%2e/a",
        "/.%2E/a",
        "/%2e",
    ],
)
def test_what_cannot_be_a_path_is_refused(target: str) -> None:
    """RFC 3986 §2.1, §5.2.4, RFC 3629 §3: no bad escape, overlong form, surrogate, control or dot segment."""
    with pytest.raises(BadRequest):
        paths.parse(target)


@pytest.mark.parametrize(
    ("target", "fits"),
    [
        ("/" + "a" * 255, True),
        ("/" + "a" * 256, False),
        ("/" + "%C3%A4" * 127, True),
        ("/" + "%C3%A4" * 128, False),
        ("/" + "a%CC%88" * 127, True),
        ("/" + "a%CC%88" * 128, False),
        ("/" + "%F0%9D%85%9E" * 31, True),
        ("/" + "%F0%9D%85%9E" * 32, False),
        (("/" + "a" * 255) * 16, True),
        (("/" + "a" * 255) * 16 + "/a", False),
        ("/a" * 200, True),
        ("/a" * 201, False),
        ("/" * 40_000, False),
        ("/" + "a" * 10_000_000, False),
    ],
)
def test_a_path_fits_on_the_disk(target: str, fits: bool) -> None:
    """255 bytes in a composed name, 4,096 in a path, 200 names: beyond is 414, however it was spelled."""
    if fits:
        assert paths.parse(target)[0]
    else:
        with pytest.raises(PathTooLong):
            paths.parse(target)


@given(st.text(st.characters(max_codepoint=0x17F), max_size=80), st.text("/%.?#;0189abfACEF", max_size=80))
def test_no_target_breaks_the_parser(anything: str, nearly: str) -> None:
    """Whatever is sent, there is a path of proper names or a failure."""
    for target in (anything, f"/{anything}", f"/{nearly}"):
        try:
            path, _ = paths.parse(target)
        except Failure:
            continue
        assert all(name and "/" not in name and name not in (".", "..") for name in path)
        assert paths.parse(paths.quote(path))[0] == path


@given(st.lists(NAMES, max_size=8).map(tuple), st.booleans())
def test_an_href_comes_back_as_the_same_names(path: Path, is_collection: bool) -> None:
    """RFC 4918 §8.3: what is sent as an href names the same resource when it comes back."""
    href = paths.quote(path, is_collection)
    assert paths.parse(href) == (path, is_collection or not path)
    assert paths.parse_destination(f"http://host{href}", scheme="http", host="host", mount="")[0] == path


@given(st.lists(NAMES, min_size=1, max_size=4).map(tuple))
def test_an_href_needs_no_escaping(path: Path) -> None:
    """Only characters that every client and XML take as they are (RFC 3986 §2.3, RFC 4918 §8.3.1)."""
    href = paths.quote(path, True)
    assert href.isascii()
    assert not set(href) & set(" \"'<>&;#?+\\^`{|}:@!$*,=[]")


@pytest.mark.parametrize(
    ("path", "is_collection", "href"),
    [
        ((), False, "/"),
        ((), True, "/"),
        (("a", "b"), False, "/a/b"),
        (("a", "b"), True, "/a/b/"),
        (("a b",), False, "/a%20b"),
        (("100%",), False, "/100%25"),
        (("ä",), False, "/%C3%A4"),
        (("a;b?c#d",), False, "/a%3Bb%3Fc%23d"),
        (("a'b\"<&>",), False, "/a%27b%22%3C%26%3E"),
        (("A-z_0.9~(1)",), False, "/A-z_0.9~(1)"),
        (("\udcff",), False, "/%FF"),
    ],
)
def test_an_href_is_percent_encoded(path: Path, is_collection: bool, href: str) -> None:
    """RFC 3986 §2.3, RFC 4918 §5.2: unreserved stays, the rest is encoded, a collection ends in a slash."""
    assert paths.quote(path, is_collection) == href


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", ("a",)),
        ("\u00e4", ("\u00e4", "a\u0308")),
        ("a\u0308", ("a\u0308", "\u00e4")),
        ("\u212b", ("\u212b", "\u00c5", "A\u030a")),
        ("日本", ("日本",)),
        ("\u00e4" * 100, ("\u00e4" * 100,)),
    ],
)
def test_a_name_is_looked_up_as_sent_composed_and_decomposed(name: str, expected: tuple[str, ...]) -> None:
    """UAX #15: each canonical spelling once, the client's own first, none that no disk can hold."""
    assert paths.spellings(name) == expected


@given(NAMES)
def test_a_new_name_is_stored_composed(name: str) -> None:
    """UAX #15: the stored spelling is NFC, found again from any other."""
    assert paths.stored(name) == normalize("NFC", name)
    assert paths.stored(name) in paths.spellings(name)
    assert paths.stored(name) in paths.spellings(normalize("NFD", name))
    assert paths.spellings(name)[0] == name


def test_composing_makes_no_name_special() -> None:
    """No character turns into a slash, a dot, a control or part of the reserved name by composing it."""
    special = set("/\\" + paths.RESERVED) | {chr(code) for code in (*range(0x20), 0x7F)}
    for code in range(0x80, sys.maxunicode + 1):
        character = chr(code)
        if not 0xD800 <= code <= 0xDFFF:
            assert normalize("NFC", character) not in special


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", True),
        (".hidden", True),
        ("a\\b", True),
        (".baludav", False),
        (".baludav2", True),
        ("a\nb", False),
        ("a\x7f", False),
        ("a\x85", True),
        ("\udcff", False),
        ("\ufffe", False),
        ("\uffff", False),
        ("a" * 255, True),
        ("a" * 256, False),
        ("\U0001d15e" * 32, False),
    ],
)
def test_only_names_that_can_come_back_are_shown(name: str, expected: bool) -> None:
    """XML 1.0 §2.2: a name from the disk that no answer can carry, or no request ask for, is not listed."""
    assert paths.is_visible(name) is expected


@given(st.text(max_size=40).filter(lambda name: name and "/" not in name and name not in (".", "..")))
def test_a_visible_name_can_be_asked_for(name: str) -> None:
    """What is listed is reachable, and what is not listed is not."""
    try:
        path, _ = paths.parse(paths.quote((name,)))
    except (BadRequest, PathTooLong, UnicodeError):
        path = ()
    assert paths.is_visible(name) == (path == (name,) and not paths.is_reserved(name))


@pytest.mark.parametrize(
    ("header", "path"),
    [
        ("/dav/a", ("a",)),
        (" /dav/a\t", ("a",)),
        ("/dav/a%3Fb;c.txt", ("a?b;c.txt",)),
        ("/dav/a?b", ("a",)),
        ("/dav", ()),
        ("/%64av/a", ("a",)),
        ("/dav//a", ("a",)),
        ("/dav/\xc3\xa4", ("ä",)),
        ("http://nas/dav/a", ("a",)),
        ("HTTP://NAS/dav/a", ("a",)),
        ("http://nas:80/dav/a", ("a",)),
        ("http://nas:/dav/a", ("a",)),
        ("https://nas/dav/a", ("a",)),
        ("https://nas:443/dav/a", ("a",)),
        ("http://user:p%40ss@nas/dav/a", ("a",)),
        ("http://nas//dav/a", ("a",)),
        ("http://nas/dav/\xc3\xa4", ("ä",)),
    ],
)
def test_destination_names_a_path_here(header: str, path: Path) -> None:
    """RFC 4918 §10.3: an absolute URI or path, host without case, default ports equal, also behind TLS."""
    assert paths.parse_destination(header, scheme="http", host="nas", mount="/dav") == (path, False)


@pytest.mark.parametrize(
    ("header", "scheme", "host"),
    [
        ("http://nas:8080/a", "http", "nas:8080"),
        ("https://nas:8080/a", "http", "nas:8080"),
        ("http://nas/a", "http", "nas:80"),
        ("https://nas/a", "https", "nas:443"),
        ("https://nas/a", "http", "nas:443"),
        ("http://nas:80/a", "https", "nas"),
        ("http://[::1]:8080/a", "http", "[::1]:8080"),
        ("http://[2001:DB8::1]/a", "http", "[2001:db8::1]"),
        ("http://Nas.Example/a", "http", "nas.example"),
        ("webdav://alice@nas:8080/a", "http", "nas:8080"),
        ("webdavs://nas/a", "http", "nas"),
        ("webdavs://nas:443/a", "https", "nas"),
        ("/a", "http", ""),
    ],
)
def test_destination_on_this_server(header: str, scheme: str, host: str) -> None:
    """RFC 9110 §4.2.3: the port may be left out where it is the default of either scheme."""
    assert paths.parse_destination(header, scheme=scheme, host=host, mount="/") == (("a",), False)


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("http://other/dav/a", "nas"),
        ("http://nas:81/dav/a", "nas"),
        ("http://nas:0/dav/a", "nas"),
        ("http://nas:8080/dav/a", "nas:8081"),
        ("http://nas/dav/a", "nas:8080"),
        ("https://nas:80/dav/a", "nas:8080"),
        ("http://nas.evil/dav/a", "nas"),
        ("http://nas@evil/dav/a", "nas"),
        ("http://nas:80@evil/dav/a", "nas"),
        ("ftp://nas/dav/a", "nas"),
        ("webdav://other/dav/a", "nas"),
        ("webdavs://nas:80/dav/a", "nas:8080"),
        ("http://nas/dav/a", ""),
        ("http://nas", "nas"),
        ("http://nas/", "nas"),
        ("/other/a", "nas"),
        ("/davx/a", "nas"),
        ("/", "nas"),
    ],
)
def test_destination_elsewhere_is_another_server(header: str, host: str) -> None:
    """RFC 4918 §9.8.5, §9.9.4: 502 for another host or port, and for what is not our tree."""
    with pytest.raises(OtherServer):
        paths.parse_destination(header, scheme="http", host=host, mount="/dav")


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "a",
        "dav/a",
        "?a",
        "//nas/dav/a",
        "http:",
        "http:/dav/a",
        "http:///dav/a",
        "http://:80/dav/a",
        "http://nas:x/dav/a",
        "http://nas:+80/dav/a",
        "http://nas:999999/dav/a",
        "http://na\\s/dav/a",
        "http://[::1/dav/a",
        "http://nas\x00/dav/a",
        "mailto:a@nas",
        "/dav/a#b",
        "http://nas/dav/a#",
        "/dav/../a",
        "/dav/%2e%2e/a",
        "/dav/%FF",
        "/dav/%00",
        "/dav/a%2Fb",
        "http://nas/dav/a%",
    ],
)
def test_a_malformed_destination_is_refused(header: str) -> None:
    """RFC 4918 §8.3, §10.3: the rules of the request path hold for Destination."""
    with pytest.raises(BadRequest):
        paths.parse_destination(header, scheme="http", host="nas", mount="/dav")


@given(st.text(max_size=60), st.text("/:@[]%?#.ahttps0189", max_size=40), st.text(max_size=10))
def test_no_destination_breaks_the_parser(anything: str, nearly: str, host: str) -> None:
    """Whatever is sent as Destination and Host, there is a path or a failure."""
    for header in (anything, nearly, f"http://{nearly}", f"http://{host}/{nearly}"):
        try:
            path, _ = paths.parse_destination(header, scheme="http", host=host, mount="")
        except Failure:
            continue
        assert paths.parse(paths.quote(path))[0] == path
