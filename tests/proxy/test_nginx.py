"""nginx in front, set up as the README says: everything works as without it."""

import http.client
import itertools
import json
import os
import re
import ssl
import threading
from collections.abc import Iterator

import pytest
import requests

from tests.http.client import basic, etag
from tests.proxy.front import Behind, Nginx
from tests.serving import Server, wait_for

SECONDS = 60
LARGE = os.urandom(1 << 20) * 8


def pieces(body: bytes) -> Iterator[bytes]:
    """A body of unknown length, which requests sends in chunks."""
    for start in range(0, len(body), 300_000):
        yield body[start : start + 300_000]


def test_uploads_and_downloads(alice: Behind, backend: Server) -> None:
    """Large ones with and without a length, and small ones, arrive whole; ETags stay ours."""
    for name, body in (("large", LARGE), ("chunked", pieces(LARGE)), ("small", b"small"), ("empty", b"")):
        answer = alice.put(f"/{name}", body)  # type: ignore[arg-type]
        whole = body if isinstance(body, bytes) else LARGE
        assert (answer.status_code, answer.headers["ETag"]) == (201, etag(whole))
        got = alice.get(f"/{name}")
        assert (got.status_code, got.content, got.headers["ETag"]) == (200, whole, etag(whole))
        assert (backend.home("alice") / alice.top[1:] / name).read_bytes() == whole


def test_a_sync_client_is_told_the_address_of_the_proxy(backend: Server, nginx: Nginx) -> None:
    """For the page where its user signs in, for its polls, and as the server that it connects to."""
    session = requests.Session()
    session.verify, session.trust_env = str(nginx.certificate), False
    origin = f"https://localhost:{nginx.port}"
    asked = session.post(f"{origin}/index.php/login/v2", timeout=SECONDS).json()
    assert asked["login"].startswith(f"{origin}/index.php/login/v2/flow/")
    page = session.get(asked["login"], timeout=SECONDS)
    (token,) = re.findall('name="token" value="([^"]*)"', page.text)
    user, password = backend.auth("alice")
    form = {"token": token, "user": user, "password": password}
    assert session.post(asked["login"], data=form, timeout=SECONDS).status_code == 200
    given = session.post(asked["poll"]["endpoint"], data={"token": asked["poll"]["token"]}, timeout=SECONDS).json()
    assert (given["server"], given["loginName"]) == (origin, "alice")


def test_an_upload_goes_straight_through(alice: Behind, backend: Server, nginx: Nginx) -> None:
    """Its bytes are with the server before the last of them are with nginx."""
    temporary = backend.home("alice") / ".baludav" / "tmp"
    connection = http.client.HTTPSConnection(
        "localhost", nginx.port, timeout=SECONDS, context=ssl.create_default_context(cafile=nginx.certificate)
    )
    connection.putrequest("PUT", f"/dav{alice.top}/slow")
    connection.putheader("Authorization", basic(*backend.auth("alice")))
    connection.putheader("Content-Length", str(len(LARGE)))
    connection.endheaders(LARGE[: 6 << 20])

    def arrived() -> int:
        return sum(file.stat().st_size for file in temporary.iterdir())

    wait_for(lambda: arrived() >= 4 << 20, 30, "the first part of the upload is there")
    connection.send(LARGE[6 << 20 :])
    assert connection.getresponse().status == 201
    connection.close()


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_refused_upload_is_told_so(alice: Behind, *, is_chunked: bool) -> None:
    """The answer arrives although most of the body was not taken, and the file is as it was."""
    alice.put("/file", b"old")

    def body() -> object:
        return pieces(LARGE) if is_chunked else LARGE

    def status(path: str, **fields: str) -> int:
        answer = alice.put(path, body(), **fields)  # type: ignore[arg-type]
        alice.session.close()  # nginx closes the connection soon, so the next request must not use it
        return answer.status_code

    assert status("/file", If_Match='"0"') == 412
    assert status("/missing/file") == 409
    alice.session.auth = ("alice", "wrong")
    assert status("/file") == 401
    alice.session.auth = alice.server.auth("alice")
    assert alice.get("/file").content == b"old"


