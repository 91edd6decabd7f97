"""Digests: what is declared is understood or refused."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baludav.errors import BadRequest
from baludav.tree.http.digests import format_digest, parse_digest, wanted

A = hashlib.sha256(b"a").digest()
B = hashlib.sha256(b"b").digest()
C = hashlib.sha512(b"c").digest()


def sequence(digest: bytes) -> str:
    return f":{base64.b64encode(digest).decode()}:"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", {}),
        (f"sha-256={sequence(A)}", {"sha-256": A}),
        (f"  sha-256={sequence(A)} ", {"sha-256": A}),
        (f"sha-512={sequence(C)}", {"sha-512": C}),
        (f"sha-256={sequence(A)},sha-512={sequence(C)}", {"sha-256": A, "sha-512": C}),
        (f"sha-256={sequence(A)}\t, \tsha-512={sequence(C)}", {"sha-256": A, "sha-512": C}),
        (f"sha-256={sequence(A).replace('=', '')}", {"sha-256": A}),
        (f"sha-256={sequence(A)};a;b=1;c=\"d\"", {"sha-256": A}),
        (f"sha-256={sequence(A)}, sha-256={sequence(B)}", {"sha-256": B}),
        ("md5=:1B2M2Y8AsgTpgAmY7PhCfg==:", {}),
        (f"md5=:AA==:, sha-256={sequence(A)}, adler=12.5", {"sha-256": A}),
        ("a, b;c, d=?1, e=-5, f=tok/en, *g=\"\\\"\\\\ x\"", {}),
        ("a=(), b=(1 :AA==: x;y=2);z, c=( 1 )", {}),
    ],
)  # fmt: skip
def test_declared_digests(header: str, expected: dict[str, bytes]) -> None:
    """RFC 9530 §2, §3, RFC 9651 §3.2: known algorithms are read, others passed over, the last of two counts."""
    assert parse_digest(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        "sha-256",
        "sha-256=",
        "sha-256=1",
        "sha-256=abc",
        f'sha-256="{base64.b64encode(A).decode()}"',
        f"sha-256={base64.b64encode(A).decode()}",
        f"sha-256=({sequence(A)})",
        "sha-256=::",
        "sha-256=:AA==:",
        "sha-256=:A:",
        "sha-256=:A===:",
        f"sha-256={sequence(A)[:-1]}",
        f"sha-256={sequence(A)[:4]}={sequence(A)[4:]}",
        f"sha-256={sequence(A)[:4]}-{sequence(A)[5:]}",
        f"sha-256={sequence(C)}",
        f"sha-512={sequence(A)}",
        f"SHA-256={sequence(A)}",
        f"sha-256={sequence(A)},",
        f"sha-256={sequence(A)} sha-512={sequence(C)}",
        f"sha-256={sequence(A)};",
        f"sha-256 = {sequence(A)}",
        ",",
        "a=(1",
        'a="',
        "a=ä",
        "ä=1",
        "a,,b",
        "a=1234567890123456",
        f"sha-256={A.hex()}",
    ],
)
def test_a_malformed_digest_is_refused(header: str) -> None:
    """RFC 9530 §2, §3, RFC 9651 §4.2: a promise that cannot be checked is not taken for kept."""
    with pytest.raises(BadRequest):
        parse_digest(header)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("sha-256=1", "sha-256"),
        ("sha-256=10", "sha-256"),
        ("sha-512=10, sha-256=1", "sha-256"),
        ("sha-256=5;x", "sha-256"),
        ("sha-256=0", None),
        ("sha-256=11", None),
        ("sha-256=-1", None),
        ("sha-256=1.0", None),
        ("sha-256", None),
        ("sha-256=?1", None),
        ("sha-512=10", None),
        ("sha-256=1, sha-256=0", None),
        ("sha-256=1,", None),
        ("", None),
        ("ä", None),
    ],
)
def test_wanted_digests(header: str, expected: str | None) -> None:
    """RFC 9530 §4: integers from 0, not at all, to 10; what cannot be understood is not wanted."""
    assert wanted(header) == expected


@given(st.binary())
def test_a_digest_comes_back(content: bytes) -> None:
    """RFC 9530 §2: what we say of a resource is understood as the same digest."""
    digest = hashlib.sha256(content)
    assert parse_digest(format_digest(digest.hexdigest())) == {"sha-256": digest.digest()}


@given(st.text(max_size=60) | st.text('sha-256=:A,; ()"\\?*1.', max_size=60))
def test_no_header_breaks_the_parser(header: str) -> None:
    """Whatever is sent, there are digests of the right length or a bad request."""
    assert wanted(header) in (None, "sha-256")
    try:
        digests = parse_digest(header)
    except BadRequest:
        return
    assert all(len(digest) == {"sha-256": 32, "sha-512": 64}[name] for name, digest in digests.items())


@pytest.mark.parametrize("text", ["a", "a,", "a;", "a=(", "(", '"', 'a="\\"', ":", "a=:", " ", "1", "a=(1 1", "a;a=1"])
def test_a_long_field_is_read_once(text: str) -> None:
    """However long a field is and whatever it repeats, no part of it is read again."""
    for header in (text * 300_000, f"a={text * 300_000}", f"a=({text * 300_000}"):
        try:
            assert parse_digest(header) == {}
        except BadRequest:
            continue
