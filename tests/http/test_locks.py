"""LOCK and UNLOCK (RFC 4918 §6, §7, §9.10, §9.11) and the `If` header, over two workers."""

import re
from pathlib import Path

import pytest

from tests.http.client import User
from tests.serving import wait_for


def _if(token: str) -> str:
    return f"(<{token}>)"


@pytest.fixture
def stranger(alice: User) -> User:
    """Alice once more, on another connection, without the tokens."""
    return User(alice.server, "alice", alice.top)


def test_an_exclusive_lock_keeps_others_out(alice: User, stranger: User) -> None:
    """Every change needs the token; reading needs none."""
    alice.put("/f", b"old")
    token = alice.lock("/f")
    proppatch = '<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:t">1</a></prop></set></propertyupdate>'
    alice.put("/g", b"other")
    for method, path, fields in (
        ("PUT", "/f", {}),
        ("DELETE", "/f", {}),
        ("MOVE", "/f", {"Destination": "/x"}),
        ("MOVE", "/g", {"Destination": "/f"}),
        ("COPY", "/g", {"Destination": "/f"}),
        ("PROPPATCH", "/f", {}),
    ):
        body = proppatch if method == "PROPPATCH" else b"new"
        answer = stranger(method, path, body, **fields)
        assert answer.status_code == 423, method
        assert "lock-token-submitted" in answer.text
    assert stranger.try_lock("/f").status_code == 423
    assert stranger.get("/f").content == b"old"
    assert stranger("COPY", "/f", Destination="/copy").status_code == 201
    assert alice.put("/f", b"new", If=_if(token)).status_code == 204
    assert alice("UNLOCK", "/f", Lock_Token=f"<{token}>").status_code == 204
    assert stranger.put("/f", b"newest").status_code == 204


def test_the_answer_to_lock(alice: User) -> None:
    """A Lock-Token field and a lockdiscovery with everything a client needs (§9.10.1)."""
    answer = alice.try_lock("/new", timeout="Infinite, Second-4100000000")
    assert answer.status_code == 201, "what is locked where nothing is becomes an empty file (§7.3)"
    assert alice.get("/new").content == b""
    text = answer.text
    for part in ("<D:write/>", "<D:exclusive/>", "alice", "<D:locktoken>", "<D:lockroot>", "infinity"):
        assert part in text
    seconds = int(re.search(r"Second-(\d+)", text)[1])  # type: ignore[index]
    assert 0 < seconds <= 7 * 24 * 3600
    shown = alice.prop("/new", "{DAV:}lockdiscovery") or ""
    assert answer.headers["Lock-Token"].strip("<>") in shown


def test_shared_locks(alice: User, stranger: User) -> None:
    """Two may share; neither lets an exclusive one in; each of the holders may write with their own."""
    alice.put("/f")
    one = alice.lock("/f", scope="shared")
    two = stranger.lock("/f", scope="shared")
    assert alice.try_lock("/f").status_code == 423
    assert alice.put("/f", If=_if(one)).status_code == 204
    assert stranger.put("/f", If=_if(two)).status_code == 204
    assert alice.put("/f").status_code == 423


def test_a_lock_on_a_collection_guards_its_members(alice: User, stranger: User) -> None:
    """Depth infinity: nothing is added, changed or removed below without the token (§7.4)."""
    alice("MKCOL", "/c")
    alice.put("/c/m")
    token = alice.lock("/c")
    assert stranger.put("/c/m").status_code == 423
    assert stranger.put("/c/new").status_code == 423
    assert stranger("MKCOL", "/c/d").status_code == 423
    assert stranger("DELETE", "/c/m").status_code == 423
    assert stranger("MOVE", "/c/m", Destination="/m").status_code == 423
    assert stranger.try_lock("/c/m").status_code == 423
    assert alice.put("/c/new", If=_if(token)).status_code == 201
    assert alice.put("/c/newer", If=f"<{alice.url('/c')}> (<{token}>)").status_code == 201
    assert alice.put("/c/m", If=_if(token)).status_code == 204


def test_depth_0_guards_the_membership_only(alice: User, stranger: User) -> None:
    alice("MKCOL", "/c")
    alice.put("/c/m")
    alice.lock("/c", depth="0")
    assert stranger.put("/c/m").status_code == 204
    assert stranger.put("/c/new").status_code == 423
    assert stranger("DELETE", "/c/m").status_code == 423


def test_a_locked_member_keeps_the_collection(alice: User, stranger: User) -> None:
    """207 names the member in the way, and nothing is deleted (§9.6.1)."""
    alice("MKCOL", "/c")
    alice.put("/c/m", b"mine")
    alice.put("/c/n")
    alice.lock("/c/m")
    answer = stranger("DELETE", "/c")
    assert answer.status_code == 207
    found = stranger.multistatus(answer)
    assert found["/c/m"].status == 423
    assert stranger.get("/c/n").status_code == 200
    assert stranger("MOVE", "/c", Destination="/d").status_code == 207
    assert stranger.try_lock("/c").status_code in (207, 423)
    assert stranger.get("/c/m").content == b"mine"


