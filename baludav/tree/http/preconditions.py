"""Preconditions: every field by which a client says "only if" (RFC 9110 §13, RFC 4918 §10.4).

Parsing needs only the request; whether a condition holds is asked of a `State`, as often as needed: before a
write begins and again under the guard of the path, with the state found there. What §13.2.1 demands is the
caller's: ask only when the request would succeed without the condition.

Entity-tags are bare inside and quoted on the wire.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, NamedTuple

from baludav.errors import AlreadyThere, BadRequest, EtagMismatch, PreconditionFailed

MAX_IF = 8192  # characters

NO_LOCK = "DAV:no-lock"
"""The state token that no resource has (RFC 4918 §10.4.8)."""


@dataclass(frozen=True, slots=True)
class State:
    """What the conditions are compared with.

    Attributes:
        exists: a locked but empty resource exists.
        etag: bare and strong; None if the resource has none.
        modified: seconds since 1970, what `Last-Modified` says; None if unknown.
        lock_tokens: of all locks that cover the resource.
    """

    exists: bool
    etag: str | None = None
    modified: int | None = None
    is_collection: bool = False
    lock_tokens: frozenset[str] = frozenset()


ABSENT = State(exists=False)

_Tags = frozenset[str] | Literal["*"]


class _Condition(NamedTuple):
    """One condition of an `If` list; a resource without entity-tag (ABSENT) fulfils no `is_etag`."""

    is_negated: bool
    is_etag: bool
    value: str | None  # None is an entity-tag that nothing can match: a weak one


class _List(NamedTuple):
    resource: str | None  # the resource tag as written; None for the resource of the request
    conditions: tuple[_Condition, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one request."""

    if_match: _Tags | None = None
    if_none_match: _Tags | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None
    if_range: str | None = None
    lists: tuple[_List, ...] = ()

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> "Conditions":
        """The conditions in a WSGI environ; `NONE` when there are none.

        Dates that are no HTTP-date are ignored (RFC 9110 §13.1.3, §13.1.4).

        Raises:
            BadRequest: a malformed entity-tag or `If`: what the client wants to prevent is unknown (400).
        """
        match = headers.get("HTTP_IF_MATCH")
        none_match = headers.get("HTTP_IF_NONE_MATCH")
        modified = headers.get("HTTP_IF_MODIFIED_SINCE")
        unmodified = headers.get("HTTP_IF_UNMODIFIED_SINCE")
        in_range = headers.get("HTTP_IF_RANGE")
        lists = headers.get("HTTP_IF")
        if match is none_match is modified is unmodified is in_range is lists is None:
            return NONE
        return cls(
            None if match is None else _tags(match, strong=True),
            None if none_match is None else _tags(none_match, strong=False),
            None if modified is None else parse_date(modified),
            None if unmodified is None else parse_date(unmodified),
            in_range,
            () if lists is None else _IfParser(lists).lists(),
        )

    @property
    def is_empty(self) -> bool:
        """True if there is no condition at all."""
        return self == NONE

    @property
    def tokens(self) -> frozenset[str]:
        """The lock tokens submitted: all state tokens of `If`, wherever they stand, that are not negated."""
        return frozenset(
            condition.value
            for one in self.lists
            for condition in one.conditions
            if condition.value is not None and not condition.is_etag and not condition.is_negated
        )

    def check_write(self, state: State) -> None:
        """Conditions of a method that changes the resource, in the order of RFC 9110 §13.2.2.

        `If-Modified-Since` is not for these methods (§13.1.3) and ignored.

        Raises:
            PreconditionFailed: one does not hold (412).
        """
        self._check_unchanged(state)
        if self.if_none_match is not None and _includes(self.if_none_match, state):
            raise AlreadyThere()

    def check_read(self, state: State) -> bool:
        """Conditions of GET and HEAD, in the order of RFC 9110 §13.2.2.

        Returns:
            True: send it; False: 304 Not Modified.
        Raises:
            PreconditionFailed: If-Match or If-Unmodified-Since does not hold (412).
        """
        self._check_unchanged(state)
        if self.if_none_match is not None:
            return not _includes(self.if_none_match, state)
        if self.if_modified_since is not None and state.modified is not None:
            return state.modified > self.if_modified_since
        return True

    def check_if(self, state_of: Callable[[str | None], State]) -> None:
        """The `If` field (RFC 4918 §10.4): at least one of its lists must hold, each with all its conditions.

        Args:
            state_of: gives the state for a resource tag, as written, an absolute URI or a path; None is the
                resource of the request. ABSENT is the answer for what is not on this server. Asked at most
                once for each tag.
        Raises:
            PreconditionFailed: no list holds (412).
        """
        if not self.lists:
            return
        states: dict[str | None, State] = {}
        for resource, conditions in self.lists:
            if resource not in states:
                states[resource] = state_of(resource)
            if all(_holds(condition, states[resource]) for condition in conditions):
                return
        raise PreconditionFailed("No list of the If header holds")

    def range_applies(self, state: State) -> bool:
        """Whether `Range` is to be honoured: no `If-Range`, or it names this very content (RFC 9110 §13.1.5).

        Here an entity-tag that a proxy has altered is another one: what the client holds a part of may be the
        compressed bytes, and ours must not be appended to them.
        """
        if self.if_range is None:
            return True
        if self.if_range.startswith('"'):
            return state.etag is not None and self.if_range == f'"{state.etag}"'
        return state.modified is not None and state.modified == parse_date(self.if_range)

    def _check_unchanged(self, state: State) -> None:
        """Steps 1 and 2 of RFC 9110 §13.2.2; a resource without modification date passes step 2 (§13.1.4)."""
        if self.if_match is not None:
            if not _includes(self.if_match, state):
                raise EtagMismatch()
        elif (
            self.if_unmodified_since is not None
            and state.modified is not None
            and state.modified > self.if_unmodified_since
        ):
            raise PreconditionFailed("The resource was modified since")


