"""A share on a disk that turns read-only while it is served, as the kernel does when a disk fails."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.faults.small_disk import small_disk
from tests.serving import Server, wait_for

SECONDS = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    under = small_disk(tmp_path / "disk", 16)
    shares = {"pub": {"folder": str(tmp_path / "disk"), "write": ["admin"]}}
    with Server(tmp_path / "data", workers=2, under=under, shares=shares) as server:
        yield server


def remount(server: Server, how: str) -> None:
    """Mount the disk of the share again, in the server's own view of the file system."""
    assert server.process is not None
    enter = ("nsenter", f"--target={server.process.pid}", "--user", "--mount", "--preserve-credentials")
    command = (*enter, "mount", "-o", f"remount,{how}", str(server.data.with_name("disk")))
    subprocess.run(command, check=True, capture_output=True)


def test_a_disk_that_turns_read_only(server: Server) -> None:
    """Reading goes on, writing is put off, and goes on by itself when the disk is mended; other disks are not in it."""
    session = requests.Session()
    session.auth = server.auth("admin")
    top = f"{server.dav('admin')}pub/"

    def status(method: str, path: str, data: bytes | None = None, **headers: str) -> int:
        return session.request(method, f"{top}{path}", data=data, headers=headers, timeout=SECONDS).status_code

    def readiness() -> set[tuple[int, str]]:
        """What both workers say, or at least one of them for many times."""
        answers = [requests.get(f"{server.url}/readyz", timeout=SECONDS) for _ in range(8)]
        return {(answer.status_code, answer.text.splitlines()[0]) for answer in answers}

    assert status("PUT", "file", b"bytes") == 201
    assert status("MKCOL", "folder") == 201
    assert status("PUT", "folder/x", b"x") == 201
    assert readiness() == {(200, "ready")}

    remount(server, "ro")
    writes = [
        ("PUT", "file", b"new", {}),
        ("PUT", "new", b"new", {}),
        ("MKCOL", "another", None, {}),
        ("DELETE", "file", None, {}),
        ("DELETE", "folder", None, {}),
        ("MOVE", "file", None, {"Destination": f"{top}moved"}),
        ("MOVE", "file", None, {"Destination": f"{server.dav('admin')}moved"}),
        ("COPY", "folder", None, {"Destination": f"{top}copied"}),
        ("LOCK", "unmapped", _LOCK, {}),
    ]
    for method, path, data, headers in writes:
        answer = session.request(method, f"{top}{path}", data=data, headers=headers, timeout=SECONDS)
        assert answer.status_code == 503, (method, path, answer.status_code, answer.text)
        assert "read-only" in answer.text
        assert answer.headers["Retry-After"]
    assert session.get(f"{top}file", timeout=SECONDS).content == b"bytes"
    assert status("PROPFIND", "", Depth="1") == 207
    assert status("COPY", "file", Destination=f"{server.dav('admin')}copied") == 201
    assert session.put(f"{server.dav('admin')}own", data=b"own", timeout=SECONDS).status_code == 201
    (told,) = readiness()
    assert told == (503, "share pub: The disk is mounted read-only now; what is there can be read")
    assert requests.get(f"{server.url}/healthz", timeout=SECONDS).status_code == 200

    remount(server, "rw")
    wait_for(lambda: readiness() == {(200, "ready")}, SECONDS, "the server is ready again")
    assert status("PUT", "file", b"new") == 204
    assert status("MOVE", "folder", Destination=f"{top}moved") == 201
    assert session.get(f"{top}file", timeout=SECONDS).content == b"new"
    session.close()
    assert "Traceback" not in server.log.read_text()


_LOCK = (
    b'<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
