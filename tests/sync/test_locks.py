"""Locks over the API: one's own, those in the way, and ending one that a client left behind."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.http.client import User
from tests.serving import Server, wait_for
from tests.sync.client import Client

_numbers = itertools.count()
WORD = "Microsoft Office Word 2016"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Anna and Otto share a folder."""
    top = tmp_path_factory.mktemp("office")
    (top / "Team").mkdir()
    shares = {"Team": {"folder": str(top / "Team"), "write": ["anna", "otto"]}}
    with Server(top / "data", shares=shares) as server:
        server.add_user("anna")
        server.add_user("otto")
        yield server


@pytest.fixture
def anna(office: Server) -> User:
    """Anna, in a fresh collection of hers."""
    user = User(office, "anna", f"/{next(_numbers)}")
    assert user("MKCOL", "").status_code == 201
    return user


@pytest.fixture
def mine(office: Server) -> Iterator[Client]:
    """The API as anna, who holds no lock at the end."""
    api = Client(office, "anna")
    yield api
    for lock in api.get("/locks")["locks"]:
        assert api("DELETE", f"/locks/{lock['lock_token']}").status_code == 204


def _lock(user: User, path: str, client: str = WORD, seconds: int = 600, depth: str = "0") -> str:
    body = (
        '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype>'
        "<owner><href>PC\\alice &amp; co</href></owner></lockinfo>"
    )
    answer = user("LOCK", path, body, User_Agent=client, Timeout=f"Second-{seconds}", Depth=depth)
    assert answer.status_code in (200, 201)
    return answer.headers["Lock-Token"].strip("<>")


def test_what_one_holds(anna: User, mine: Client) -> None:
    """Everything that tells a lock that is needed from one that a client left behind."""
    anna("MKCOL", "/ä & b")
    anna.put("/ä & b/f")
    before = datetime.now(UTC) - timedelta(seconds=5)
    token = _lock(anna, "/ä & b/f")
    folder = _lock(anna, "/ä & b", client="x" * 999, seconds=60)
    first, second = mine.get("/locks")["locks"]
    assert (first["lock_token"], first["path"], first["client"]) == (token, f"{anna.top}/ä & b/f", WORD)
    assert (first["user"], first["is_own"], first["owner"]) == ("anna", True, "PC\\alice & co")
    assert (first["depth"], first["is_exclusive"]) == ("0", True)
    created, expires = (datetime.fromisoformat(first[name]) for name in ("created_at", "expires_at"))
    assert before < created < datetime.now(UTC) + timedelta(seconds=5)
    assert abs(expires - created - timedelta(seconds=600)) < timedelta(milliseconds=1)
    assert (second["lock_token"], second["path"], second["client"]) == (folder, f"{anna.top}/ä & b", "x" * 200)


def test_ending_ones_own(anna: User, mine: Client) -> None:
    """Others may write at once; the client that held it is told when it tries to."""
    anna.put("/f", b"old")
    token = _lock(anna, "/f")
    assert anna.put("/f", b"other").status_code == 423
    assert mine("DELETE", f"/locks/{token}").status_code == 204
    assert mine.get("/locks") == {"locks": []}
    assert not anna.prop("/f", "{DAV:}lockdiscovery")
    assert anna.put("/f", b"other").status_code == 204
    assert anna.put("/f", b"lost update", If=f"(<{token}>)").status_code == 412
    assert anna("UNLOCK", "/f", Lock_Token=f"<{token}>").status_code == 204
    assert anna.get("/f").content == b"other"
    for gone in (token, "baludav:nonsense", "-", "%00"):
        assert mine("DELETE", f"/locks/{gone}").status_code == 404


def test_those_of_others(anna: User, mine: Client, office: Server) -> None:
    """They are neither listed nor ended."""
    anna.put("/f")
    token = _lock(anna, "/f")
    others = Client(office, "otto")
    assert token not in [lock["lock_token"] for lock in others.get("/locks")["locks"]]
    assert others("DELETE", f"/locks/{token}").status_code == 404
    assert anna.put("/f").status_code == 423


def test_who_is_in_the_way(office: Server) -> None:
    """In a share: who has the file open, since when, and with what; also if it is the folder that is locked."""
    anna, otto = (User(office, name, "/Team") for name in ("anna", "otto"))
    anna("MKCOL", "/c")
    anna.put("/c/f")
    api = Client(office, "otto")
    assert api.get("/locks", path="/Team/c/f") == {"locks": []}
    token = _lock(anna, "/c", depth="infinity")
    assert otto.put("/c/f").status_code == 423
    (lock,) = api.get("/locks", path="/Team/c/f")["locks"]
    assert (lock["user"], lock["is_own"], lock["path"], lock["client"]) == ("anna", False, "/Team/c", WORD)
    assert api.get("/locks") == {"locks": []}
    assert api("DELETE", f"/locks/{token}").status_code == 404
    assert api("GET", "/locks", params={"path": "/Team/none"}).status_code == 404
    assert Client(office, "anna")("DELETE", f"/locks/{token}").status_code == 204
    assert otto.put("/c/f").status_code == 204


def test_one_that_is_over(anna: User, mine: Client) -> None:
    """It is in nobody's way and on no list, whether or not anybody has cleaned up."""
    anna.put("/f")
    token = _lock(anna, "/f", seconds=1)
    wait_for(lambda: mine.get("/locks") == {"locks": []}, 30, "the lock is over")
    assert anna.put("/f").status_code == 204
    assert mine("DELETE", f"/locks/{token}").status_code == 404


def test_the_command(office: Server) -> None:
    """`baludav lock`: lists the locks of all and ends any, while the server runs and from the next request on."""
    anna, otto = (User(office, name, "/Team") for name in ("anna", "otto"))
    anna.put("/of anna")
    token = _lock(anna, "/of anna", client="evil\tclient")
    otto.put("/of otto")
    other = _lock(otto, "/of otto")
    head, *rows = (line.split("\t") for line in office.baludav("lock", "list").splitlines())
    assert head == ["lock", "user", "what", "since", "until", "client", "owner"]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        (token, "anna", "share Team: /of anna"), (other, "otto", "share Team: /of otto")
    ]  # fmt: skip
    assert rows[0][5:] == ["evil\\tclient", "PC\\alice & co"]
    assert other not in office.baludav("lock", "list", "--user", "anna")
    assert anna.prop("/of anna", "{DAV:}lockdiscovery")
    office.baludav("lock", "break", token, other)
    assert not anna.prop("/of anna", "{DAV:}lockdiscovery")
    assert otto.put("/of anna").status_code == 204
    with pytest.raises(AssertionError, match="there is no lock"):
        office.baludav("lock", "break", token)
    assert len(office.baludav("lock", "list").splitlines()) == 1
