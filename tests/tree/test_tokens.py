"""Change tokens are read as they were written, and nothing else is one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baludav.errors import TokenExpired
from baludav.tree.tokens import Token

NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1)
NUMBERS = st.integers(0, 10**17)


@given(NUMBERS, st.none() | st.tuples(NUMBERS, st.lists(NAMES).map(tuple)))
def test_what_is_written_can_be_read(number: int, after: tuple[int, tuple[str, ...]] | None) -> None:
    """Whatever a name holds; the text needs no encoding in a URI (RFC 3986 §2.3)."""
    token = Token("e", "s", number, after)
    assert Token.parse(str(token)) == token
    assert re.fullmatch(r"[A-Za-z0-9._-]+", str(token))


@given(st.text())
def test_any_other_text_has_expired(text: str) -> None:
    try:
        token = Token.parse(text)
    except TokenExpired:
        return
    assert len(text.split(".")) in (3, 5)
    assert Token.parse(str(token)) == token


@pytest.mark.parametrize(
    "text",
    ["", "e", "e.s", "e.s.-1", "e.s.\u0661", "e.s.1.0", "e.s.1.0.0", "e.s.1.x.", "e.s.1.0._-", "e.s.1.0.YQ.1"],
)
def test_no_tokens(text: str) -> None:
    with pytest.raises(TokenExpired):
        Token.parse(text)
