"""The trash as sync clients see it: listed, read, restored and emptied over DAV."""

import itertools
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
import requests

from tests.http.client import Found, User
from tests.http.cloud.conftest import by_cloud
from tests.serving import Server

OC = "{http://owncloud.org/ns}"
NC = "{http://nextcloud.org/ns}"
_numbers = itertools.count()
PROPFIND = (
    '<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns"><d:prop>'
    "<d:resourcetype/><d:getcontentlength/><d:getlastmodified/><d:getcontenttype/><d:getetag/><oc:id/><oc:fileid/>"
    "<oc:size/><nc:trashbin-filename/><nc:trashbin-original-location/><nc:trashbin-deletion-time/><nc:has-preview/>"
    "</d:prop></d:propfind>"
)


class Trash(User):
    """A user of the process' server whom no other test uses, by the path of the trash."""

    def __init__(self, server: Server, name: str) -> None:
        server.add_user(name)
        super().__init__(server, name, "", f"/remote.php/dav/trashbin/{name}")
        self.files = by_cloud(server, name)

    def entries(self) -> dict[str, Found]:
        """What lies in it, by the path in the trash."""
        found = self.propfind("/trash", PROPFIND, "1")
        assert found.pop("/trash").get("{DAV:}resourcetype") is not None
        return found

    def path_of(self, location: str) -> str:
        """The path in the trash of what was there."""
        (path,) = [
            path for path, one in self.entries().items() if one.text(NC + "trashbin-original-location") == location
        ]
        return path

    def restore(self, path: str, name: str = "x") -> requests.Response:
        return self("MOVE", path, Destination=f"/restore/{name}")


@pytest.fixture
def trash(server: Server) -> Trash:
    return Trash(server, f"trash-{next(_numbers)}")


def test_what_a_listing_says(trash: Trash) -> None:
    """Where each thing was, when it was deleted, and what it is."""
    number = trash.files.put("/a & b.txt", b"12345").headers["OC-FileId"]
    trash.files("MKCOL", "/in")
    trash.files.put("/in/d", b"123")
    for path in ("/a & b.txt", "/in"):
        assert trash.files("DELETE", path).status_code == 204
    found = {one.text(NC + "trashbin-filename"): one for one in trash.entries().values()}
    file, collection = found["a & b.txt"], found["in"]
    assert (file.text(OC + "id"), file.text("{DAV:}getcontentlength")) == (number, "5")
    assert (file.text(OC + "size"), collection.text(OC + "size")) == ("5", "3")
    assert file.text("{DAV:}getcontenttype") == "text/plain"
    assert int(file.text(NC + "trashbin-deletion-time") or "") > 1_700_000_000
    (resource_type,) = collection.get("{DAV:}resourcetype") or ()
    assert resource_type.tag == "{DAV:}collection"
    assert collection.get("{DAV:}getcontentlength") is None
    assert file.props[NC + "has-preview"][0] == 404
    assert set(trash.propfind("", PROPFIND, "1")) == {"/", "/trash", "/restore"}
    assert set(trash.propfind("/trash", PROPFIND)) == {"/trash"}
    assert set(trash.propfind(trash.path_of("in"), "", "1")) == {trash.path_of("in")}


def test_something_is_restored(trash: Trash) -> None:
    """To where it was, with its id and all below it, whatever the name of the destination."""
    trash.files("MKCOL", "/in")
    number = trash.files.put("/in/f", b"bytes").headers["OC-FileId"]
    trash.files("DELETE", "/in")
    answer = trash.restore(trash.path_of("in"))
    assert answer.status_code == 201
    assert answer.headers["Location"].rstrip("/") == f"{trash.files.mount}/in"
    again = trash.files.get("/in/f")
    assert (again.content, again.headers["OC-FileId"]) == (b"bytes", number)
    assert trash.entries() == {}


def test_it_never_overwrites(trash: Trash) -> None:
    trash.files.put("/f", b"deleted")
    trash.files("MKCOL", "/elsewhere")
    trash.files("MOVE", "/f", Destination="/elsewhere/f")
    trash.files("DELETE", "/elsewhere")
    path = trash.path_of("elsewhere")
    trash.files.put("/elsewhere", b"in its place")
    back = trash.restore(path)
    assert unquote(back.headers["Location"]).rstrip("/") == f"{trash.files.mount}/elsewhere (restored)"
    assert trash.files.get("/elsewhere").content == b"in its place"
    assert trash.files.get("/elsewhere (restored)/f").content == b"deleted"


def test_two_of_one_name(trash: Trash) -> None:
    """Each is told from the other, and keeps its own bytes; both come back."""
    for body in (b"first", b"second"):
        trash.files("MKCOL", "/d")
        trash.files.put("/d/f", body)
        trash.files("DELETE", "/d")
    paths = sorted(trash.entries())
    assert len(paths) == 2
    for path in paths:
        assert trash.restore(path).status_code == 201
    assert {trash.files.get(path).content for path in ("/d/f", "/d (restored)/f")} == {b"first", b"second"}


