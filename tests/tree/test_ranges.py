"""Ranges: the right bytes, or all of them, or 416."""

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baludav.errors import RangeNotSatisfiable
from baludav.tree.http.ranges import MAX_RANGES, content_range, multipart, parse_range

DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-4", [(0, 5)]),
        ("bytes=5-", [(5, 10)]),
        ("bytes=9-9", [(9, 10)]),
        ("bytes=0-9", [(0, 10)]),
        ("bytes=0-", [(0, 10)]),
        ("bytes=0-99", [(0, 10)]),
        ("bytes=5-9999999999999999999", [(5, 10)]),
        ("bytes=-1", [(9, 10)]),
        ("bytes=-10", [(0, 10)]),
        ("bytes=-99", [(0, 10)]),
        ("BYTES=0-4", [(0, 5)]),
        ("bytes=000-004", [(0, 5)]),
        (" bytes= 0-1 ,\t5-6 ", [(0, 2), (5, 7)]),
        ("bytes=,0-1,,5-6,", [(0, 2), (5, 7)]),
        ("bytes=5-6,0-1", [(5, 7), (0, 2)]),
        ("bytes=0-1,20-30", [(0, 2)]),
        ("bytes=-0,0-1", [(0, 2)]),
        ("bytes=0-3,2-6", [(0, 7)]),
        ("bytes=0-3,4-6", [(0, 7)]),
        ("bytes=0-3,5-6", [(0, 4), (5, 7)]),
        ("bytes=8-9,4-5,0-4", [(8, 10), (0, 6)]),
        ("bytes=0-,-1", [(0, 10)]),
        ("bytes=0-9,1-2,3-4", [(0, 10)]),
    ],
)
def test_ranges(header: str, expected: list[tuple[int, int]]) -> None:
    """RFC 9110 §14.1.2, §14.2, §15.3.7.2: first to last, from, the last n; joined, in the order asked."""
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5-2",
        "bytes=0-1,5-2",
        "bytes=abc",
        "bytes=0-1,x",
        "bytes=0",
        "bytes=0-1-2",
        "bytes=--1",
        "bytes=+0-1",
        "bytes=0 - 1",
        "bytes=0x0-0x1",
        "bytes=٠-١",
        "bytes 0-1",
        "items=0-3",
        f"bytes=0-{DIGITS}",
        f"bytes={DIGITS}-",
        f"bytes=-{DIGITS}",
        "bytes=" + "0-0," * 1_000_000,
        "bytes=" + "," * 1_000_000,
        "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(MAX_RANGES + 1)),
        "bytes=0-,0-,0-,0-",
        "bytes=0-9,1-2,3-4,5-6",
    ],
    ids=range(27),
)
def test_what_is_no_reasonable_range_is_ignored(header: str | None) -> None:
    """RFC 9110 §14.2, §17.15: an invalid field, another unit and a range bomb all get the whole content."""
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=10-11", 10),
        ("bytes=-0", 10),
        ("bytes=-000", 10),
        ("bytes=10-,-0,99-100", 10),
        ("bytes=9999999999999999999-", 10),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-0", 0),
    ],
)
def test_a_range_behind_the_end_is_not_satisfiable(header: str, size: int) -> None:
    """RFC 9110 §14.4, §15.5.17: 416 says how long the content is."""
    with pytest.raises(RangeNotSatisfiable) as failure:
        parse_range(header, size)
    assert failure.value.headers == (("Content-Range", f"bytes */{size}"),)


def test_the_last_bytes_of_an_empty_file_are_the_whole() -> None:
    """RFC 9110 §14.1.2: satisfiable, but there is no range that a 206 could name."""
    assert parse_range("bytes=-5", 0) is None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(lambda pair: pair[0] <= pair[1]),
            st.tuples(st.integers(0, 60), st.none()),
            st.tuples(st.none(), st.integers(0, 60)),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(0, 50),
)
def test_exactly_the_bytes_asked_for(asked: list[tuple[int | None, int | None]], size: int) -> None:
    """RFC 9110 §14.1.2: the ranges are disjoint, not adjacent, and together the bytes asked for."""
    expected: set[int] = set()
    for first, last in asked:
        if first is None:
            assert last is not None
            expected.update(range(max(size - last, 0), size))
        else:
            expected.update(range(first, size if last is None else min(last + 1, size)))
    header = "bytes=" + ",".join(
        f"{'' if first is None else first}-{'' if last is None else last}" for first, last in asked
    )
    try:
        ranges = parse_range(header, size)
    except RangeNotSatisfiable:
        assert not expected
        return
    if ranges is None:
        return
    got = [byte for start, stop in ranges for byte in range(start, stop)]
    assert len(got) == len(set(got))
    assert set(got) == expected
    starts = {start for start, _ in ranges}
    assert not starts & {stop for _, stop in ranges}
    assert len(ranges) <= MAX_RANGES


@given(st.text(max_size=40) | st.text("bytes=-,0123456789 ", max_size=40).map("bytes={}".format), st.integers(0, 99))
def test_no_header_breaks_the_parser(header: str, size: int) -> None:
    """Whatever is sent, there are ranges within the content, none, or 416."""
    try:
        ranges = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    assert ranges is None or all(0 <= start < stop <= size for start, stop in ranges)


def test_content_range() -> None:
    """RFC 9110 §14.4: the last byte is included."""
    assert content_range(0, 5, 10) == "bytes 0-4/10"


def test_a_multipart_body() -> None:
    """RFC 9110 §14.6, RFC 2046 §5.1.1: every part has its type and range, and the length is right beforehand."""
    content = b"0123456789"
    ranges = [(0, 2), (5, 9)]
    parts = multipart(ranges, 10, "text/plain", "b0undary")
    body = b"".join(head + content[start:stop] for head, (start, stop) in zip(parts.heads, ranges, strict=True))
    body += parts.tail
    assert len(body) == parts.length
    assert body.startswith(b"--b0undary\r\n")
    message = email.message_from_bytes(
        b"Content-Type: multipart/byteranges; boundary=b0undary\r\n\r\n" + body, policy=email.policy.HTTP
    )
    assert [
        (part["Content-Range"], part["Content-Type"], part.get_payload(decode=True)) for part in message.iter_parts()
    ] == [
        ("bytes 0-1/10", "text/plain", b"01"),
        ("bytes 5-8/10", "text/plain", b"5678"),
    ]
