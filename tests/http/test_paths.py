"""Names and paths: what can be stored is kept to the byte, what cannot is refused, and nothing leaves the namespace."""

import os
import unicodedata

import pytest

from tests.http.client import User

NAMES = [
    "plain", "two words", " leading", "trailing ", "a%b", "%41", "%2e%2e", "%252F", "a#b", "a?b", "a+b", "a&b", "a;b=c",
    'a"b', "a<b>", "a'b", "a\\b", "a:b", "a|b", "a*b", ".dot", "..dots", "...", "~", "日本語",
    "🎌🏴‍☠️", "İ", "ß", "e\u0301\u0327",
    "x" * 255, "é" * 127, "a\u200bb", "a\u202eb", "\ufeffbom", "CON", "aux.txt", "a.", "-rf", "*", "$HOME", "`id`",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_back_as_it_was_sent(alice: User, name: str) -> None:
    """In PUT, GET, listing, MOVE and DELETE; on the disk it is the same name, in NFC."""
    nfc = unicodedata.normalize("NFC", name)
    assert alice.put(f"/{name}", name.encode()).status_code == 201
    assert alice.get(f"/{name}").content == name.encode()
    assert set(alice.propfind("/", depth="1")) == {"/", f"/{nfc}"}
    assert nfc in os.listdir(alice.server.home("alice") / alice.top.strip("/"))
    assert alice("MOVE", f"/{name}", Destination="/moved").status_code == 201
    assert alice("COPY", "/moved", Destination=f"/{name}").status_code == 201
    assert alice("DELETE", f"/{name}").status_code == 204
    assert set(alice.propfind("/", depth="1")) == {"/", "/moved"}


def test_both_spellings_are_one_file(alice: User) -> None:
    """macOS sends NFD, others NFC: they find the same file."""
    alice.put("/café", b"nfc")
    assert alice.get("/cafe\u0301").content == b"nfc"
    assert alice.put("/cafe\u0301", b"nfd").status_code == 204
    assert len(alice.propfind("/", depth="1")) == 2
    assert alice("MKCOL", "/cafe\u0301").status_code == 405


def test_a_name_spelled_in_nfd_on_the_disk_is_reached(alice: User) -> None:
    """Copied from a Mac by ssh or SMB: it is listed, read, replaced and deleted, never doubled."""
    home = alice.server.home("alice") / alice.top.strip("/")
    (home / "cafe\u0301").write_bytes(b"from a mac")
    (listed,) = set(alice.propfind("/", depth="1")) - {"/"}
    assert alice.get(listed).content == b"from a mac"
    assert alice.get("/café").content == b"from a mac"
    assert alice.put("/café", b"new").status_code == 204
    assert len(os.listdir(home)) == 1
    assert alice("DELETE", "/café").status_code == 204
    assert os.listdir(home) == []


@pytest.mark.parametrize(
    ("target", "statuses"),
    [
        ("/dav/%00", {400}),
        ("/dav/a%00b", {400}),
        ("/dav/a%09b", {400}),
        ("/dav/a%0D%0Ab", {400}),
        ("/dav/%7F", {400}),
        ("/dav/a%2Fb", {400, 404, 409}),
        ("/dav/" + "x" * 256, {400, 414}),
        ("/dav/" + "%C3%A9" * 128, {400, 414}),
        ("/dav/%FF%FE", {400}),
        ("/dav/%C0%AE%C0%AE", {400}),
        ("/dav/%ED%A0%80", {400}),
    ],
)
def test_what_cannot_be_a_name(alice: User, target: str, statuses: set[int]) -> None:
    """Refused with a reason, for reading and for writing."""
    status, body = alice.raw("PUT", target, b"x")
    assert status in statuses
    assert body
    assert alice.raw("GET", target)[0] in statuses | {404}


ESCAPES = [
    "/dav/../bob/secret", "/dav/..%2fbob/secret", "/dav/%2e%2e/bob/secret",
    "/dav/%2e%2e%2fbob%2fsecret", "/dav/..%5cbob",
    "/dav/%252e%252e/bob/secret", "/dav/./../bob/secret", "/dav//../bob/secret", "/dav/x/../../bob/secret",
    "/dav/....//bob/secret", "/dav/..;/bob/secret", "/dav/%c0%ae%c0%ae/bob/secret", "/dav/..%00/bob/secret",
    "/dav/\u2025/bob/secret", "/../data/files/bob/secret", "/dav../bob/secret", "/dav/bob/secret",
    "/dav/../../index.sqlite",
]  # fmt: skip


@pytest.mark.parametrize("target", ESCAPES)
def test_no_path_leaves_the_namespace(alice: User, server_secret: bytes, target: str) -> None:
    """Nothing of another user's is read, written, moved or deleted by any spelling of a path."""
    target = target.encode("utf-8").decode("latin-1") if target.isascii() else target.replace("\u2025", "%E2%80%A5")
    bob = alice.server.home("bob")
    before = {path: path.read_bytes() for path in bob.rglob("*") if path.is_file()}
    for method in ("GET", "PUT", "DELETE", "PROPFIND", "MKCOL"):
        _, body = alice.raw(method, target, b"x" if method == "PUT" else b"")
        assert server_secret not in body
    alice.put("/mine")
    for method in ("MOVE", "COPY"):
        source = alice.url("/mine").removeprefix(alice.server.url)
        alice.raw(method, source, Destination=alice.server.url + target)
        alice.raw(method, target, Destination=alice.url("/stolen"))
        assert server_secret not in alice.get("/stolen").content
    assert {path: path.read_bytes() for path in bob.rglob("*") if path.is_file()} == before
    assert not (alice.server.data / "files" / "mine").exists()


@pytest.fixture
def server_secret(alice: User) -> bytes:
    """A file of bob's, planted on the disk."""
    (alice.server.home("bob") / "secret").write_bytes(b"bob's own secret")
    return b"bob's own secret"


def test_symlinks_are_not_followed_out(alice: User, server_secret: bytes) -> None:
    """A symlink to a place outside does not exist for DAV: not for reading, not for writing through it."""
    home = alice.server.home("alice") / alice.top.strip("/")
    (home / "file").symlink_to(alice.server.home("bob") / "secret")
    (home / "dir").symlink_to(alice.server.home("bob"))
    (home / "relative").symlink_to("../../bob/secret")
    (home / "system").symlink_to("/etc")
    for path in ("/file", "/dir/secret", "/relative", "/system/passwd"):
        assert alice.get(path).status_code in (403, 404)
        assert alice("COPY", path, Destination="/copy").status_code in (403, 404)
    assert alice.put("/dir/planted").status_code in (403, 404, 409)
    assert alice.put("/file", b"overwritten").status_code in (201, 204, 403, 404, 405, 409)
    assert (alice.server.home("bob") / "secret").read_bytes() == server_secret
    assert not (alice.server.home("bob") / "planted").exists()
    everything = alice("PROPFIND", "/", Depth="infinity").text
    assert "secret" not in everything
    assert "passwd" not in everything


def test_the_server_s_own_files_do_not_exist(alice: User) -> None:
    """Neither its folder nor its marker can be seen or written through DAV, in any case of letters."""
    root = User(alice.server, "alice")
    for name in (".baludav", ".BaluDAV", ".baludav/tmp"):
        assert root.get(f"/{name}").status_code == 404
        assert root.put(f"/{name}").status_code in (403, 404, 405, 409)
        assert root("MKCOL", f"/{name}").status_code in (403, 404, 405, 409)
        assert root("DELETE", f"/{name}").status_code in (403, 404)
    assert not any(path.lower().startswith("/.baludav") for path in root.propfind("/", depth="1"))


def test_special_files_do_not_exist(alice: User) -> None:
    """A pipe would hang whoever opens it."""
    home = alice.server.home("alice") / alice.top.strip("/")
    os.mkfifo(home / "pipe")
    assert alice.get("/pipe").status_code == 404
    assert set(alice.propfind("/", depth="1")) == {"/"}


def test_very_deep_trees(alice: User) -> None:
    """Either stored and usable, or refused clearly; never a failure of the server."""
    path = ""
    for depth in range(200):
        path += f"/{depth}"
        status = alice("MKCOL", path).status_code
        if status != 201:
            assert status in (400, 403, 414)
            break
    assert alice.put("/0/1/2/f").status_code == 201
    assert alice("DELETE", "/0").status_code == 204
