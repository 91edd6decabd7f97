"""Homes, shares and the admin's view: what a user may not see does not exist, what they may not write is refused."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.client import User
from tests.serving import Server, wait_for

PROPPATCH = '<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:t">1</a></prop></set></propertyupdate>'


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Anna and Otto with shares: one both may write, one Otto may only read, one that is Anna's alone."""
    top = tmp_path_factory.mktemp("office")
    shares = {}
    for name, readers, writers in (("Team", [], ["@staff"]), ("Paper", ["otto"], ["anna"]), ("Private", [], ["anna"])):
        (top / name).mkdir()
        (top / name / "inside.txt").write_bytes(name.encode())
        shares[name] = {"folder": str(top / name), "read": readers, "write": writers}
    with Server(top / "data", shares=shares) as server:
        server.add_user("anna", groups="staff")
        server.add_user("otto", groups="staff")
        server.add_user("olga")
        yield server


def _names(user: User, path: str = "/") -> set[str]:
    return set(user.propfind(path, depth="1")) - {path}


def test_who_sees_what(office: Server) -> None:
    seen = {name: _names(User(office, name)) for name in ("anna", "otto", "olga")}
    assert {"/Team", "/Paper", "/Private"} <= seen["anna"]
    assert {"/Team", "/Paper"} <= seen["otto"]
    assert "/Private" not in seen["otto"]
    assert not {"/Team", "/Paper", "/Private"} & seen["olga"]


def test_a_writer_writes(office: Server) -> None:
    """What one puts into a share is there for the other, with the same ETag."""
    anna, otto = User(office, "anna"), User(office, "otto")
    tag = anna.put("/Team/note", b"from anna").headers["ETag"]
    assert otto.get("/Team/note").headers["ETag"] == tag
    assert otto.put("/Team/note", b"from otto", If_Match=tag).status_code == 204
    assert anna.get("/Team/note").content == b"from otto"
    assert anna("MOVE", "/Team/note", Destination="/at-home").status_code == 201
    assert otto.get("/Team/note").status_code == 404
    assert anna("COPY", "/at-home", Destination="/Team/back").status_code == 201
    assert otto.get("/Team/back").content == b"from otto"


def test_a_reader_reads_only(office: Server) -> None:
    otto = User(office, "otto")
    otto.put("/mine")
    assert otto.get("/Paper/inside.txt").content == b"Paper"
    assert otto.put("/Paper/inside.txt", b"x").status_code == 403
    assert otto.put("/Paper/new", b"x").status_code == 403
    assert otto("MKCOL", "/Paper/new").status_code == 403
    assert otto("DELETE", "/Paper/inside.txt").status_code == 403
    assert otto("MOVE", "/Paper/inside.txt", Destination="/stolen").status_code == 403
    assert otto("MOVE", "/mine", Destination="/Paper/new").status_code == 403
    assert otto("COPY", "/mine", Destination="/Paper/inside.txt").status_code == 403
    assert otto("PROPPATCH", "/Paper/inside.txt", PROPPATCH).status_code == 403
    assert otto.try_lock("/Paper/inside.txt").status_code == 403
    assert otto("COPY", "/Paper/inside.txt", Destination="/taken").status_code == 201
    assert User(office, "anna").get("/Paper/inside.txt").content == b"Paper"


def test_what_a_user_may_not_see_does_not_exist(office: Server) -> None:
    """The same answers as for a path that nobody has."""
    olga = User(office, "olga")
    olga.put("/mine")
    for method, fields in (
        ("GET", {}),
        ("PROPFIND", {}),
        ("DELETE", {}),
        ("PROPPATCH", {}),
        ("MOVE", {"Destination": "/x"}),
        ("COPY", {"Destination": "/x"}),
    ):
        body = PROPPATCH if method == "PROPPATCH" else None
        there = olga(method, "/Private/inside.txt", body, **fields)
        nowhere = olga(method, "/Nowhere/inside.txt", body, **fields)
        assert (there.status_code, there.text) == (nowhere.status_code, nowhere.text.replace("Nowhere", "Private"))
        assert there.status_code in (404, 409)
    assert olga.put("/Private/new").status_code == olga.put("/Nowhere/new").status_code == 409


def test_a_share_itself_stays(office: Server) -> None:
    """A share is a mount: it is not moved, deleted or replaced, not even by its writers."""
    anna = User(office, "anna")
    anna.put("/mine")
    assert anna("DELETE", "/Team").status_code == 403
    assert anna("MOVE", "/Team", Destination="/Other").status_code == 403
    assert anna("MOVE", "/mine", Destination="/Team").status_code == 403
    assert anna("MKCOL", "/Team").status_code == 405
    assert anna.get("/Team/inside.txt").status_code == 200


def test_admins_reach_all_homes(office: Server) -> None:
    """Under one collection, which others do not have."""
    anna = User(office, "anna")
    anna.put("/for-the-admin", b"x")
    admin = User(office, "admin")
    (homes,) = (name for name in _names(admin) if f"{name}/anna" in _names(admin, name))
    assert admin.get(f"{homes}/anna/for-the-admin").content == b"x"
    assert admin.put(f"{homes}/anna/from-the-admin", b"y").status_code == 201
    assert anna.get("/from-the-admin").content == b"y"
    assert anna.get(f"{homes}/otto/mine").status_code == 404
    assert admin("DELETE", f"{homes}/anna").status_code == 403


def test_names_that_begin_alike(office: Server) -> None:
    """A sibling folder whose name begins like a share's is no part of it."""
    anna = User(office, "anna")
    team = Path(office.data).parent / "Team"
    team.with_name("Team-secret").mkdir(exist_ok=True)
    (team.with_name("Team-secret") / "x").write_bytes(b"x")
    assert anna.get("/Team-secret/x").status_code == 404
    assert anna.get("/Team/../Team-secret/x").status_code in (400, 404)


def test_a_storage_that_is_not_mounted_is_not_empty(tmp_path: Path) -> None:
    """The disk of a share is gone: 503 below it, and everything is as it was when it is back."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "photo").write_bytes(b"light")
    shares = {"Photos": {"folder": str(disk), "write": ["eva"]}}
    with Server(tmp_path / "data", shares=shares) as server:
        server.add_user("eva")
        eva = User(server, "eva")
        eva.put("/Photos/new", b"more light")
        ids = [eva.prop(f"/Photos/{name}", "{DAV:}resource-id") for name in ("photo", "new")]
        disk.rename(tmp_path / "unplugged")
        disk.mkdir()  # an empty mount point
        unplugged = time.monotonic()
        wait_for(lambda: time.monotonic() > unplugged + 0.1, 5, "every worker looks at the marker again")
        for method in ("GET", "PUT", "DELETE", "PROPFIND"):
            assert eva(method, "/Photos/photo", b"x" if method == "PUT" else None).status_code == 503
        assert eva.put("/elsewhere").status_code == 201
        assert list(disk.iterdir()) == []
        server.restart()
        assert eva.get("/Photos/photo").status_code == 503
        disk.rmdir()
        (tmp_path / "unplugged").rename(disk)
        assert eva.get("/Photos/new").content == b"more light"
        assert [eva.prop(f"/Photos/{name}", "{DAV:}resource-id") for name in ("photo", "new")] == ids
