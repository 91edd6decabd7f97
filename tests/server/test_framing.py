"""What is a request and what is not: anything doubtful is refused, and nothing behind it is answered."""

import json

import pytest

from tests.server.conftest import Running, receive_all

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def _put(*fields: bytes) -> bytes:
    return b"\r\n".join((b"PUT /a HTTP/1.1", b"Host: x", *fields, b"", b""))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (_put(b"Content-Length: 3", b"Content-Length: 3") + b"abc", 400),
        (_put(b"Content-Length: 3", b"Content-Length: 5") + b"abc", 400),
        (_put(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (_put(b"Transfer-Encoding: chunked", b"Content-Length: 3") + b"0\r\n\r\n", 400),
        (_put(b"Content-Length : 3") + b"abc", 400),
        (_put(b"Content-Length: +3") + b"abc", 400),
        (_put(b"Content-Length: -1"), 400),
        (_put(b"Content-Length: 0x3") + b"abc", 400),
        (_put(b"Content-Length: " + b"9" * 5000), 400),
        (_put(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 501),
        (_put(b"Transfer-Encoding: identity"), 501),
        (_put(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (_put(b"X: a\r\n folded"), 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (_put(b"X: a\x00b"), 400),
        (_put(b"X: a\x01b"), 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"FROBNICATE / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (_put(*(b"X-%d: %s" % (n, b"a" * 1000) for n in range(100))), 431),
        (_put(*(b"X-%d: a" % n for n in range(300))), 431),
        (_put(b"Expect: miracles"), 417),
        (_put(b"Authorization: Basic YQ==", b"Authorization: Basic Yg=="), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 501),
    ],
)
def test_doubtful_requests_are_refused(plain: Running, data: bytes, status: int) -> None:
    """One answer, then the connection is closed: what follows is never taken for a request."""
    answer = plain.say(data + SMUGGLED, end=True)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"smuggled" not in answer


@pytest.mark.parametrize("size", [b"-1", b"+1", b"0x1", b"1 1", b"g", b"", b"fffffffffffffffff"])
def test_malformed_chunks_end_the_request(plain: Running, size: bytes) -> None:
    """A chunk size that is none is an error of the body, and ends the connection."""
    answer = plain.say(_put(b"Transfer-Encoding: chunked") + size + b"\r\na\r\n0\r\n\r\n" + SMUGGLED, end=True)
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:100]
    assert b"smuggled" not in answer


def test_pipelined_requests_are_answered_in_order(plain: Running) -> None:
    """Three requests in one packet, one with a body, get three answers."""
    data = _put(b"Content-Length: 3") + b"abc" + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    data += b"GET /c HTTP/1.1\r\nHost: x\r\nConnection: CLOSE\r\n\r\n"
    found = [json.loads(part[part.index(b"{") :]) for part in plain.say(data).split(b"HTTP/1.1 200 ")[1:]]
    assert [(one["path"], one["length"]) for one in found] == [("/a", 3), ("/b", 0), ("/c", 0)]


def test_a_head_may_come_byte_by_byte(plain: Running) -> None:
    """Where the packets end does not matter."""
    with plain.connect() as connection:
        for byte in b"GET /slow%20path?q HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert b'"path": "/slow path"' in receive_all(connection)


@pytest.mark.parametrize("fields", [b"", b"Content-Length: 3"])
def test_an_offered_upgrade_is_ignored(plain: Running, fields: bytes) -> None:
    """A client that offers HTTP/2 gets HTTP/1.1, and the body it sends is its body."""
    upgrade = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA"
    data = _put(*filter(None, [upgrade, fields])) + (b"abc" if fields else b"")
    answer = plain.say(data + b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b'"length": %d' % (3 if fields else 0) in answer


def test_http_1_0_keeps_alive_when_asked(plain: Running) -> None:
    """An old client keeps its connection if it asks to, in any case of the word, and is told so."""
    answer = plain.say(b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b"Connection: keep-alive" in answer


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked"])
def test_chunks_with_extensions_and_trailers(plain: Running, coding: bytes) -> None:
    """Extensions and trailers are read and dropped; the next request is where it should be."""
    body = b"3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: yes\r\n\r\n"
    answer = plain.say(
        _put(b"Transfer-Encoding: " + coding) + body + b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert b'"length": 5' in answer
    assert b'"path": "/b"' in answer


@pytest.mark.parametrize("field", [b"X-Forwarded-For: 1.2.3.4", b"X-Mark: late", b"Host: late"])
@pytest.mark.parametrize("split", [False, True])
def test_a_trailer_is_no_header_field(plain: Running, field: bytes, split: bool) -> None:
    """A proxy that sets or removes a field looks at the head only, so nobody may say it behind the body."""
    head = _put(b"Transfer-Encoding: chunked", b"X-Mark: early", b"Connection: close")
    with plain.connect() as connection:
        connection.sendall(head + (b"" if split else b"3\r\nabc\r\n0\r\n" + field + b"\r\n\r\n"))
        if split:
            connection.sendall(b"3\r\nabc\r\n0\r\n" + field + b"\r\n\r\n")
        answer = receive_all(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"1.2.3.4" not in answer
    assert b"late" not in answer
    assert b'"mark": "early"' in answer


def test_too_many_trailers_are_refused(plain: Running) -> None:
    """They end the request as malformed chunks do; what they say is nowhere kept."""
    trailers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(100))
    answer = plain.say(_put(b"Transfer-Encoding: chunked") + b"0\r\n" + trailers + b"\r\n" + SMUGGLED, end=True)
    assert answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert b"smuggled" not in answer


def test_targets_of_other_forms(plain: Running) -> None:
    """`OPTIONS *` and whole URIs are requests."""
    assert b'"path": "*"' in plain.ask("OPTIONS * HTTP/1.1")[1]
    assert b'"path": "/a b"' in plain.ask("GET http://elsewhere:80/a%20b HTTP/1.1")[1]


def test_fields_with_underscores_are_dropped(plain: Running) -> None:
    """X_Forwarded_For must not pass for X-Forwarded-For."""
    assert b'"forwarded": null' in plain.ask("GET / HTTP/1.1\r\nX_Forwarded_For: 1.2.3.4")[1]
