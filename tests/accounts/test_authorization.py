"""Credentials in an `Authorization` field."""

import base64

import pytest

from baludav.accounts.authorization import credentials


def basic(text: str, encoding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(text.encode(encoding)).decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (basic("bob:secret"), ("bob", "secret")),
        (basic("bob:a:b:"), ("bob", "a:b:")),
        (basic("bob:"), ("bob", "")),
        (basic("rémi:mot de passe é"), ("rémi", "mot de passe é")),
        (basic("rémi:é", "latin-1"), ("rémi", "é")),
        (basic("bob:secret").replace("Basic", "bAsIc"), ("bob", "secret")),
        (basic("bob:secret").replace("Basic", "Basic  "), ("bob", "secret")),
        ("Bearer abc-def", (None, "abc-def")),
        ("bearer  abc ", (None, "abc")),
    ],
)
def test_credentials(header: str, expected: tuple[str | None, str]) -> None:
    assert credentials(header) == expected


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ", "Basic !!!", "Basic Ym9i", "Bearer", "Bearer ", "Bearer é", "Basic Ym9iOnNlY3JldA",
     "Digest username=bob", "Basic é", basic(":secret"), basic("bob\0:secret"), basic("bob:sec\nret"),
     "Basic\tYm9iOnNlY3JldA=="],
)  # fmt: skip
def test_malformed_credentials_are_none(header: str) -> None:
    assert credentials(header) is None
