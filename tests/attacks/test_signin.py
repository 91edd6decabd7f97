"""Every door asks who is there, whatever a request says of itself."""

import pytest

from tests.attacks import corpus
from tests.attacks.attacker import Attacker

# What anybody is answered: that there is a server, what it can do, and the page to sign in at.
OPEN = {
    ("GET", "/"), ("OPTIONS", "*"), ("GET", "/status.php"), ("GET", "/metrics"), ("POST", "/index.php/login/v2"),
    ("GET", "/index.php/login/flow"), ("POST", "/index.php/login/flow"),
}  # fmt: skip
CLAIMS = [
    "Remote-User: admin", "X-Remote-User: admin", "X-Forwarded-User: admin", "X-WebAuth-User: admin",
    "X-HTTP-Method-Override: OPTIONS", "X-Original-URL: /status.php", "X-Rewrite-URL: /status.php", "Host: localhost",
    "Auth-User: admin", "X-Forwarded-For: ::1",
    "Cookie: baludav-login=x; oc_sessionPassphrase=x; nc_username=admin; nc_token=x",
    "Access-Control-Request-Method: GET", "Sec-Fetch-Site: same-origin", "OCS-APIRequest: true",
]  # fmt: skip
AUTHORIZATIONS = [
    (), ("Authorization: Basic",), ("Authorization: Bearer null",), ("Authorization: Digest username=admin",),
]  # fmt: skip
CLOSED = [door for door in corpus.DOORS if door[:2] not in OPEN]


@pytest.mark.parametrize(("method", "target", "body"), CLOSED, ids=[f"{m} {t.replace('/', '|')}" for m, t, _ in CLOSED])
def test_no_door_is_open(stranger: Attacker, mallory: Attacker, method: str, target: str, body: bytes) -> None:
    """401 for who does not say who they are, and a challenge; nothing that is said instead opens it."""
    mallory("PUT", "/dav/f", body=b"bytes")
    for authorization in AUTHORIZATIONS:
        answer = stranger(method, target, *authorization, *CLAIMS, "Tus-Resumable: 1.0.0", body=body)
        assert answer.status == 401, (authorization, answer)
        assert any(field.lower().startswith("www-authenticate: basic") for field in answer.fields)
        assert b"bytes" not in answer.body


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("OPTIONS", "/uploads/x", ("X-HTTP-Method-Override: DELETE", "Tus-Resumable: 1.0.0")),
        ("OPTIONS", "/uploads/x", ("X-HTTP-Method-Override: PATCH", "Tus-Resumable: 1.0.0")),
        ("GET", "http://mallory:the-password-of-mallory@x/dav/f", ()),
        ("GET", "/dav/f?user=mallory&password=the-password-of-mallory", ()),
        ("GET", "/index.php/login/%2e%2e/%2e%2e/dav/f", ()),
        ("GET", "/index.php/login/flow/../../../dav/f", ()),
        ("GET", "/status.php/../dav/f", ()),
        ("GET", "/status.php%2f..%2fdav%2ff", ()),
        ("GET", "/./dav/f", ()),
        ("GET", "//dav//f", ()),
        ("GET", "/%64av/f", ()),
        ("GET", "x://y/status.php?/dav/f", ()),
        ("GET", "x://y?/status.php/dav/f", ()),
        ("GET", "http://x/dav/f", ("Host: y",)),
    ],
)
def test_no_way_round(stranger: Attacker, mallory: Attacker, method: str, target: str, fields: tuple[str, ...]) -> None:
    """What decides whether a path is open and what answers it see the same path."""
    mallory("PUT", "/dav/f", body=b"bytes")
    answer = stranger(method, target, *fields)
    assert answer.status in (200, 400, 401, 404, 429)
    assert b"bytes" not in answer.body
    if answer.status == 200:  # what anybody may see
        assert answer.body in (stranger("GET", "/").body, stranger("GET", "/status.php").body)


def test_what_anybody_is_answered(stranger: Attacker) -> None:
    """The open doors tell of no user, no file, and no place on the disk."""
    for method, target in OPEN:
        answer = stranger(method, target)
        assert answer.status in (200, 204, 403)
        for word in (b"mallory", b"victor", str(stranger.server.data).encode()):
            assert word not in answer.head + answer.body