def test_bytes_are_read(trash: Trash) -> None:
    trash.files.put("/f.html", b"<script>")
    trash.files("DELETE", "/f.html")
    path = trash.path_of("f.html")
    got = trash.get(path)
    assert (got.status_code, got.content, got.headers["Content-Type"]) == (200, b"<script>", "text/html")
    assert "sandbox" in got.headers["Content-Security-Policy"]
    head = trash("HEAD", path)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "8", b"")


def test_something_is_removed_for_good(server: Server, trash: Trash) -> None:
    kept = server.home(trash.name) / ".baludav" / "kept"
    for name in ("a", "b"):
        trash.files.put(f"/{name}", b"bytes")
        trash.files("DELETE", f"/{name}")
    path = trash.path_of("a")
    assert trash("DELETE", path).status_code == 204
    assert trash("DELETE", path).status_code == 404
    assert trash.restore(path).status_code == 404
    assert len(list(kept.iterdir())) == 1
    assert [one.text(NC + "trashbin-filename") for one in trash.entries().values()] == ["b"]


def test_the_whole_is_emptied(server: Server, trash: Trash) -> None:
    kept = server.home(trash.name) / ".baludav" / "kept"
    for number in range(5):
        trash.files("MKCOL", f"/{number}")
        trash.files.put(f"/{number}/f", b"bytes")
        trash.files("DELETE", f"/{number}")
    trash.files.put("/stays", b"1")
    assert trash("DELETE", "/trash").status_code == 204
    assert trash.entries() == {}
    assert list(kept.iterdir()) == []
    assert trash.files.get("/stays").content == b"1"
    assert trash("DELETE", "/trash").status_code == 204


def test_awkward_names(trash: Trash) -> None:
    """The longest that a disk can hold, with what a number adds to it, and names that look like one in the trash."""
    names = ["x" * 255, "ü" * 127, "f.d12", ".d", " %41?#;", "<&>\"'"]
    for name in names:
        assert trash.files.put(f"/{name}", name.encode()).status_code == 201
        assert trash.files("DELETE", f"/{name}").status_code == 204
    for name in names:
        path = trash.path_of(name)
        assert trash.get(path).content == name.encode()
        assert trash.restore(path).status_code == 201
    assert {path[1:] for path in trash.files.propfind("", "", "1")} - {""} == set(names)


@pytest.mark.parametrize(
    "path", ["/trash/f", "/trash/f.d", "/trash/f.d999999", "/trash/g.d", "/trash/f.dx", "/trash/f.d-1"]
)
def test_what_is_not_there(trash: Trash, path: str) -> None:
    """A number alone is not enough: the name belongs to it."""
    trash.files.put("/f", b"1")
    trash.files("DELETE", "/f")
    number = trash.path_of("f").rpartition(".d")[2]
    path = path.replace("g.d", f"g.d{number}")
    assert trash.get(path).status_code == 404
    assert trash("DELETE", path).status_code == 404
    assert trash.restore(path).status_code == 404
    assert trash("PROPFIND", path, Depth="0").status_code == 404


def test_where_it_cannot_go(trash: Trash) -> None:
    trash.files.put("/f", b"1")
    trash.files("DELETE", "/f")
    path = trash.path_of("f")
    for destination, status in (
        ("/trash/x", 409),
        ("/restore", 409),
        ("/restore/a/b", 409),
        (f"{trash.server.url}/remote.php/dav/files/{trash.name}/f", 502),
    ):
        assert trash("MOVE", path, Destination=destination).status_code == status, destination
    assert trash("MOVE", path).status_code == 400
    assert trash("PUT", "/trash/new", b"x").status_code == 405
    assert trash("DELETE", "").status_code == 405
    assert trash.restore(path).status_code == 201


def test_it_is_nobody_elses(server: Server, trash: Trash) -> None:
    trash.files.put("/f", b"secret")
    trash.files("DELETE", "/f")
    path = trash.path_of("f")
    for mount in (trash.mount, "/remote.php/dav/trashbin/alice"):
        alice = User(server, "alice", "", mount)
        for method in ("PROPFIND", "GET", "DELETE", "MOVE"):
            assert alice(method, path, Destination="/restore/f").status_code == 404, (mount, method)
    assert requests.request("PROPFIND", trash.url("/trash"), timeout=60).status_code == 401
    assert trash.get(path).content == b"secret"


def test_shares(office: Server) -> None:
    """What was deleted in a share is there for all who may write in it, and for nobody else."""
    anna, admin = by_cloud(office, "anna"), by_cloud(office, "admin")
    anna.put("/Team/gone", b"1")
    anna("DELETE", "/Team/gone")
    admin.put("/Paper/gone too", b"1")
    admin("DELETE", "/Paper/gone too")
    found = {}
    for name in ("anna", "admin"):
        answer = User(office, name, "", f"/remote.php/dav/trashbin/{name}")("PROPFIND", "/trash", PROPFIND, Depth="1")
        root = ElementTree.fromstring(answer.content)  # noqa: S314 - our own server's
        found[name] = {one.text for one in root.iter(NC + "trashbin-original-location") if one.text}
    assert found == {"anna": {"Team/gone"}, "admin": {"Team/gone", "Paper/gone too"}}


def test_options_are_told(trash: Trash) -> None:
    answer = requests.options(trash.url("/trash"), timeout=60)
    assert (answer.status_code, "MOVE" in answer.headers["Allow"]) == (200, True)