NONE = Conditions()
"""No condition at all."""


def parse_date(text: str, *, now: datetime | None = None) -> int | None:
    """Seconds since 1970 of an HTTP-date in any of its three forms (RFC 9110 §5.6.7); None if it is none.

    The name of the day must be one, but need not be the right one: an ignored If-Unmodified-Since would let
    a write through.

    Args:
        now: decides the century of a two-digit year, which lies at most 50 years ahead.
    """
    found = _IMF_DATE.fullmatch(text) or _RFC850_DATE.fullmatch(text) or _ASCTIME_DATE.fullmatch(text)
    if found is None:
        return None
    part = found.groupdict()
    year = int(part["year"])
    if len(part["year"]) == 2:
        this_year = (now or datetime.now(UTC)).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    try:
        days = date(year, _MONTHS.index(part["month"]) + 1, int(part["day"])).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    return ((days * 24 + int(part["hour"])) * 60 + int(part["minute"])) * 60 + int(part["second"])


_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_DAY_NAME = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY_NAME = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_TIME = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_IMF_DATE = re.compile(f"{_DAY_NAME}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT")
_RFC850_DATE = re.compile(f"{_LONG_DAY_NAME}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT")
_ASCTIME_DATE = re.compile(f"{_DAY_NAME} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})")

# One member of a list of entity-tags (RFC 9110 §8.8.3, §5.6.1), quoted or, from old clients, not. Possessive:
# each character is looked at once.
_TAG = re.compile(r"(W/)?+(?:\"([^\"]*+)\"|([^\s\",]++))")
_BETWEEN_TAGS = re.compile(r"[ \t]*+(?:,[ \t,]*+|\Z)")
_BEFORE_TAGS = re.compile(r"[ \t,]*+")

# Proxies that compress alter the entity-tags they pass on: nginx makes them weak, Apache appends `-gzip`,
# Jetty `--gzip`, others `;br`; the client then sends back a tag that we never gave, and its writes would fail
# for ever. Our tags for files are the SHA-256 of the bytes: what follows 64 hexadecimal digits says nothing
# about the content, and a weak one stands for the very same bytes as the strong one.
_ALTERED_TAG = re.compile(r"([0-9a-f]{64})(?:(?:--?|;)(?:gzip|br|zstd|deflate))?")


