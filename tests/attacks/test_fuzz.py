"""Anything at all: no failure that the house cannot name, never 500, nothing outside, and no input that takes for ever.

Paths, destinations, ranges, `If`, digests and properties are tried alone, in `tests/tree` and `tests/providers`; here
they come over the wire. `BALUDAV_FUZZ=100000 pytest tests/attacks/test_fuzz.py` tries so many of each, and others each
time; without it there are few, and always the same.
"""

import contextlib
import io
import itertools
import json
import os
import re
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baludav.accounts.authorization import credentials
from baludav.errors import Failure
from baludav.server.parser import Refused, RequestParser
from baludav.tree.http.digests import parse_digest, wanted
from baludav.tree.http.preconditions import Conditions, parse_date
from baludav.tree.http.ranges import parse_range
from baludav.tree.http.updates import parse_update
from baludav.tree.paths import parse, parse_decoded, parse_destination
from providers import bodies, tus
from providers.cloud.bulk import _Body
from tests.attacks import corpus
from tests.attacks.attacker import Attacker

MOST = int(os.environ.get("BALUDAV_FUZZ", "0"))
CHANCE = {"derandomize": not MOST, "suppress_health_check": list(HealthCheck)}
NAMED = {501, 502, 505, 507}  # statuses above 499 that say what it is


def _examples(few: int) -> Any:
    return settings(max_examples=MOST or few, **CHANCE)  # type: ignore[arg-type]


@st.composite
def _streams(draw: st.DrawFn) -> bytes:
    """One to three messages, with some bytes gone, some doubled, and pieces of others between them."""
    data = b"".join(draw(st.lists(st.sampled_from(corpus.MESSAGES), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.sampled_from([start, start, start + 1, start + 7]))
        piece = draw(st.sampled_from(corpus.PIECES) | st.binary(max_size=4))
        data = data[:start] + piece + data[stop:]
    return data


def _read(data: bytes, splits: list[int]) -> tuple[list[tuple[Any, ...]], int | None]:
    """The requests in a stream that comes in pieces, and the status with which the rest is refused."""
    parser, status = RequestParser(), None
    edges = [0, *sorted(min(split, len(data)) for split in splits), len(data)]
    try:
        for start, stop in itertools.pairwise(edges):
            parser.feed(data[start:stop])
    except Refused as refused:
        status = refused.status
    found = [
        (
            one.method,
            one.target,
            one.version,
            one.fields,
            one.length,
            b"".join(one.chunks),
            one.is_complete,
            one.keep_alive,
        )
        for one in parser.requests
    ]
    return found, status


@_examples(150)
@given(_streams(), st.lists(st.integers(0, 300), max_size=5))
def test_where_packets_end_says_nothing(data: bytes, splits: list[int]) -> None:
    """The same requests, and the same refusal,
    however the stream is cut: else two readers could read it differently."""
    whole, cut = _read(data, []), _read(data, splits)
    assert cut[1] == whole[1]
    if whole[1] is None:
        assert cut[0] == whole[0]
    else:  # of a request that is refused in its body, more or less of it may have come
        complete = [one for one in whole[0] if one[6]]
        assert [one for one in cut[0] if one[6]][: len(complete)] == complete
    for _, _, _, fields, length, body, is_complete, _ in whole[0]:
        assert not {b"content-length", b"transfer-encoding"} <= set(fields)
        assert not any(re.search(rb"[\0-\x08\x0a-\x1f\x7f]", value) for value in fields.values())
        if length is not None:
            assert len(body) <= length
            assert (len(body) == length) == is_complete


@_examples(150)
@given(_streams())
def test_any_stream_at_a_server(mallory_at_work: Attacker, data: bytes) -> None:
    """Answers are whole and say what is wrong, no more of them than there are requests, and it goes on serving."""
    said = mallory_at_work.say(data, end=True)
    statuses = [int(status) for status in re.findall(rb"(?:^|(?<=\n))HTTP/1\.1 ([0-9]{3}) ", said)]
    assert all(status < 500 or status in NAMED for status in statuses), said
    assert said.startswith(b"HTTP/1.1 ") or not said
    assert len([status for status in statuses if status >= 200]) <= data.count(b"HTTP/") + 1


@_examples(600)
@given(
    st.sampled_from(corpus.DOORS),
    st.lists(
        st.tuples(
            st.sampled_from(corpus.FIELDS),
            st.sampled_from(corpus.VALUES)
            | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
        ),
        min_size=1, max_size=3, unique_by=lambda pair: pair[0],
    ),
)  # fmt: skip
def test_any_field_at_any_door(
    mallory_at_work: Attacker, door: tuple[str, str, bytes], fields: list[tuple[str, str]]
) -> None:
    method, target, body = door
    given = [f"{name}: {value}" for name, value in fields]
    if target.startswith("/uploads"):
        given.append("Tus-Resumable: 1.0.0")
    answer = mallory_at_work(method, target, *given, body=body)
    assert answer.status < 500 or answer.status in NAMED, answer


@_examples(150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"/bulk-1", b"/bulk-2", b"/d/x", b"/../x", b"", b"\xff", b"/a/", b"/" + b"n" * 300]),
            st.binary(max_size=20) | st.sampled_from([b"\r\n--x--\r\n", b"--x", b"\r\n\r\n"]),
            st.integers(-2, 2) | st.none(),
            st.sampled_from([b"", b"X-File-MD5: x\r\n", b"If-Match: (\r\n", b"X-File-Mtime: 1e99\r\n", b"broken\r\n"]),
        ),
        max_size=4,
    ),
    st.sampled_from([b"--x--\r\n", b"--x--", b"", b"--x", b"\r\n"]),
)
def test_any_bulk_body(
    mallory_at_work: Attacker, parts: list[tuple[bytes, bytes, int | None, bytes]], tail: bytes
) -> None:
    """Each file that is said to be stored is there, byte for byte, whatever stands around it."""
    data = b""
    for path, body, off, more in parts:
        length = b"" if off is None else b"Content-Length: %d\r\n" % (len(body) + off)
        data += b"--x\r\nX-File-Path: %b\r\n%b%b\r\n%b\r\n" % (path, length, more, body)
    answer = mallory_at_work(
        "POST", "/remote.php/dav/bulk", "Content-Type: multipart/related; boundary=x", body=data + tail
    )
    assert answer.status in (200, 400), answer
    stored = json.loads(answer.body) if answer.status == 200 else {}
    assert set(stored) <= {path.decode("utf-8", "surrogateescape") for path, *_ in parts}
    for path, said in stored.items():
        if not said["error"]:
            bodies_ = [
                body for one, body, off, _ in parts if one.decode("utf-8", "surrogateescape") == path and off == 0
            ]
            assert mallory_at_work("GET", f"/dav{path}").body in bodies_


