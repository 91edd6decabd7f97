"""What README promises: backup and restore, and a lost index."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import requests

from tests.http.client import User, etag
from tests.serving import TOP, Server


def test_backup_while_serving_and_restore(tmp_path: Path) -> None:
    """The copy of index and files brings back accounts, bytes, properties and ids."""
    with Server(tmp_path / "data") as server:
        server.add_user("anna")
        anna = User(server, "anna")
        anna.put("/f", b"precious")
        anna(
            "PROPPATCH", "/f",
            '<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:t">1</a></prop></set></propertyupdate>',
        )  # fmt: skip
        known = [anna.prop("/f", name) for name in ("{DAV:}resource-id", "{urn:t}a", "{DAV:}creationdate")]
        backup = tmp_path / "backup"
        backup.mkdir()
        with (
            closing(sqlite3.connect(server.data / "index.db")) as live,
            closing(sqlite3.connect(backup / "index.db")) as copy,
        ):
            live.backup(copy)
        shutil.copytree(server.data / "files", backup / "files", ignore=shutil.ignore_patterns("tmp"))
        anna.put("/f", b"ruined")
        server.stop()
        shutil.rmtree(server.data / "files")
        for file in server.data.glob("index.db*"):
            file.unlink()
        shutil.copy(backup / "index.db", server.data)
        shutil.copytree(backup / "files", server.data / "files")
        server.baludav("index", "restored")
        server.start()
        answer = anna.get("/f")
        assert (answer.content, answer.headers["ETag"]) == (b"precious", etag(b"precious"))
        assert [anna.prop("/f", name) for name in ("{DAV:}resource-id", "{urn:t}a", "{DAV:}creationdate")] == known
        assert anna.put("/g", b"and on").status_code == 201
        server.baludav("index", "check")


def test_a_lost_index(tmp_path: Path) -> None:
    """The next start makes a new one from the files; only accounts, locks and properties are gone."""
    with Server(tmp_path / "data") as server:
        server.add_user("anna")
        User(server, "anna").put("/f", b"bytes")
        server.stop()
        for file in server.data.glob("index.db*"):
            file.unlink()
        server.start()
        assert requests.get(server.dav("anna") + "f", auth=server.auth("anna"), timeout=30).status_code == 401
        server.add_user("anna")
        assert User(server, "anna").get("/f").headers["ETag"] == etag(b"bytes")


def test_what_a_restore_tells_sync_clients(tmp_path: Path) -> None:
    """Another fingerprint and other tags of collections, while files keep ids and tags; no id is given twice."""
    names = ("{http://owncloud.org/ns}data-fingerprint", "{DAV:}getetag", "{DAV:}sync-token")
    with Server(tmp_path / "data") as server:
        server.add_user("anna")
        anna = User(server, "anna", "", "/remote.php/dav/files/anna")
        kept = anna.put("/kept", b"bytes").headers["OC-FileId"]
        server.stop()
        backup = (server.data / "index.db").read_bytes()
        server.start()
        later = anna.put("/later", b"bytes").headers["OC-FileId"]
        before = [anna.prop("/", name) for name in names]
        failed = subprocess.run(
            [sys.executable, "-m", "baludav", "index", "restored"], env=server.environment, cwd=TOP,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert failed.returncode != 0, "the server runs"
        assert "stop it" in failed.stderr
        server.stop()
        for file in server.data.glob("index.db*"):
            file.unlink()
        (server.data / "index.db").write_bytes(backup)
        (server.home("anna") / "later").unlink()
        server.baludav("index", "restored")
        server.start()
        after = [anna.prop("/", name) for name in names]
        assert all(old != new for old, new in zip(before, after, strict=True))
        assert anna.prop("/kept", "{http://owncloud.org/ns}id") == kept
        assert anna.put("/another", b"bytes").headers["OC-FileId"] != later
