"""A page of another site in the browser of a signed-in user, and a domain that suddenly leads here."""

import pytest

from tests.attacks.attacker import Attacker

BULK = b"--x\r\nX-File-Path: /planted\r\nContent-Length: 3\r\n\r\nabc\r\n--x--\r\n"

# What a page can have a browser send anywhere without asking first, with the password that it remembers (Fetch
# Standard, CORS-safelisted): POST with one of three types.
SIMPLE = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]


@pytest.mark.parametrize("kind", [*SIMPLE, "multipart/related; boundary=x", "application/json"])
@pytest.mark.parametrize(
    "fields",
    [
        ("Origin: http://evil.example", "Sec-Fetch-Site: cross-site"),
        ("Origin: http://evil.example",),
        ("Origin: null",),
        ("Origin: http://[",),
        ("Origin: http://127.0.0.1:1", "Sec-Fetch-Site: same-site"),
        ("Sec-Fetch-Site: cross-site",),
    ],
)
@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/remote.php/dav/bulk", BULK),
        ("/api/sync/devices", b'{"name": "planted", "device_type": "other"}'),
        ("/api/sync/trash/restore", b'{"trash_id": "1"}'),
        ("/uploads/", b""),
        ("/dav/planted", b"abc"),
        ("/", b"abc"),
    ],
)
def test_nothing_is_done_for_another_page(
    mallory: Attacker, target: str, body: bytes, fields: tuple[str, ...], kind: str
) -> None:
    """Whatever it posts, and although the browser signs in: refused, and nothing is there afterwards."""
    answer = mallory("POST", target, *fields, f"Content-Type: {kind}", body=body)
    assert answer.status in (400, 403, 405, 412, 415), answer.body
    if "json" in kind or "related" in kind:
        assert answer.status == 403
    assert mallory("GET", "/dav/planted").status == 404
    assert b"planted" not in mallory("GET", "/api/sync/devices").body


@pytest.mark.parametrize("kind", SIMPLE)
def test_types_that_a_form_can_have_are_never_taken(mallory: Attacker, kind: str) -> None:
    """Not even from a browser that says nothing of where the form was."""
    for target, body in (
        ("/remote.php/dav/bulk", BULK),
        ("/api/sync/devices", b'{"name": "x", "device_type": "other"}'),
    ):
        assert mallory("POST", target, f"Content-Type: {kind}", body=body).status == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MKCOL", "MOVE", "PROPPATCH", "PATCH", "LOCK"])
def test_no_page_is_let_use_other_methods(mallory: Attacker, method: str) -> None:
    """A browser asks before it sends one of these, and is not told that it may."""
    answer = mallory(
        "OPTIONS", "/dav/f", "Origin: http://evil.example", f"Access-Control-Request-Method: {method}",
        "Access-Control-Request-Headers: authorization",
    )  # fmt: skip
    assert not [field for field in answer.fields if field.lower().startswith("access-control")]


@pytest.mark.parametrize("page", ["/dav/", "/dav/f.html", "/api/sync/devices", "/ocs/v2.php/cloud/user", "/metrics"])
def test_no_page_reads_an_answer(mallory: Attacker, page: str) -> None:
    """Not by a script, which needs to be told that it may; and not in a frame."""
    mallory("PUT", "/dav/f.html", body=b"<script>alert(1)</script>")
    answer = mallory("GET", page, "Origin: http://evil.example")
    assert answer.status == 200
    assert not [field for field in answer.fields if field.lower().startswith("access-control")]
    (policy,) = (field for field in answer.fields if field.startswith("Content-Security-Policy: "))
    assert "sandbox" in policy or "frame-ancestors 'none'" in policy
    assert "X-Content-Type-Options: nosniff" in answer.fields


@pytest.mark.parametrize("target", ["/metrics", "/readyz"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.org"]
)
def test_a_domain_that_leads_here_all_of_a_sudden(stranger: Attacker, target: str, host: str) -> None:
    """DNS rebinding: what is told to this machine is not told to a page in a browser on it."""
    answer = stranger("GET", target, f"Host: {host.format(port=stranger.server.port)}")
    if target == "/metrics":
        assert answer.status == 404
    else:
        assert (answer.status, answer.body) == (200, b"ready\n")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "localhost:80", "[::1]", "[::1]:8080", "nas", "127.0.0.2:1"]
)
def test_this_machine_by_any_of_its_names(stranger: Attacker, host: str) -> None:
    assert stranger("GET", "/metrics", f"Host: {host}").status == 200