@pytest.fixture(scope="session")
def mallory_at_work(fort: Any) -> Attacker:
    """Not made anew for each example."""
    attacker = Attacker(fort, "mallory")
    attacker("PUT", "/dav/f", body=b"bytes")
    return attacker


LONG = 60_000  # bytes; about what a head may have
PATTERNS = [
    "(", "(<", "([", "<", "<a>", '"', '"a",', "W/", "a,", ", ", "Not ", " ", "\t", "/", "/.", "/a", "%", "%41",
    "..", "=", ";a",
    ":", "::", "[", "bytes=", "0-", "0-0,", "-", "9", "a=:", 'a="\\', "sha-256=:A", "path ", "A", "\xe9",
    "\u0301", "\x00",
]  # fmt: skip


def test_no_input_takes_for_ever() -> None:
    """Long repetitions of every kind: what is linear in them takes a second for all,
    what is quadratic many minutes."""
    destination = {"scheme": "http", "host": "x", "mount": "/dav"}
    readers = [
        parse, parse_decoded, lambda text: parse_destination(text, **destination),
        lambda text: parse_range(text, 1000),
        lambda text: Conditions.parse({"HTTP_IF": text}), lambda text: Conditions.parse({"HTTP_IF_MATCH": text}),
        lambda text: Conditions.parse({"HTTP_IF_NONE_MATCH": text}), parse_date, parse_digest, wanted, parse_update,
        lambda text: credentials(f"Basic {text}"), tus._metadata,
        lambda text: bodies.parse_body(text.encode()), lambda text: bodies.parse_body(b"<a>" + text.encode()),
    ]  # fmt: skip
    begun = time.monotonic()
    for pattern, prefix in itertools.product(PATTERNS, ("", "/", "(", "bytes=", '"', "<a", "http://x/")):
        text = prefix + pattern * (LONG // len(pattern))
        for read in readers:
            with contextlib.suppress(Failure):
                read(text)
    assert time.monotonic() - begun < 60


def test_a_long_part_takes_no_longer_in_small_pieces() -> None:
    """Lines of a bulk body are found without looking at each byte again for each piece that comes."""

    class Drip(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(1)

    begun = time.monotonic()
    with pytest.raises(Failure):
        _Body(Drip(b"a" * 100_000)).line()
    assert time.monotonic() - begun < 30
