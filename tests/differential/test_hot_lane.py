"""The hot lane answers as WsgiDAV does: the same requests to two servers over the same tree, one without it."""

import gzip
import http.client
import random
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.http.client import basic, etag
from tests.serving import Server

SEED = 20_261
STEPS = 1_500
NAMES = ["a", "b.txt", "c.html", "Ä ö", "%41", "#?&;+", "日本", "deep"]
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
# What two runs of one server would not answer alike, either.
_VARYING = [
    (re.compile(rb"baludav:[\w-]{22}"), b"TOKEN"),
    (re.compile(rb"<D:(getlastmodified|creationdate)>[^<]*"), b"TIME"),
    (re.compile(rb"<D:quota-available-bytes>[^<]*"), b"ROOM"),
    (re.compile(rb"<D:timeout>Second-\d+"), b"TIMEOUT"),
]
_VARYING_FIELDS = {"date", "last-modified"}

PROPFINDS = [
    b"",
    b'<propfind xmlns="DAV:"><allprop/></propfind>',
    b'<propfind xmlns="DAV:"><propname/></propfind>',
    b'<propfind xmlns="DAV:"><prop><getetag/><getcontentlength/><resourcetype/></prop></propfind>',
    b'<propfind xmlns="DAV:"><prop><quota-available-bytes/><getetag/></prop></propfind>',
    b'<propfind xmlns="DAV:"><prop><lockdiscovery/><x xmlns="urn:x"/></prop></propfind>',
    b"<propfind>",
]
PROPPATCH = b'<propertyupdate xmlns="DAV:"><set><prop><x xmlns="urn:x">%s</x></prop></set></propertyupdate>'