def test_refresh(alice: User) -> None:
    """LOCK with the token and no body starts the time anew and keeps the token (§9.10.2)."""
    alice.put("/f")
    token = alice.lock("/f", timeout="Second-5")
    answer = alice("LOCK", "/f", If=_if(token), Timeout="Second-500")
    assert answer.status_code == 200
    assert token in answer.text
    left = int(re.search(r"Second-(\d+)", answer.text)[1])  # type: ignore[index]
    assert 490 < left <= 500
    assert alice("LOCK", "/f", If=_if("baludav:nonsense")).status_code == 412


def test_a_lock_ends_by_itself(alice: User, stranger: User) -> None:
    alice.put("/f")
    assert stranger.get("/f").status_code == 200  # the sign-in, which takes time, is over
    alice.lock("/f", timeout="Second-3")
    assert stranger.put("/f").status_code == 423
    wait_for(lambda: stranger.put("/f").status_code == 204, 10, "the lock is over")
    assert not stranger.prop("/f", "{DAV:}lockdiscovery")


def test_unlock(alice: User, bob: User) -> None:
    """Unlocking what is not locked is no error; a missing token is; another's lock stays."""
    alice.put("/f")
    assert alice("UNLOCK", "/f").status_code == 400
    assert alice("UNLOCK", "/f", Lock_Token="<baludav:gone>").status_code == 204
    token = alice.lock("/f")
    bob.put("/f")
    bob("UNLOCK", "/f", Lock_Token=f"<{token}>")
    assert User(alice.server, "alice", alice.top).put("/f").status_code == 423


def test_a_lock_stays_with_the_resource_on_move_and_goes_with_delete(alice: User, stranger: User) -> None:
    """A lock does not move with its resource (§7.5), it goes with DELETE (§6.1), and never appears elsewhere."""
    alice.put("/f")
    token = alice.lock("/f")
    assert alice("MOVE", "/f", Destination="/g", If=_if(token)).status_code == 201
    assert stranger.put("/g").status_code == 204
    assert stranger.put("/f").status_code == 201
    token = alice.lock("/f")
    assert alice("DELETE", "/f", If=_if(token)).status_code == 204
    assert stranger.put("/f").status_code == 201


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("(<{token}>)", 204),
        ("(<{token}> [{etag}])", 204),
        ('(<{token}> ["other"])', 412),
        ("(<{token}> [W/{etag}])", 204),
        ("(Not <DAV:no-lock>) (<{token}>)", 204),
        ("(<DAV:no-lock>) (<{token}>)", 204),
        ("(<DAV:no-lock>)", 412),
        ("(Not <{token}>)", 412),
        ('(["other"]) (<{token}>)', 204),
        ("<{url}> (<{token}>)", 204),
        ("<{url}> ([{etag}]) <{other}> (<{token}>)", 204),
        ("<{other}> (<DAV:no-lock>)", 412),
        ("(<{token}>", 400),
        ("<{token}>", 400),
        ("()", 400),
        ("nonsense", 400),
    ],
)
def test_the_if_header(alice: User, header: str, status: int) -> None:
    """The grammar of RFC 4918 §10.4: lists are alternatives, conditions of a list all hold, tags name resources."""
    tag = alice.put("/f", b"old").headers["ETag"]
    token = alice.lock("/f")
    header = header.format(token=token, etag=tag, url=alice.url("/f"), other=alice.url("/g"))
    answer = alice.put("/f", b"new", If=header)
    assert answer.status_code == status
    assert alice.get("/f").content == (b"new" if status == 204 else b"old")


def test_the_token_of_another_user_opens_nothing(alice: User, bob: User, tmp_path: Path) -> None:
    """To know a token is not to hold the lock (§6.4)."""
    alice.put("/f")
    token = alice.lock("/f")
    bob.put("/f", b"bob's")
    assert bob.put("/f", If=_if(token)).status_code == 412, "the same path in another tree is another resource"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope><locktype><read/></locktype></lockinfo>", 422),
        ("<lockinfo xmlns='DAV:'><locktype><write/></locktype></lockinfo>", 422),
        ("<lockinfo", 400),
        ("<other/>", 400),
    ],
)
def test_a_lock_that_is_not_understood(alice: User, body: str, status: int) -> None:
    alice.put("/f")
    assert alice("LOCK", "/f", body).status_code in (status, 400)
    assert alice("LOCK", "/f", "").status_code in (400, 412)
    assert alice.try_lock("/f", depth="1").status_code == 400
    assert alice.put("/f").status_code == 204
