"""A small request with a large answer: what one may ask for is bounded, and what is large is not kept in memory."""

import re

import pytest

from tests.attacks.attacker import Attacker
from tests.http.client import User, basic
from tests.serving import Server

PROPFIND = '<propfind xmlns="DAV:" xmlns:x="{ns}"><prop>{props}</prop></propfind>'
REPORT = (
    '<sync-collection xmlns="DAV:" xmlns:x="{ns}"><sync-token/><sync-level>infinite</sync-level><prop>{props}</prop>'
    "</sync-collection>"
)
PROPPATCH = '<propertyupdate xmlns="DAV:" xmlns:x="{ns}"><set><prop>{props}</prop></set></propertyupdate>'
LOCK = (
    '<lockinfo xmlns="DAV:" xmlns:x="{ns}"><lockscope><shared/></lockscope><locktype><write/></locktype>'
    "<owner>{props}</owner></lockinfo>"
)


@pytest.mark.parametrize(
    ("method", "target", "template"),
    [
        ("PROPFIND", "/dav/", PROPFIND),
        ("REPORT", "/dav/", REPORT),
        ("PROPPATCH", "/dav/many", PROPPATCH),
        ("MKCOL", "/dav/none", PROPPATCH.replace("propertyupdate", "mkcol")),
        ("LOCK", "/dav/many", LOCK),
        ("PROPFIND", "/remote.php/dav/trashbin/mallory/trash", PROPFIND),
        ("PROPFIND", "/remote.php/dav/files/mallory", PROPFIND),
    ],
)
def test_a_long_namespace_is_not_repeated(mallory: Attacker, method: str, target: str, template: str) -> None:
    """In the body it stands once, in an answer it would stand with each of thousands of names."""
    mallory("MKCOL", "/dav/many")
    body = template.format(ns="urn:" + "n" * 100_000, props="".join(f"<x:p{number}/>" for number in range(1000)))
    answer = mallory(method, target, "Depth: 1", "Content-Type: application/xml", body=body.encode())
    assert answer.status == 400
    assert len(answer.body) < 1000


@pytest.mark.parametrize("template", [PROPFIND, REPORT])
def test_only_so_much_can_be_asked_for(mallory: Attacker, template: str) -> None:
    """More names than any client knows are refused; as many as one could need are answered."""
    method = "PROPFIND" if template is PROPFIND else "REPORT"
    for count, status in ((200, 207), (15_000, 400)):
        props = "".join(f"<x:p{number}/>" for number in range(count))
        body = template.format(ns="http://apple.example/ns/of/usual/length", props=props).encode()
        assert mallory(method, "/dav/", "Depth: 1", body=body).status == status


def test_a_large_answer_is_made_while_it_is_sent(fort: Server) -> None:
    """Memory does not grow with it; it is complete, and the connection goes on."""
    user = User(fort, "mallory", "/crowd")
    user("MKCOL", "")
    for number in range(1_000):
        (fort.home("mallory") / "crowd" / f"f{number}").touch()
    props = "".join(f"<x:property-{number}/>" for number in range(290))
    body = PROPFIND.format(ns="urn:somewhere:that:is:longer", props=props).encode()
    assert len(user.propfind("", depth="1")) == 1_001
    before = fort.rss()
    head = f"PROPFIND /dav/crowd HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*fort.auth('mallory'))}\r\nDepth: 1\r\n"
    head += f"Content-Length: {len(body)}\r\n"
    with_close = f"{head}Connection: close\r\n\r\n".encode() + body
    stranger = Attacker(fort)
    said = stranger.say(f"{head}\r\n".encode() + body + with_close)
    assert said.count(b"HTTP/1.1 207 ") == 2
    assert said.count(b"Transfer-Encoding: chunked") == 2
    assert len(said) > 30_000_000
    assert len(re.findall(rb"<D:href>/dav/crowd/f[0-9]+</D:href>", said)) > 1_900  # chunks may cut some in two
    assert said.endswith(b"</D:multistatus>\r\n0\r\n\r\n")
    assert fort.rss() - before < 40_000_000
    assert user("DELETE", "").status_code == 204
