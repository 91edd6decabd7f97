"""Names that the configuration refuses: no client makes them, what is there stays as it is."""

import itertools
from collections.abc import Iterator

import pytest

from tests.http.client import User
from tests.serving import Server

_numbers = itertools.count()


@pytest.fixture(scope="module")
def tidy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes neither notes of file managers nor side files."""
    names = '[".DS_Store", "._*", "Thumbs.db", "Desk?op.ini"]'
    with Server(tmp_path_factory.mktemp("tidy") / "data", environment={"BALUDAV_REFUSED_NAMES": names}) as server:
        server.add_user("alice")
        yield server


@pytest.fixture
def alice(tidy: Server) -> User:
    user = User(tidy, "alice", f"/{next(_numbers)}")
    assert user("MKCOL", "").status_code == 201
    return user


@pytest.mark.parametrize("name", [".DS_Store", ".ds_store", "._photo.jpg", "._ä", "THUMBS.DB", "desktop.ini"])
def test_none_is_made(alice: User, name: str) -> None:
    """By no method; the answer says why, and nothing else is changed."""
    alice.put("/f", b"bytes")
    large = b"x" * 1_000_000
    for method, path, body, fields in (
        ("PUT", f"/{name}", b"", {}),
        ("PUT", f"/{name}", large, {"Expect": "100-continue"}),
        ("MKCOL", f"/{name}", b"", {}),
        ("COPY", "/f", b"", {"Destination": f"/{name}"}),
        ("MOVE", "/f", b"", {"Destination": f"/{name}"}),
    ):
        answer = alice(method, path, body, **fields)
        assert answer.status_code == 403, method
        assert "takes nothing called" in answer.text
    assert alice.try_lock(f"/{name}").status_code == 403
    assert set(alice.propfind("/", depth="1")) == {"/", "/f"}


def test_others_are(alice: User) -> None:
    """A pattern means the whole name."""
    for name in ("DS_Store", ".DS_Store.txt", ".hidden", "a._b", "Thumbs.dbx", "desktop.in"):
        assert alice.put(f"/{name}").status_code == 201


def test_where_nothing_is(alice: User) -> None:
    """To look for one, and to delete what is not there, is answered as ever: Finder asks all the time."""
    assert alice.get("/.DS_Store").status_code == 404
    assert alice("PROPFIND", "/._f", Depth="0").status_code == 404
    assert alice("DELETE", "/._f").status_code == 404


def test_what_is_there_stays(alice: User) -> None:
    """Whatever came by another way, or before: it is served, replaced, renamed and deleted."""
    folder = alice.server.home("alice") / alice.top.strip("/")
    (folder / ".DS_Store").write_bytes(b"by SMB")
    assert alice.get("/.DS_Store").content == b"by SMB"
    assert alice.put("/.DS_Store", b"new").status_code == 204
    assert alice("MOVE", "/.DS_Store", Destination="/notes").status_code == 201
    assert alice("MOVE", "/notes", Destination="/._notes").status_code == 403
    assert alice("DELETE", "/notes").status_code == 204
    assert list(folder.iterdir()) == []


def test_by_default_all_are_taken(server: Server) -> None:
    """Finder cannot copy a file with attributes where it may not write `._` beside it."""
    user = User(server, "alice", "/taken")
    user("MKCOL", "")
    for name in (".DS_Store", "._photo.jpg", "Thumbs.db", "desktop.ini"):
        assert user.put(f"/{name}").status_code == 201