class Lane:
    """A connection to one of the servers, kept alive, signed in as one user."""

    def __init__(self, server: Server, user: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.authorization = basic(*server.auth(user))

    def __call__(
        self, method: str, target: str, body: bytes, fields: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, header fields in their order, and body, without what varies."""
        self.connection.putrequest(method, target, skip_accept_encoding=True)
        if "Authorization" not in dict(fields):
            self.connection.putheader("Authorization", self.authorization)
        for name, value in fields:
            self.connection.putheader(name, value)
        if body or method == "PUT":
            self.connection.putheader("Content-Length", str(len(body)))
        self.connection.endheaders(body or None)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.headers["Content-Encoding"] == "gzip":
            content = gzip.decompress(content)
        varies = False
        for pattern, name in _VARYING:
            content, count = pattern.subn(name, content)
            varies = varies or bool(count)
        shown = []
        for name, value in answer.getheaders():
            if name.lower() in _VARYING_FIELDS or (varies and name.lower() == "content-length"):
                value = "..."
            shown.append((name, _VARYING[0][0].sub(b"TOKEN", value.encode("latin-1")).decode("latin-1")))
        return answer.status, shown, content


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lane, Lane]]:
    """Connections of anna to a server with the hot lane and to one without; both began with the same index."""
    folder = tmp_path_factory.mktemp("lanes")
    shares = {"Team": {"folder": str(folder / "team"), "read": ["otto"], "write": ["anna"]}}
    (folder / "team").mkdir()
    with Server(folder / "data", shares=shares) as first:
        first.add_user("anna")
        first.baludav("user", "add", "otto", "--password-stdin", input="the-password-of-otto\n")
    shutil.copytree(folder / "data", folder / "copy")
    shutil.copytree(folder / "team", folder / "team2")
    shares2 = {"Team": {**shares["Team"], "folder": str(folder / "team2")}}
    cold = {"BALUDAV_HOT_LANE": "false"}
    with (
        Server(folder / "data", shares=shares) as hot,
        Server(folder / "copy", shares=shares2, environment=cold) as reference,
    ):
        for server in (hot, reference):
            server.passwords["anna"] = "the-password-of-anna"
        yield Lane(hot, "anna"), Lane(reference, "anna")


def _target(chance: random.Random) -> str:
    from urllib.parse import quote

    depth = chance.choice([0, 1, 1, 1, 2, 2, 3])
    names = [chance.choice(NAMES) for _ in range(depth)]
    if chance.random() < 0.15:
        names.insert(0, "Team")
    safe = chance.choice(["", "", "!$&'()*,="])
    target = "/dav/" + "/".join(quote(name, safe=safe) for name in names)
    if chance.random() < 0.1:
        target += "/"
    if chance.random() < 0.03:
        target = chance.choice([target + "?a=b", target.replace("/dav/", "//dav/"), "/dav", "/", "/dav/%2e%2e/x", "/x"])
    return target


def _fields(chance: random.Random, method: str, body: bytes) -> list[tuple[str, str]]:
    """Header fields that make sense here, and some that do not."""
    fields = []
    for name, value, share in (
        ("If-None-Match", chance.choice(["*", etag(body), f"W/{etag(b'1')}", f'"x", {etag(b"1")}', "bad"]), 0.15),
        ("If-Match", chance.choice(["*", etag(b"1"), f'W/{etag(b"2")}, "y"', '"z"']), 0.1),
        ("If-Modified-Since", chance.choice([DATE, "Fri, 01 Jan 2100 00:00:00 GMT", "never"]), 0.1),
        ("If-Unmodified-Since", chance.choice([DATE, "Fri, 01 Jan 2100 00:00:00 GMT"]), 0.05),
        ("Range", chance.choice(["bytes=0-0", "bytes=1-", "bytes=-1", "bytes=9-", "bytes=0-0,0-0", "lines=1"]), 0.1),
        ("If-Range", chance.choice([etag(b"12"), DATE]), 0.05),
        ("Want-Repr-Digest", "sha-256=1", 0.03),
        ("If", "(<DAV:no-lock>)", 0.03),
        ("Brief", "t", 0.03),
        ("Overwrite", chance.choice("TF"), 0.3),
        ("Connection", chance.choice(["keep-alive", "close"]), 0.03),
        ("Authorization", chance.choice(["Basic eDp5", "Bearer nothing", "nonsense"]), 0.01),
    ):
        if chance.random() < share:
            fields.append((name, value))
    if method == "PROPFIND" or chance.random() < 0.03:
        fields.append(("Depth", chance.choice(["0", "1", "1", "infinity", "2"])))
    if method == "PUT" and chance.random() < 0.5:
        fields.append(("X-OC-Mtime", str(chance.choice([784111777, 1000000000]))))
    return fields


def test_both_lanes_answer_alike(lanes: tuple[Lane, Lane]) -> None:
    """Random requests of every kind in one long session: the same status, fields and bytes each time."""
    chance, codings = random.Random(SEED), random.Random(SEED)
    seen = set()
    for step in range(STEPS):
        method = chance.choice(
            ["GET"] * 6 + ["HEAD", "HEAD", "OPTIONS"] + ["PROPFIND"] * 6 + ["PUT"] * 6
            + ["MKCOL", "MKCOL", "DELETE", "COPY", "MOVE", "PROPPATCH", "LOCK", "REPORT", "POST"]
        )  # fmt: skip
        body = b""
        if method == "PUT":
            body = chance.choice([b"", b"1", b"12", b"12" * 500, b"x" * 70_000])
        elif method == "PROPFIND":
            body = chance.choice(PROPFINDS)
        elif method == "PROPPATCH":
            body = (
                b'<propertyupdate xmlns="DAV:"><set><prop><x xmlns="urn:x">%d</x></prop></set></propertyupdate>' % step
            )
        target, fields = _target(chance), _fields(chance, method, body)
        if method in ("COPY", "MOVE"):
            fields.append(("Destination", _target(chance)))
        if codings.random() < 0.3:
            fields.append(("Accept-Encoding", codings.choice(["gzip", "gzip, deflate", "gzip;q=0", "br"])))
        again = 2 if method in ("GET", "HEAD", "PROPFIND") else 1  # the second answer may come from what is known
        for _ in range(again):
            answers = [lane(method, target, body, fields) for lane in lanes]
            assert answers[0] == answers[1], (step, method, target, fields, body[:80])
            seen.add((method, answers[0][0]))
    assert {("GET", 200), ("GET", 304), ("GET", 206), ("HEAD", 200), ("PROPFIND", 207), ("PUT", 201)} <= seen
    assert {("PUT", 204), ("DELETE", 204), ("MOVE", 201), ("COPY", 201), ("MKCOL", 201), ("PUT", 412)} <= seen


def test_what_another_does_is_seen_at_once(lanes: tuple[Lane, Lane]) -> None:
    """A listing and a file that the hot lane knows, after a change by another connection or behind the server."""
    hot, _ = lanes
    hot("MKCOL", "/dav/seen", b"", [])
    for number in range(20):
        hot("PUT", "/dav/seen/f", b"%d" % number, [])
        for _ in range(3):
            assert hot("GET", "/dav/seen/f", b"", [])[2] == b"%d" % number
            assert etag(b"%d" % number).encode() in hot("PROPFIND", "/dav/seen", PROPFINDS[3], [("Depth", "1")])[2]
        hot("PROPPATCH", "/dav/seen/f", PROPPATCH % (b"n%d" % number), [])
        for depth, target in (("1", "/dav/seen"), ("0", "/dav/seen/f")):
            for _ in range(3):
                assert b">n%d<" % number in hot("PROPFIND", target, PROPFINDS[5], [("Depth", depth)])[2]
