"""Stock WsgiDAV, started from the same configuration file, serves the same tree in one process."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.http.client import etag
from tests.serving import ADMIN_PASSWORD, TOP, free_port, wait_for


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    environment = {
        **os.environ,
        "BALUDAV_DATA": str(tmp_path / "data"),
        "BALUDAV_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "PYTHONPATH": str(TOP),
    }
    subprocess.run([sys.executable, "-m", "baludav", "init"], cwd=TOP, env=environment, check=True, capture_output=True)
    wsgidav = Path(sys.executable).with_name("wsgidav")
    command = [str(wsgidav), "--config", "wsgidav.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=TOP, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(url), 30, "stock WsgiDAV answers")
        yield url + "/dav/"
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_the_same_tree(url: str) -> None:
    """Sign-in, files, ETags, collections, locks and listings, through WsgiDAV's own server."""
    session = requests.Session()
    assert session.request("PROPFIND", url, timeout=30).status_code == 401
    session.auth = ("admin", ADMIN_PASSWORD)
    body = b"x" * 300_000
    assert session.request("MKCOL", url + "c", timeout=30).status_code == 201
    put = session.put(url + "c/f", data=body, timeout=30)
    assert (put.status_code, put.headers["ETag"]) == (201, etag(body))
    assert session.put(url + "c/chunked", data=iter([b"abc", b"def"]), timeout=30).status_code == 201
    assert session.get(url + "c/chunked", timeout=30).content == b"abcdef"
    got = session.get(url + "c/f", headers={"Range": "bytes=5-9"}, timeout=30)
    assert (got.status_code, got.content) == (206, b"xxxxx")
    assert session.get(url + "c/f", timeout=30).content == body
    assert session.put(url + "c/f", data=b"y", headers={"If-Match": '"other"'}, timeout=30).status_code == 412
    listing = session.request("PROPFIND", url + "c", headers={"Depth": "1"}, timeout=30)
    assert listing.status_code == 207
    assert etag(body)[1:-1] in listing.text
    moved = session.request("MOVE", url + "c", headers={"Destination": url + "d"}, timeout=30)
    assert moved.status_code == 201
    assert session.delete(url + "d", timeout=30).status_code == 204


def test_changes_made_outside_are_noticed(url: str, tmp_path: Path) -> None:
    session = requests.Session()
    session.auth = ("admin", ADMIN_PASSWORD)

    def tag() -> str:
        return session.head(url, timeout=30).headers["ETag"]

    assert session.put(url + "f", data=b"f", timeout=30).status_code == 201
    before = tag()
    (tmp_path / "data/files/admin/g").write_bytes(b"g")
    wait_for(lambda: tag() != before, 20, "another ETag of the root")