def _tag(is_weak: bool, value: str, *, strong: bool) -> str | None:
    """The bare entity-tag to compare with; None for a weak one where `strong` comparison is asked."""
    if altered := _ALTERED_TAG.fullmatch(value):
        return altered[1]
    return None if is_weak and strong else value


def _tags(text: str, *, strong: bool) -> _Tags:
    if text.strip(" \t") == "*":
        return "*"
    tags = set()
    position = _end(_BEFORE_TAGS, text, 0)
    while position < len(text):
        found = _TAG.match(text, position)
        after = found and _BETWEEN_TAGS.match(text, found.end())
        if found is None or after is None or found[3] == "*":
            raise BadRequest("Malformed entity-tag in If-Match or If-None-Match")
        tags.add(_tag(found[1] is not None, found[3] if found[2] is None else found[2], strong=strong))
        position = after.end()
    return frozenset(tag for tag in tags if tag is not None)


def _includes(tags: _Tags, state: State) -> bool:
    if tags == "*":
        return state.exists
    return state.exists and state.etag in tags


def _holds(condition: _Condition, state: State) -> bool:
    if condition.is_etag:
        holds = state.exists and state.etag is not None and condition.value == state.etag
    else:
        holds = condition.value != NO_LOCK and condition.value in state.lock_tokens
    return holds != condition.is_negated


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return position if found is None else found.end()


class _IfParser:
    """The grammar of RFC 4918 §10.4.2, each character read once.

    If = 1*List | 1*( "<" Simple-ref ">" 1*List )
    List = "(" 1*( ["Not"] ( "<" absolute-URI ">" | "[" entity-tag "]" ) ) ")"
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_IF:
            raise BadRequest("The If header is too long")
        self._text = text
        self._position = 0

    def lists(self) -> tuple[_List, ...]:
        lists: list[_List] = []
        resource: str | None = None
        while True:
            if self._next() == "<":
                if lists and resource is None:
                    raise BadRequest("The If header mixes lists with and without a resource tag")
                resource = self._until(">")
                if self._next() != "(":
                    raise self._malformed()
            if self._next() == "(":
                self._position += 1
                lists.append(_List(resource, self._conditions()))
            elif self._next() == "" and lists:
                return tuple(lists)
            else:
                raise self._malformed()

    def _conditions(self) -> tuple[_Condition, ...]:
        conditions = []
        while self._next() != ")":
            conditions.append(self._condition())
        if not conditions:
            raise self._malformed()
        self._position += 1
        return tuple(conditions)

    def _condition(self) -> _Condition:
        is_negated = self._text[self._position : self._position + 3].lower() == "not"
        if is_negated:
            self._position += 3
        match self._next():
            case "<":
                return _Condition(is_negated, False, self._until(">"))
            case "[":
                return _Condition(is_negated, True, self._entity_tag())
            case _:
                raise self._malformed()

    def _entity_tag(self) -> str | None:
        self._position += 1
        self._next()
        found = _IF_TAG.match(self._text, self._position)
        if found is None:
            raise self._malformed()
        self._position = found.end()
        if self._next() != "]":
            raise self._malformed()
        self._position += 1
        return _tag(found[1] is not None, found[3] if found[2] is None else found[2], strong=True)

    def _next(self) -> str:
        """The next character that is no white space, not yet consumed; empty at the end."""
        self._position = _end(_SPACE, self._text, self._position)
        return self._text[self._position : self._position + 1]

    def _until(self, closing: str) -> str:
        """What stands between the bracket here and the closing one."""
        end = self._text.find(closing, self._position)
        value = self._text[self._position + 1 : end].strip(" \t")
        if end < 0 or not value:
            raise self._malformed()
        self._position = end + 1
        return value

    @staticmethod
    def _malformed() -> BadRequest:
        return BadRequest("Malformed If header")


_SPACE = re.compile(r"[ \t]*+")
_IF_TAG = re.compile(r"(W/)?+(?:\"([^\"]*+)\"|([^\s\"\]]++))")
