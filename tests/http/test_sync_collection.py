"""Collection ETags, and the changes of a collection since a token (RFC 6578)."""

import shutil
from pathlib import Path

import pytest

from tests.http.client import User
from tests.http.mirror import Mirror
from tests.serving import Server


def _files(tree: dict[str, str]) -> dict[str, str]:
    return {p: t for p, t in tree.items() if "-" not in t}


@pytest.fixture(params=[0, 1, 3], ids=["whole", "by ones", "by threes"])
def mirror(alice: User, request: pytest.FixtureRequest) -> Mirror:
    return Mirror(alice, limit=request.param)


def test_a_change_changes_every_collection_above_it(alice: User) -> None:
    """And nothing else: not its siblings; reading changes nothing."""
    for path in ("/a", "/a/b", "/other"):
        alice("MKCOL", path)
    alice.put("/other/f")

    def tags() -> dict[str, str | None]:
        return {path: alice.prop(path, "{DAV:}getetag") for path in ("", "/a", "/a/b", "/other")}

    root = User(alice.server, "alice")
    for change in (
        lambda: alice.put("/a/b/f", b"one"),
        lambda: alice.put("/a/b/f", b"two"),
        lambda: alice("COPY", "/a/b/f", Destination="/a/b/g"),
        lambda: alice("MOVE", "/a/b/g", Destination="/a/b/h"),
        lambda: alice("DELETE", "/a/b/h"),
        lambda: alice("MKCOL", "/a/b/c"),
    ):
        before, top = tags(), root.prop("/", "{DAV:}getetag")
        change()
        after = tags()
        assert after["/other"] == before["/other"]
        assert all(after[path] != before[path] for path in ("", "/a", "/a/b"))
        assert root.prop("/", "{DAV:}getetag") != top
        alice.propfind("", depth="infinity")
        alice.get("/a/b/f")
        assert tags() == after
    assert alice.prop("/a", "{http://calendarserver.org/ns/}getctag") == after["/a"]
    head = alice("HEAD", "/a")
    assert head.headers["ETag"] == after["/a"]
    assert alice.get("/a", If_None_Match=after["/a"] or "").status_code == 304
    assert alice("DELETE", "/a", If_Match=before["/a"] or "").status_code == 412
    assert alice("DELETE", "/a", If_Match=after["/a"] or "").status_code == 204


def test_tags_and_tokens_outlive_a_restart(tmp_path: Path) -> None:
    """No change, no change of ETag."""
    with Server(tmp_path / "data") as server:
        server.add_user("anna")
        anna = User(server, "anna")
        anna("MKCOL", "/c")
        anna.put("/c/f")
        mirror = Mirror(anna)
        mirror.sync()
        before = [anna.prop(path, name) for path in ("/", "/c") for name in ("{DAV:}getetag", "{DAV:}sync-token")]
        server.restart()
        assert [
            anna.prop(path, name) for path in ("/", "/c") for name in ("{DAV:}getetag", "{DAV:}sync-token")
        ] == before
        assert mirror.sync() == {}


def test_what_is_offered(alice: User) -> None:
    assert "sync-collection" in alice("OPTIONS", "").headers["DAV"]
    body = '<propfind xmlns="DAV:"><prop><supported-report-set/></prop></propfind>'
    assert "sync-collection" in alice("PROPFIND", "", body, Depth="0").text
    assert (alice.prop("", "{DAV:}sync-token") or "").startswith("urn:")


def test_every_kind_of_change(mirror: Mirror) -> None:
    """After each step the client's picture is the server's, and only what changed was sent."""
    user = mirror.user
    for path in ("/a", "/a/b"):
        user("MKCOL", path)
    for n in range(5):
        user.put(f"/a/b/{n}", b"%d" % n)
    mirror.sync()
    assert mirror.tree == mirror.truth()
    assert mirror.sync() == {}
    steps = [
        (lambda: user.put("/a/b/0", b"new"), {"/a/b/0"}),
        (lambda: user("DELETE", "/a/b/1"), {"/a/b/1"}),
        (lambda: user("MOVE", "/a/b/2", Destination="/moved"), {"/a/b/2", "/moved"}),
        (lambda: user("MOVE", "/a/b", Destination="/b"), {"/a/b", "/b", "/b/0", "/b/3", "/b/4"}),
        (lambda: user("COPY", "/b", Destination="/a/b"), {"/a/b", "/a/b/0", "/a/b/3", "/a/b/4"}),
        (lambda: user("DELETE", "/b"), {"/b"}),
        (lambda: (user("DELETE", "/a/b"), user("MKCOL", "/a/b"), user.put("/a/b/3", b"other")), {"/a/b", "/a/b/3"}),
        (lambda: (user("DELETE", "/a/b"), user.put("/a/b", b"now a file")), {"/a/b"}),
        (lambda: (user.put("/t", b"1"), user("MOVE", "/t", Destination="/moved")), {"/moved"}),
        (lambda: (user.put("/t", b"1"), user("DELETE", "/t")), set()),
    ]
    for step, expected in steps:
        step()
        brought = mirror.sync()
        assert expected <= set(brought), expected - set(brought)
        assert _files(mirror.tree) == _files(mirror.truth())
        assert set(mirror.tree) == set(mirror.truth())


