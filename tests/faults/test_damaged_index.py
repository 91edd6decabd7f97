"""An index that was lost or damaged while the server was stopped: said, kept, made anew, and no file touched."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.http.client import User, etag
from tests.serving import Server


def _truncate(share: float) -> Callable[[Path], None]:
    def work(file: Path) -> None:
        os.truncate(file, int(file.stat().st_size * share) // 4096 * 4096)

    return work


def _noise(start: int) -> Callable[[Path], None]:
    def work(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.seek(start)
            opened.write(b"\xa5" * (file.stat().st_size - start))

    return work


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "deleted": (Path.unlink, "The index is missing"),
    "empty": (_truncate(0), "The index is missing"),
    "cut in the middle": (_truncate(0.5), "The index is damaged"),
    "noise": (_noise(0), "The index is damaged"),
    "noise behind the schema": (_noise(40_960), "The index is damaged"),
}


def _bytes_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and modification times of everything but temporary files."""
    return {
        str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file() and "tmp" not in file.parts
    }


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A server that was used and is stopped: a file with a version, and one in the trash."""
    server = Server(tmp_path / "data", workers=1)
    with server:
        server.add_user("anna")
        anna = User(server, "anna")
        anna.put("/f", b"first")
        anna.put("/f", b"second")
        anna.put("/deleted", b"deleted")
        anna("DELETE", "/deleted")
        server.stop()
    return server


@pytest.mark.parametrize("name", DAMAGES)
def test_a_lost_index(name: str, server: Server) -> None:
    """Said in plain words; users who are added again have their files, and the past is in their trash."""
    damage, told = DAMAGES[name]
    index = server.data / "index.db"
    damage(index)
    damaged = [index.read_bytes()] if index.exists() else []
    before = _bytes_below(server.data / "files")
    with server:
        log = server.log.read_text()
        assert told in log
        assert "Homes found: admin, anna" in log
        assert "Traceback" not in log
        assert [file.read_bytes() for file in server.data.glob("index.db-damaged-*Z")] == damaged
        assert requests.get(server.dav("anna") + "f", auth=server.auth("anna"), timeout=30).status_code == 401
        server.add_user("anna")
        anna = User(server, "anna")
        answer = anna.get("/f")
        assert (answer.content, answer.headers["ETag"]) == (b"second", etag(b"second"))
        assert _bytes_below(server.data / "files") == before
        assert "\tindex-lost\t" in server.baludav("audit")
        server.restart()
        anna = User(server, "anna")
        assert anna.get("/f").content == b"second"
        trash = requests.get(f"{server.url}/api/sync/trash", auth=server.auth("anna"), timeout=30).json()
        assert sorted(entry["size"] for entry in trash["entries"]) == [5, 7]
        assert _bytes_below(server.data / "files") == before
        server.baludav("index", "check")


def test_a_damaged_log(server: Server) -> None:
    """Commits may be missing: the log is kept, and what clients remember of the index says nothing any more."""
    with server:
        old = requests.get(f"{server.url}/api/sync/state", auth=server.auth("anna"), timeout=30).json()["change_token"]
        User(server, "anna").put("/g", b"in the log only")
        server.kill()
        wal = server.data / "index.db-wal"
        assert wal.stat().st_size
        _noise(0)(wal)
        damaged = wal.read_bytes()
        server.start()
        assert "The index has lost its last changes" in server.log.read_text()
        assert [file.read_bytes() for file in server.data.glob("index.db-damaged-*-wal")] == [damaged]
        anna = User(server, "anna")
        assert anna.get("/f").content == b"second"
        assert anna.get("/g").content == b"in the log only"
        since = requests.get(
            f"{server.url}/api/sync/changes", params={"since": old}, auth=server.auth("anna"), timeout=30
        )
        assert since.status_code == 410
        server.baludav("index", "rebuild")
        server.baludav("index", "check")


def test_a_command_on_a_damaged_index(server: Server) -> None:
    """It says what is wrong in a line, and leaves the file alone."""
    index = server.data / "index.db"
    _noise(0)(index)
    damaged = index.read_bytes()
    with pytest.raises(AssertionError, match="baludav: The index cannot be read"):
        server.baludav("user", "list")
    assert index.read_bytes() == damaged
