"""A server whose system refuses it something: a clear status, everything as it was, and work goes on afterwards."""

import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.small_disk import small_disk
from tests.http.client import SECONDS, User
from tests.server.conftest import receive_all
from tests.serving import Server, wait_for

PROPPATCH = '<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:t">%s</a></prop></set></propertyupdate>' % (
    "x" * 50_000
)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[User, Path]]:
    """A user of a server whose data folder is a small disk in memory, and a file on it for others to fill it with."""
    server = Server(tmp_path / "disk/data", under=small_disk(tmp_path / "disk", 24))
    server.log = tmp_path / "log"
    with server:
        assert server.process is not None
        before = server.pids()
        yield User(server, "admin"), Path(f"/proc/{server.process.pid}/root{tmp_path}/disk/filler")
        assert server.pids() == before, "no worker died"


def _fill(file: Path) -> None:
    """Take all that is left of a disk."""
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as out:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while out.write(bytes(size)):
                    pass


def _ready(user: User) -> tuple[int, str]:
    """Status and first line of what monitoring is told."""
    answer = user.session.get(f"{user.server.url}/readyz", timeout=SECONDS)
    return answer.status_code, answer.text.splitlines()[0]


def test_a_disk_that_others_have_filled_to_the_last_byte(full: tuple[User, Path]) -> None:
    """Not even the index can write: each change is answered 507, what is there is read, and later all is well."""
    admin, filler = full
    chunks = User(admin.server, "admin", mount="/remote.php/dav/uploads/admin")
    tus = User(admin.server, "admin", mount="/uploads")
    admin.put("/f", b"old")
    admin("PROPPATCH", "/f", PROPPATCH.replace("x" * 50_000, "old"))
    admin("MKCOL", "/d")
    chunks("MKCOL", "/u")
    new = b"n" * 300_000
    assert _ready(admin) == (200, "ready")
    _fill(filler)
    assert _ready(admin) == (503, "index: The disk is full.")
    changes = [
        ("PUT", "/f", new, {}),
        ("PUT", "/new", new, {}),
        ("PUT", "/chunked", iter([new] * 10), {}),
        ("PUT", "/empty", b"", {}),
        ("PATCH", "/f", new, {"X_Update_Range": "append", "Content_Type": "application/x-sabredav-partialupdate"}),
        ("COPY", "/f", None, {"Destination": "/copy"}),
        ("COPY", "/d", None, {"Destination": "/copied"}),
        ("MKCOL", "/made", None, {}),
        ("PROPPATCH", "/f", PROPPATCH.encode(), {}),
    ]
    for method, path, body, fields in changes:
        answer = admin(method, path, body, **fields)
        assert answer.status_code == 507, (method, path, answer.status_code, answer.text)
        assert "disk is full" in answer.text
    assert chunks("PUT", "/u/1", new).status_code == 507
    fields = {"Tus_Resumable": "1.0.0", "Upload_Length": "300000", "Upload_Metadata": "path L3R1cw=="}
    assert tus("POST", "/", new, Content_Type="application/offset+octet-stream", **fields).status_code == 507
    assert admin.try_lock("/f").status_code in (200, 507)
    assert admin.try_lock("/locked").status_code in (201, 507)
    assert admin.get("/f").content == b"old"
    assert admin.prop("/f", "{urn:t}a") == "old"
    assert set(admin.propfind("/", depth="1")) - {"/homes", "/locked"} == {"/", "/f", "/d"}
    filler.unlink()
    for user in (admin, chunks):
        user.session.close()
    home = Path(f"{filler.parent}/data/files/admin")
    assert {path.name for path in home.iterdir()} - {".baludav", "locked"} == {"f", "d"}
    assert not [path for path in home.glob(".baludav/tmp/*") if path.stat().st_size], "no debris"
    assert admin.put("/f", new).status_code in (204, 423)
    assert admin("COPY", "/d", Destination="/copied").status_code == 201
    assert chunks("PUT", "/u/1", new).status_code == 201
    assert chunks("MOVE", "/u/.file", Destination=f"{admin.server.url}/remote.php/dav/files/admin/g").status_code == 201
    assert admin.get("/g").content == new
    assert "Traceback" not in admin.server.log.read_text()


def test_no_more_files_can_be_opened(tmp_path: Path) -> None:
    """What needs one more than there is gets 503, and nothing is lost or left behind."""
    with Server(tmp_path / "data", workers=1) as server:
        server.add_user("anna")
        anna = User(server, "anna")
        anna.put("/f", b"old")
        anna.put("/large", b"x" * 300_000)
        (worker,) = server.pids()[1:]
        before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        held = len(os.listdir(f"/proc/{worker}/fd"))
        with contextlib.ExitStack() as stack:
            # Two more than it has: what needs a third cannot be done.
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (held + 2, before[1]))
            stack.callback(resource.prlimit, worker, resource.RLIMIT_NOFILE, before)
            statuses = []
            for number in range(10):
                for method, path, body, fields in (
                    ("PUT", f"/new-{number}", b"new", {}),
                    ("PUT", "/f", b"new", {"If-Match": '"none"'}),
                    ("GET", "/large", None, {}),
                    ("COPY", "/large", None, {"Destination": f"/copy-{number}"}),
                    ("MKCOL", f"/made-{number}", None, {}),
                    ("PROPFIND", "/", None, {"Depth": "1"}),
                    ("DELETE", f"/new-{number}", None, {}),
                ):
                    answer = anna(method, path, body, **fields)
                    assert answer.status_code in {200, 201, 204, 207, 404, 412, 503}, (method, path, answer.text)
                    statuses.append(answer.status_code)
                    if method == "GET" and answer.status_code == 200:
                        assert answer.content == b"x" * 300_000
                with (
                    contextlib.suppress(TimeoutError),
                    socket.create_connection(("127.0.0.1", server.port), 0.2) as more,
                ):
                    more.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    assert receive_all(more)[:12] in (b"", b"HTTP/1.1 200", b"HTTP/1.1 503")
            assert 503 in statuses
        wait_for(lambda: User(server, "anna").put("/again", b"again").status_code in (201, 204), SECONDS, "it goes on")
        assert anna.get("/f").content == b"old"
        assert server.pids()[1:] == [worker], "the same worker as before"
        seen = set(anna.propfind("/", depth="1")) - {"/"}
        on_disk = {f"/{path.name}" for path in server.home("anna").iterdir() if path.name != ".baludav"}
        assert seen == on_disk
        assert not [path for path in server.home("anna").glob(".baludav/tmp/*") if path.is_file()], "no debris"
        assert "Traceback" not in server.log.read_text()
