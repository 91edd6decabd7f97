"""Preconditions: rows of RFC 9110 §13 and RFC 4918 §10.4, and a parser that no header breaks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baludav.errors import BadRequest, Failure, PreconditionFailed
from baludav.tree.http import preconditions
from baludav.tree.http.preconditions import ABSENT, NONE, Conditions, State, parse_date

E = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
F = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
EQUAL = "Sun, 06 Nov 1994 08:49:37 GMT"
OLDER = "Sun, 06 Nov 1994 08:49:36 GMT"
NEWER = "Sun, 06 Nov 1994 08:49:38 GMT"
T = 784111777

HERE = State(True, E, T)
COLLECTION = State(True, "7-12", T, is_collection=True)
NO_ETAG = State(True)

MATCH, NONE_MATCH = "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"
SINCE, UNMODIFIED = "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE"


@pytest.mark.parametrize(
    ("headers", "state", "holds"),
    [
        ({}, HERE, True),
        ({}, ABSENT, True),
        ({MATCH: f'"{E}"'}, HERE, True),
        ({MATCH: f'"{F}"'}, HERE, False),
        ({MATCH: f'"{F}", "{E}"'}, HERE, True),
        ({MATCH: f'"{F}","{E}"'}, HERE, True),
        ({MATCH: f' , "{F}" ,,"{E}", '}, HERE, True),
        ({MATCH: "*"}, HERE, True),
        ({MATCH: " * "}, HERE, True),
        ({MATCH: "*"}, NO_ETAG, True),
        ({MATCH: "*"}, ABSENT, False),
        ({MATCH: '"*"'}, HERE, False),
        ({MATCH: f'"{E}"'}, ABSENT, False),
        ({MATCH: f'"{E}"'}, NO_ETAG, False),
        ({MATCH: ""}, HERE, False),
        ({MATCH: '""'}, HERE, False),
        ({MATCH: '"7-12"'}, COLLECTION, True),
        ({MATCH: 'W/"7-12"'}, COLLECTION, False),
        ({MATCH: '"7-12-gzip"'}, COLLECTION, False),
        ({NONE_MATCH: "*"}, HERE, False),
        ({NONE_MATCH: "*"}, ABSENT, True),
        ({NONE_MATCH: f'"{E}"'}, HERE, False),
        ({NONE_MATCH: f'W/"{E}"'}, HERE, False),
        ({NONE_MATCH: f'"{F}"'}, HERE, True),
        ({NONE_MATCH: f'"{E}"'}, ABSENT, True),
        ({NONE_MATCH: 'W/"7-12"'}, COLLECTION, False),
        ({NONE_MATCH: ""}, HERE, True),
        ({MATCH: f'"{E}"', NONE_MATCH: "*"}, HERE, False),
        ({UNMODIFIED: EQUAL}, HERE, True),
        ({UNMODIFIED: NEWER}, HERE, True),
        ({UNMODIFIED: OLDER}, HERE, False),
        ({UNMODIFIED: OLDER}, ABSENT, True),
        ({UNMODIFIED: OLDER}, NO_ETAG, True),
        ({UNMODIFIED: "yesterday"}, HERE, True),
        ({UNMODIFIED: f"{OLDER}, {OLDER}"}, HERE, True),
        ({UNMODIFIED: OLDER, MATCH: f'"{E}"'}, HERE, True),
        ({UNMODIFIED: NEWER, MATCH: f'"{F}"'}, HERE, False),
        ({UNMODIFIED: OLDER, NONE_MATCH: f'"{F}"'}, HERE, False),
        ({SINCE: NEWER}, HERE, True),
        ({SINCE: EQUAL}, HERE, True),
        ({"HTTP_IF_RANGE": f'"{F}"'}, HERE, True),
    ],
)
def test_conditions_of_a_write(headers: Mapping[str, str], state: State, holds: bool) -> None:
    """RFC 9110 §13.1.1, §13.1.2, §13.1.4, §13.2.2; If-Modified-Since is not for writes (§13.1.3)."""
    conditions = Conditions.parse(headers)
    if holds:
        conditions.check_write(state)
    else:
        with pytest.raises(PreconditionFailed):
            conditions.check_write(state)


@pytest.mark.parametrize(
    ("headers", "state", "answer"),
    [
        ({}, HERE, 200),
        ({NONE_MATCH: f'"{E}"'}, HERE, 304),
        ({NONE_MATCH: f'W/"{E}"'}, HERE, 304),
        ({NONE_MATCH: f'"{F}", "{E}"'}, HERE, 304),
        ({NONE_MATCH: "*"}, HERE, 304),
        ({NONE_MATCH: f'"{F}"'}, HERE, 200),
        ({NONE_MATCH: 'W/"7-12"'}, COLLECTION, 304),
        ({NONE_MATCH: f'"{E}"'}, NO_ETAG, 200),
        ({SINCE: OLDER}, HERE, 200),
        ({SINCE: EQUAL}, HERE, 304),
        ({SINCE: NEWER}, HERE, 304),
        ({SINCE: EQUAL}, NO_ETAG, 200),
        ({SINCE: "Sun, 06 Nov 1994 08:49:37 CET"}, HERE, 200),
        ({SINCE: f"{EQUAL}, {EQUAL}"}, HERE, 200),
        ({NONE_MATCH: f'"{E}"', SINCE: OLDER}, HERE, 304),
        ({NONE_MATCH: f'"{E}"', SINCE: NEWER}, HERE, 304),
        ({NONE_MATCH: f'"{F}"', SINCE: NEWER}, HERE, 200),
        ({MATCH: f'"{F}"', NONE_MATCH: f'"{E}"'}, HERE, 412),
        ({MATCH: f'"{E}"', NONE_MATCH: f'"{E}"'}, HERE, 304),
        ({MATCH: f'"{E}"', UNMODIFIED: OLDER}, HERE, 200),
        ({UNMODIFIED: OLDER}, HERE, 412),
        ({UNMODIFIED: OLDER, NONE_MATCH: f'"{E}"'}, HERE, 412),
        ({UNMODIFIED: EQUAL, SINCE: EQUAL}, HERE, 304),
        ({MATCH: "*"}, ABSENT, 412),
        ({NONE_MATCH: "*"}, ABSENT, 200),
    ],
)
def test_conditions_of_a_read(headers: Mapping[str, str], state: State, answer: int) -> None:
    """RFC 9110 §13.2.2, steps 1 to 4: If-None-Match decides over If-Modified-Since, equal dates give 304."""
    conditions = Conditions.parse(headers)
    if answer == 412:
        with pytest.raises(PreconditionFailed):
            conditions.check_read(state)
    else:
        assert conditions.check_read(state) is (answer == 200)


ALTERED = [
    f'W/"{E}"',
    f'"{E}-gzip"',
    f'W/"{E}-gzip"',
    f'"{E}--gzip"',
    f'"{E};gzip"',
    f'"{E};br"',
    f'"{E}-br"',
    f'"{E}-zstd"',
    f'"{E}-deflate"',
    E,
    f"W/{E}",
    f"{E}-gzip",
]


@pytest.mark.parametrize("tag", ALTERED)
def test_an_entity_tag_altered_by_a_proxy_is_still_ours(tag: str) -> None:
    """A client behind a compressing proxy can write, poll and use If; only If-Range takes no altered tag."""
    Conditions.parse({MATCH: tag}).check_write(HERE)
    Conditions.parse({MATCH: f'"{F}", {tag}'}).check_write(HERE)
    Conditions.parse({"HTTP_IF": f"([{tag}])"}).check_if(lambda _: HERE)
    assert Conditions.parse({NONE_MATCH: tag}).check_read(HERE) is False
    assert Conditions.parse({"HTTP_IF_RANGE": tag}).range_applies(HERE) is False


@pytest.mark.parametrize(
    "tag",
    [
        f'"{E[:-1]}"',
        f'"{E}0"',
        f'"{E.upper()}"',
        f'"{E}-"',
        f'"{E}-x"',
        f'"{E}---gzip"',
        f'"{E}-gzip-gzip"',
        f'"{F}-gzip"',
        f'"x{E}"',
        f"'{E}'",
    ],
)
def test_another_entity_tag_is_another(tag: str) -> None:
    """RFC 9110 §8.8.3.2: leniency stops at the known marks of proxies."""
    with pytest.raises(PreconditionFailed):
        Conditions.parse({MATCH: tag}).check_write(HERE)


MALFORMED = ['"a', 'a"', '"a" "b"', '"a"b', '"a", *', "*, *", "W/*", 'W/ "a"', 'w/"a"', "a b"]


@pytest.mark.parametrize("text", MALFORMED)
@pytest.mark.parametrize("header", [MATCH, NONE_MATCH])
def test_a_malformed_entity_tag_is_refused(header: str, text: str) -> None:
    """RFC 9110 §8.8.3: a condition that cannot be understood must not count as met, nor be left out."""
    with pytest.raises(BadRequest):
        Conditions.parse({header: text})


LOCKED = State(True, E, T, lock_tokens=frozenset({"urn:uuid:1"}))
NULL = State(True, None, lock_tokens=frozenset({"urn:uuid:0"}))


@pytest.mark.parametrize(
    ("header", "states", "holds"),
    [
        ("(<urn:uuid:1>)", {None: LOCKED}, True),
        ("(<urn:uuid:2>)", {None: LOCKED}, False),
        ("(<URN:uuid:1>)", {None: LOCKED}, False),
        ("(<urn:uuid:1>)", {None: ABSENT}, False),
        ("(<urn:uuid:0>)", {None: NULL}, True),
        ("(Not <urn:uuid:1>)", {None: LOCKED}, False),
        ("(Not <urn:uuid:2>)", {None: LOCKED}, True),
        ("(Not<urn:uuid:2>)", {None: LOCKED}, True),
        ("(NOT <urn:uuid:2>)", {None: LOCKED}, True),
        (f'(["{E}"])', {None: LOCKED}, True),
        (f'(["{F}"])', {None: LOCKED}, False),
        (f'(Not ["{F}"])', {None: LOCKED}, True),
        (f'(Not ["{E}"])', {None: LOCKED}, False),
        (f'(["{E}"])', {None: ABSENT}, False),
        (f'(Not ["{E}"])', {None: ABSENT}, True),
        ('(["x"])', {None: NO_ETAG}, False),
        ('([W/"x"])', {None: State(True, "x")}, False),
        ('([W/"x"])', {None: NO_ETAG}, False),
        ('(Not [W/"x"])', {None: NO_ETAG}, True),
        ('(["x]y)"])', {None: State(True, "x]y)")}, True),
        (f'(<urn:uuid:1> ["{E}"])', {None: LOCKED}, True),
        (f'(<urn:uuid:1> ["{F}"])', {None: LOCKED}, False),
        (f'(<urn:uuid:1>["{F}"]) (["{E}"])', {None: LOCKED}, True),
        (f'(<urn:uuid:2>)(["{E}"])', {None: LOCKED}, True),
        (f'(<urn:uuid:2>)(["{F}"])', {None: LOCKED}, False),
        ("(<DAV:no-lock>)", {None: LOCKED}, False),
        ("(Not <DAV:no-lock>)", {None: LOCKED}, True),
        ("(<DAV:no-lock>)", {None: State(True, lock_tokens=frozenset({"DAV:no-lock"}))}, False),
        ("(<urn:uuid:9>) (Not <DAV:no-lock>)", {None: ABSENT}, True),
        ("(Not <urn:uuid:1> <urn:uuid:2>)", {None: LOCKED}, False),
        ("</a> (<urn:uuid:1>)", {"/a": LOCKED}, True),
        ("</a>(<urn:uuid:2>)", {"/a": LOCKED}, False),
        ("</a> (<urn:uuid:2>) (<urn:uuid:1>)", {"/a": LOCKED}, True),
        ("<http://h/a> (<urn:uuid:1>) </b> (<urn:uuid:1>)", {"http://h/a": ABSENT, "/b": LOCKED}, True),
        ("<http://h/a> (<urn:uuid:1>) </b> (<urn:uuid:1>)", {"http://h/a": ABSENT, "/b": HERE}, False),
        ("\t( \t<urn:uuid:1>\t)\t", {None: LOCKED}, True),
    ],
)
def test_the_if_field(header: str, states: Mapping[str | None, State], holds: bool) -> None:
    """RFC 4918 §10.4.3, §10.4.4, §10.4.8: conditions of a list AND, lists OR, tags name their resource."""
    conditions = Conditions.parse({"HTTP_IF": header})
    if holds:
        conditions.check_if(states.__getitem__)
    else:
        with pytest.raises(PreconditionFailed):
            conditions.check_if(states.__getitem__)


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "()",
        "(",
        ")",
        "(<a:b>",
        "(<a:b",
        "<a:b>",
        "<a:b>)",
        "(<>)",
        "< > (<a:b>)",
        "([])",
        '(["a)',
        '(["a"',
        '(["a" "b"])',
        "(a:b)",
        "a:b",
        "(Not)",
        "(Not Not <a:b>)",
        "((<a:b>))",
        "(<a:b>),(<c:d>)",
        "(<a:b>) x",
        "(<a:b>) </r> (<c:d>)",
        "</r> </s> (<a:b>)",
        "</r>",
        "</r> (<a:b>) </s>",
        "(<a:b>) Not (<c:d>)",
    ],
)
def test_a_malformed_if_is_refused(header: str) -> None:
    """RFC 4918 §10.4.2: what is not in the grammar is a bad request, never a condition that counts as met."""
    with pytest.raises(BadRequest):
        Conditions.parse({"HTTP_IF": header})


@pytest.mark.parametrize("character", "(<[N \t\"',)]>")
def test_a_long_if_is_refused_and_the_longest_read_once(character: str) -> None:
    """8 KiB is the most: beyond it is refused unread, up to it no repeated character starts the parser over."""
    longest = character * preconditions.MAX_IF
    for text in (character * 10_000_000, longest, f"({longest[1:]}"):
        with pytest.raises(BadRequest):
            Conditions.parse({"HTTP_IF": text})


@pytest.mark.parametrize("text", [",", " ", '"a",', '"a" ', '"', "a", "W/", "*"])
def test_a_long_list_of_entity_tags_is_read_once(text: str) -> None:
    """A list of any length is read in one pass, whether it is well-formed or not."""
    try:
        conditions = Conditions.parse({MATCH: text * 333_333})
    except BadRequest:
        return
    with pytest.raises(PreconditionFailed):
        conditions.check_write(HERE)


def test_each_resource_is_looked_at_once() -> None:
    """However often a resource tag is repeated, its state is asked for once."""
    asked: list[str | None] = []

    def state_of(resource: str | None) -> State:
        asked.append(resource)
        return ABSENT

    with pytest.raises(PreconditionFailed):
        Conditions.parse({"HTTP_IF": "</a> (<x:y>) (<x:z>) </b> (<x:y>) </a> (<x:y>)"}).check_if(state_of)
    assert asked == ["/a", "/b"]


@pytest.mark.parametrize(
    ("header", "tokens"),
    [
        ("(<urn:uuid:1>)", {"urn:uuid:1"}),
        ("(<urn:uuid:1> <urn:uuid:2>) (<urn:uuid:3>)", {"urn:uuid:1", "urn:uuid:2", "urn:uuid:3"}),
        ("</a> (<urn:uuid:1>) <http://h/b> (<urn:uuid:2>)", {"urn:uuid:1", "urn:uuid:2"}),
        ("(Not <urn:uuid:1> <urn:uuid:2>)", {"urn:uuid:2"}),
        ('(["urn:uuid:1"])', set()),
    ],
)
def test_submitted_lock_tokens(header: str, tokens: set[str]) -> None:
    """RFC 4918 §10.4.1: each state token submits a lock token, wherever it stands, unless it is negated."""
    assert Conditions.parse({"HTTP_IF": header}).tokens == tokens


@pytest.mark.parametrize(
    ("value", "state", "applies"),
    [
        (None, HERE, True),
        (f'"{E}"', HERE, True),
        (f'"{F}"', HERE, False),
        (f'W/"{E}"', HERE, False),
        (f'"{E}"', NO_ETAG, False),
        ('"', HERE, False),
        ("*", HERE, False),
        ("", HERE, False),
        (EQUAL, HERE, True),
        ("Sunday, 06-Nov-94 08:49:37 GMT", HERE, True),
        (OLDER, HERE, False),
        (NEWER, HERE, False),
        (EQUAL, NO_ETAG, False),
        ("never", NO_ETAG, False),
    ],
)
def test_if_range(value: str | None, state: State, applies: bool) -> None:
    """RFC 9110 §13.1.5: only the very same strong entity-tag or exactly the same date lets a range apply."""
    headers = {} if value is None else {"HTTP_IF_RANGE": value}
    assert Conditions.parse(headers).range_applies(state) is applies


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (EQUAL, T),
        ("Sunday, 06-Nov-94 08:49:37 GMT", T),
        ("Sun Nov  6 08:49:37 1994", T),
        ("Sun Nov 16 08:49:37 1994", T + 864000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 29 Feb 2024 00:00:00 GMT", 1709164800),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
        ("Mon, 01 Jan 0001 00:00:00 GMT", -62135596800),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),
        ("Mon, 06 Nov 1994 08:49:37 GMT", T),
        ("Friday, 01-Jan-76 00:00:00 GMT", 3345062400),
        ("Saturday, 01-Jan-77 00:00:00 GMT", 220924800),
        ("Wednesday, 01-Jan-70 00:00:00 GMT", 3155760000),
        ("Wed, 29 Feb 2023 00:00:00 GMT", None),
        ("Sun, 31 Nov 1994 08:49:37 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:00:00 GMT", None),
        ("Sun, 06 Nov 1994 08:60:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 8:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("sun, 06 nov 1994 08:49:37 gmt", None),
        ("Son, 06 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT; length=1", None),
        (f"{EQUAL}\n", None),
        ("Sun, 0\u0666 Nov 1994 08:49:37 GMT", None),
        ("1994-11-06T08:49:37Z", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_http_dates(text: str, seconds: int | None) -> None:
    """RFC 9110 §5.6.7: three forms, nothing else, in any locale; two-digit years at most 50 years ahead."""
    assert parse_date(text, now=datetime(2026, 6, 1, tzinfo=UTC)) == seconds


@given(st.integers(min_value=-62135596800, max_value=253402300799))
def test_every_last_modified_is_understood(seconds: int) -> None:
    """What `Last-Modified` says comes back as the same second, so that it gives 304."""
    assert parse_date(formatdate(seconds, usegmt=True)) == seconds


def test_no_condition_is_one_constant() -> None:
    """A request without condition costs six look-ups, and everything holds."""
    assert Conditions.parse({"REQUEST_METHOD": "GET"}) is NONE
    NONE.check_write(ABSENT)
    assert NONE.check_read(HERE) is True
    assert NONE.range_applies(HERE) is True
    assert NONE.tokens == frozenset()
    NONE.check_if(lambda _: ABSENT)


@given(
    st.dictionaries(
        st.sampled_from([MATCH, NONE_MATCH, SINCE, UNMODIFIED, "HTTP_IF_RANGE", "HTTP_IF"]),
        st.text(max_size=60) | st.text('()<>[]"*, \tNotW/ab:-', max_size=60),
    ),
    st.sampled_from([HERE, ABSENT, LOCKED, NO_ETAG, COLLECTION]),
)
def test_no_header_breaks_the_parser(headers: dict[str, str], state: State) -> None:
    """Whatever is sent, the answer is yes, no, or a failure that has a status."""
    try:
        conditions = Conditions.parse(headers)
        assert conditions.range_applies(state) in (True, False)
        conditions.check_if(lambda _: state)
        conditions.check_write(state)
        conditions.check_read(state)
    except Failure as failure:
        assert failure.status in (400, 412)


TOKENS = st.from_regex(r"\Aurn:uuid:[0-9a-f]{1,4}\Z")
CONDITIONS = st.tuples(st.booleans(), st.booleans(), TOKENS)


@given(st.lists(st.lists(CONDITIONS, min_size=1, max_size=4), min_size=1, max_size=4), st.frozensets(TOKENS))
def test_if_means_what_it_says(lists: list[list[tuple[bool, bool, str]]], tokens: frozenset[str]) -> None:
    """Any If that follows the grammar gives the value of its boolean formula."""
    state = State(True, "urn:uuid:a", lock_tokens=tokens)
    header = ""
    expected = False
    for conditions in lists:
        header += "("
        holds = True
        for is_negated, is_etag, value in conditions:
            header += ("Not " if is_negated else "") + (f'["{value}"]' if is_etag else f"<{value}>")
            holds &= (value == state.etag if is_etag else value in tokens) != is_negated
        header += ") "
        expected |= holds
    parsed = Conditions.parse({"HTTP_IF": header})
    if expected:
        parsed.check_if(lambda _: state)
    else:
        with pytest.raises(PreconditionFailed):
            parsed.check_if(lambda _: state)
