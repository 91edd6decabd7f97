"""The sign-in middleware: who is let through to the DAV engine, and as whom."""

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from baludav.accounts.accounts import Principal
from baludav.errors import NotSignedIn, TooManyRequests
from providers.signin import SignIn

BOB = Principal(1, "bob", False, frozenset(), None, 1)


class Door:
    """Stands in for the sign-in of the accounts."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str, str]] = []
        self.failure: Exception | None = None

    def check(self, name: str | None, password: str, address: str) -> Principal:
        self.asked.append((name, password, address))
        if self.failure is not None:
            raise self.failure
        return BOB


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def call(door: Door) -> Any:
    body = [b"answer"]
    seen: dict[str, Any] = {}

    def following(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        return body

    settings = SimpleNamespace(trusted_proxies=("10.0.0.1",))
    house = SimpleNamespace(sign_in=door, rates=None, config=SimpleNamespace(settings=settings))
    middleware = SignIn(None, following, {"baludav.house": house})

    def call(method: str = "GET", path: str = "/dav/", **environ: str) -> dict[str, Any]:
        seen.clear()
        given = {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": "192.0.2.1", **environ}
        assert middleware(given, None) is body  # never wrapped: the server looks at the object
        return dict(seen)

    return call


def basic(text: str, encoding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(text.encode(encoding)).decode()


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ", "Basic !!!", "Basic Ym9i", "Bearer", "Bearer é", "Basic Ym9iOnNlY3JldA", "Digest x=bob",
     "Basic é", basic(":secret"), basic("bob\0:secret"), basic("bob:sec\nret"), "Basic\tYm9iOnNlY3JldA=="],
)  # fmt: skip
def test_malformed_credentials_are_none(call: Any, door: Door, header: str) -> None:
    """They get the same challenge as no credentials at all, never a server error."""
    with pytest.raises(NotSignedIn) as error:
        call(HTTP_AUTHORIZATION=header)
    assert error.value.headers == (("WWW-Authenticate", 'Basic realm="baludav", charset="UTF-8"'),)
    assert door.asked == []


def test_the_principal_travels_with_the_request(call: Any, door: Door) -> None:
    seen = call(HTTP_AUTHORIZATION=basic("bob:secret"))
    assert seen["baludav.principal"] is BOB
    assert seen["wsgidav.auth.user_name"] == "bob"
    assert door.asked == [("bob", "secret", "192.0.2.1")]


def test_a_token_travels_without_a_name(call: Any, door: Door) -> None:
    """A device may sign in to the DAV tree as it does to the REST API (RFC 6750 §2.1)."""
    assert call(HTTP_AUTHORIZATION="bearer abc ")["wsgidav.auth.user_name"] == "bob"
    assert door.asked == [(None, "abc", "192.0.2.1")]


@pytest.mark.parametrize(("method", "path"), [("OPTIONS", "/dav/"), ("OPTIONS", "/"), ("GET", "/")])
def test_what_needs_no_sign_in(call: Any, door: Door, method: str, path: str) -> None:
    for header in ("", basic("bob:wrong")):
        assert call(method, path, HTTP_AUTHORIZATION=header)["baludav.principal"] is None
    assert door.asked == []


def test_the_top_needs_it_for_what_is_not_just_a_page(call: Any) -> None:
    with pytest.raises(NotSignedIn):
        call("PROPFIND", "/")


@pytest.mark.parametrize("path", ["/healthz/", "/healthz/x", "/dav/healthz", "//healthz", ""])
def test_everything_else_needs_it(call: Any, path: str) -> None:
    with pytest.raises(NotSignedIn):
        call(path=path)


def test_failures_pass(call: Any, door: Door) -> None:
    door.failure = NotSignedIn()
    with pytest.raises(NotSignedIn) as refused:
        call(HTTP_AUTHORIZATION=basic("bob:wrong"))
    assert refused.value.headers[0][0] == "WWW-Authenticate"
    door.failure = TooManyRequests(4)
    with pytest.raises(TooManyRequests):
        call(HTTP_AUTHORIZATION=basic("bob:wrong"))


def test_failures_are_counted_for_the_client_and_not_the_proxy(call: Any, door: Door) -> None:
    call(HTTP_AUTHORIZATION=basic("bob:x"), REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="198.51.100.7")
    call(HTTP_AUTHORIZATION=basic("bob:x"), REMOTE_ADDR="192.0.2.9", HTTP_X_FORWARDED_FOR="198.51.100.7")
    assert [address for _, _, address in door.asked] == ["198.51.100.7", "192.0.2.9"]


def test_a_user_header_is_not_believed(call: Any) -> None:
    with pytest.raises(NotSignedIn):
        call(HTTP_REMOTE_USER="bob", REMOTE_USER="bob", HTTP_X_FORWARDED_USER="bob")