def test_a_tree_moved_in_and_out(alice: User, mirror: Mirror) -> None:
    """Of the collection that is followed: all its members come, and all go."""
    alice("MKCOL", "/followed")
    alice("MKCOL", "/outside")
    alice("MKCOL", "/outside/d")
    for n in range(4):
        alice.put(f"/outside/d/{n}")
    mirror.path = "/followed"
    mirror.sync()
    alice("MOVE", "/outside/d", Destination="/followed/d")
    mirror.sync()
    assert mirror.tree == mirror.truth()
    assert len(mirror.tree) == 5
    alice("MOVE", "/followed/d", Destination="/outside/d")
    mirror.sync()
    assert mirror.tree == {}
    alice.put("/outside/x")
    assert mirror.sync() == {}, "what is elsewhere does not concern it"


def test_level_1(alice: User) -> None:
    """Members only; a collection below which something changed has another ETag, and is sent."""
    mirror = Mirror(alice, level="1")
    alice("MKCOL", "/c")
    alice("MKCOL", "/d")
    alice.put("/c/f")
    alice.put("/f")
    mirror.sync()
    assert set(mirror.tree) == {"/c", "/d", "/f"}
    alice("MKCOL", "/c/deep")
    alice.put("/c/deep/g")
    assert set(mirror.sync()) == {"/c"}
    assert mirror.tree == mirror.truth()
    alice("DELETE", "/c")
    assert mirror.sync() == {"/c": "gone"}


@pytest.mark.parametrize("token", ["urn:baludav:sync:x", "urn:baludav:sync:0.0.1", "data:,1", "EPOCH.SIGHT.999999999"])
def test_a_token_that_says_nothing(alice: User, token: str) -> None:
    """403 with valid-sync-token: the client begins anew."""
    mirror = Mirror(alice)
    mirror.sync()
    epoch, sight, _ = mirror.token.split(".")
    token = token.replace("EPOCH", epoch).replace("SIGHT", sight)
    body = (
        f'<sync-collection xmlns="DAV:"><sync-token>{token}</sync-token><sync-level>1</sync-level><prop/>'
        "</sync-collection>"
    )
    answer = alice("REPORT", "", body)
    assert answer.status_code == 403
    assert "valid-sync-token" in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("<expand-property xmlns='DAV:'/>", 403),
        ("<sync-collection xmlns='DAV:'><sync-token/><sync-level>2</sync-level><prop/></sync-collection>", 400),
        ("<sync-collection xmlns='DAV:'><sync-token/><prop/></sync-collection>", 400),
    ],
)
def test_reports_that_make_no_sense(alice: User, body: str, status: int) -> None:
    assert alice("REPORT", "", body).status_code == status
    alice.put("/f")
    full = "<sync-collection xmlns='DAV:'><sync-token/><sync-level>1</sync-level><prop/></sync-collection>"
    assert alice("REPORT", "/f", full).status_code == 403
    assert alice("REPORT", "/missing", full).status_code == 404


def test_outside_changes_are_in_the_report(alice: User) -> None:
    """Once the server has noticed them."""
    mirror = Mirror(alice)
    home = alice.server.home("alice") / alice.top.strip("/")
    (home / "d").mkdir()
    (home / "d" / "f").write_bytes(b"outside")
    alice.propfind("", depth="infinity")
    mirror.sync()
    assert set(mirror.tree) == {"/d", "/d/f"}
    shutil.rmtree(home / "d")
    alice.propfind("", depth="infinity")
    assert set(mirror.sync()) >= {"/d"}
    assert mirror.tree == {}


def test_shares_belong_to_the_tree(tmp_path: Path) -> None:
    """A change in a share changes the ETag of the root for those who see it, and is in their report alone."""
    (tmp_path / "team").mkdir()
    shares = {"Team": {"folder": str(tmp_path / "team"), "read": ["otto"], "write": ["anna"]}}
    with Server(tmp_path / "data", shares=shares) as server:
        for name in ("anna", "otto", "olga"):
            server.add_user(name)
        users = {name: User(server, name) for name in ("anna", "otto", "olga", "admin")}
        mirrors = {name: Mirror(user) for name, user in users.items()}
        for mirror in mirrors.values():
            mirror.sync()
        before = {name: user.prop("/", "{DAV:}getetag") for name, user in users.items()}
        users["anna"].put("/Team/f")
        after = {name: user.prop("/", "{DAV:}getetag") for name, user in users.items()}
        assert {name for name in users if before[name] != after[name]} == {"anna", "otto", "admin"}
        assert {name: set(mirror.sync()) for name, mirror in mirrors.items()} == {
            "anna": {"/Team/f"}, "otto": {"/Team/f"}, "olga": set(), "admin": {"/Team/f"},
        }  # fmt: skip
        users["anna"].put("/mine")
        assert {name: set(mirror.sync()) for name, mirror in mirrors.items()} == {
            "anna": {"/mine"}, "otto": set(), "olga": set(), "admin": {"/homes/anna/mine"},
        }  # fmt: skip