@pytest.mark.parametrize("host", ["", "nas.example.org"])
def test_move_and_copy_to_where_the_client_believes_to_be(alice: Behind, host: str) -> None:
    """A Destination with https and the name of the proxy, though the server speaks http under another one."""
    fields = {"Host": host} if host else {}
    base = f"https://{host}/dav{alice.top}" if host else alice.url("")
    alice.put("/ä %41", b"bytes")
    for method, source, target in (("MOVE", "/ä %41", "/m%20%C3%B6"), ("COPY", "/m ö", "/c%2525")):
        answer = alice.session.request(
            method, alice.url(source), headers={**fields, "Destination": base + target}, timeout=SECONDS
        )
        assert answer.status_code == 201, answer.text
    assert alice.get("/c%25").content == b"bytes"
    elsewhere = alice("MOVE", "/c%25", Destination="https://other.example.org/dav/x")
    assert elsewhere.status_code == 502


def test_small_answers_come_from_the_hot_lane(alice: Behind, backend: Server) -> None:
    """nginx keeps its connections to the server open, without which every request takes the long way."""
    alice.put("/small", b"bytes")

    def hot_answers() -> float:
        metrics = requests.get(f"{backend.url}/metrics", timeout=SECONDS).text
        (line,) = [line for line in metrics.splitlines() if line.startswith("baludav_hot_answers_total ")]
        return float(line.split()[1])

    before = hot_answers()

    def is_hot() -> bool:
        assert alice.get("/small").content == b"bytes"
        return hot_answers() > before

    wait_for(is_hot, 20, "a file is known to be at rest and answered by the hot lane")


def test_text_is_not_compressed(alice: Behind) -> None:
    """A compressed answer would have a weak ETag, by which no client can protect its upload."""
    body = b"<p>hello</p>" * 1000
    alice.put("/page.html", body)
    got = alice.get("/page.html", Accept_Encoding="gzip")
    assert "Content-Encoding" not in got.headers
    assert got.headers["ETag"] == etag(body)
    assert "sandbox" in got.headers["Content-Security-Policy"]


def test_events_come_at_once(alice: Behind) -> None:
    """Nothing of a stream of events waits in nginx until there is more."""
    with alice.session.get(f"{alice.base}/api/sync/events", stream=True, timeout=SECONDS) as stream:
        lines = stream.iter_lines()
        first = _next_token(lines)
        alice.put("/news", b"news")
        assert _next_token(lines) != first


def test_a_client_can_wait_for_changes(alice: Behind, backend: Server, nginx: Nginx) -> None:
    """The answer to a long poll comes with the change, not at the end of the wait."""
    token = alice.session.get(f"{alice.base}/api/sync/state?limit=1", timeout=SECONDS).json()["change_token"]
    answers: list[requests.Response] = []

    def wait() -> None:
        url = f"{alice.base}/api/sync/changes"
        other = Behind(backend, "alice", alice.base, nginx.certificate)
        answers.append(other.session.get(url, params={"since": token, "wait": "60"}, timeout=SECONDS))

    waiting = threading.Thread(target=wait)
    waiting.start()
    alice.put("/news", b"news")
    waiting.join(50)
    assert answers, "the change was not told in time"
    assert answers[0].json()["changes"][0]["path"] == f"{alice.top}/news"


def _next_token(lines: Iterator[bytes]) -> str:
    """The change token of the next event."""
    line = next(line for line in itertools.islice(lines, 1000) if line.startswith(b"data: "))
    return str(json.loads(line.removeprefix(b"data: "))["change_token"])


def test_who_comes_through_nginx_is_not_this_machine(alice: Behind, backend: Server) -> None:
    """What is told to this machine only stays here, although nginx is on it."""
    assert requests.get(f"{backend.url}/metrics", timeout=SECONDS).status_code == 200
    assert alice.session.get(f"{alice.base}/metrics", timeout=SECONDS).status_code == 404
