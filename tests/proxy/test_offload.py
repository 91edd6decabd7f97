"""Large files sent by nginx: the client cannot tell, but for the speed."""

import contextlib
import itertools
import json
import os
import re
import threading
import time
import unicodedata
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from tests.http.client import User, etag
from tests.proxy.conftest import places
from tests.proxy.front import Behind, Nginx
from tests.serving import Server, wait_for

SECONDS = 60
LONG_AGO = 1_700_000_000
LARGE = os.urandom(1 << 20) * 2 + b"end"
NAMES = [
    "plain.bin", "percent %41%2f%", "question?a=b", "hash#1", "a+b&c;d,e=f@g:h", "'single' \"double\"", "back\\slash",
    "<angle> {curly} [square] |^`~", " blanks  around ", "..dots..", ".hidden", "-dash", "~tilde", "*star*", "$money$",
    "ä NFC", "a\u0308 NFD", "日本語", "🎉", "e\u0301\u0323", "soft\u00adhyphen", "right\u202eleft", "n" * 255,
    "index.html", "page.php",
]  # fmt: skip
PAGES = {"page.html": "text/html", "picture.svg": "image/svg+xml", "film.mp4": "video/mp4", "unknown.zzz": ""}


def settled(user: Behind, nginx: Nginx, path: str) -> None:
    """Wait until a file was not changed for so long that nginx may send it."""

    def is_sent() -> bool:
        assert user.get(path).status_code == 200
        return nginx.told(user) != "-"

    wait_for(is_sent, 20, "the file is sent by nginx")


def quote_all(name: str) -> str:
    """A name as it is sent to nginx: composed, with all but what never means anything encoded."""
    return quote(unicodedata.normalize("NFC", name), safe="()")


@pytest.mark.parametrize("place", ["", "/photos"])
def test_any_name_can_be_sent_by_nginx(alice: Behind, nginx: Nginx, place: str) -> None:
    """Each name leads to its own file, in a home and in a share."""
    if place:
        alice.top = place
    for number, name in enumerate(NAMES):
        body = LARGE + str(number).encode()
        assert alice.put(f"/{name}", body, X_OC_Mtime=str(LONG_AGO)).status_code == 201, name
    settled(alice, nginx, f"/{NAMES[-1]}")
    for number, name in enumerate(NAMES):
        got = alice.get(f"/{name}")
        assert (got.status_code, got.headers.get("ETag")) == (200, etag(LARGE + str(number).encode())), name
        assert got.content == LARGE + str(number).encode()
        where = "share/photos/" if place else f"home/alice{alice.top}/"
        assert nginx.told(alice) == f"/baludav/{where}{quote_all(name)}", name


@pytest.fixture(scope="module")
def at_rest(backend: Server, nginx: Nginx) -> Behind:
    """Alice behind nginx, in a collection with files that nginx may send."""
    alice = Behind(backend, "alice", f"https://localhost:{nginx.port}", nginx.certificate, "/at-rest")
    assert alice("MKCOL", "").status_code == 201
    for name in ("f.txt", *PAGES):
        alice.put(f"/{name}", LARGE, X_OC_Mtime=str(LONG_AGO))
    settled(alice, nginx, f"/{name}")
    return alice


@pytest.mark.parametrize("name", PAGES)
def test_the_answer_is_as_without_nginx(at_rest: Behind, nginx: Nginx, backend: Server, name: str) -> None:
    """All fields, also those that keep a browser from running what somebody has uploaded."""
    got = at_rest.get(f"/{name}")
    assert nginx.told(at_rest) == f"/baludav/home/alice/at-rest/{name}"
    head = at_rest("HEAD", f"/{name}")
    direct = User(backend, "alice", at_rest.top).get(f"/{name}")
    assert got.content == direct.content == LARGE
    assert shown(got) == shown(head) == shown(direct)
    assert got.headers["Content-Type"].startswith(PAGES[name])
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in got.headers["Content-Security-Policy"]


def shown(answer: requests.Response) -> dict[str, str]:
    """Fields of an answer that are about the resource."""
    connection = {"date", "server", "connection", "keep-alive"}
    return {name.lower(): value for name, value in answer.headers.items() if name.lower() not in connection}


ASKED: list[tuple[dict[str, str], bool]] = [
    ({}, True),
    ({"Range": "bytes=5-"}, True),
    ({"Range": "bytes=-1500000"}, True),
    ({"Range": "bytes=100-1900000"}, True),
    ({"Range": "bytes=0-99999999"}, True),
    ({"Range": "bytes=0-99"}, False),  # small
    ({"Range": "bytes=0-1500000,2-1600000"}, False),
    ({"Range": "bytes=0-500000,1000000-1900000"}, False),
    ({"Range": "bytes=5-1"}, False),
    ({"Range": "bytes=99999999-"}, False),
    ({"Range": "bytes=-0"}, False),
    ({"Range": "pages=1-2"}, False),
    ({"Range": "bytes=5-", "If-Range": "TAG"}, True),
    ({"Range": "bytes=5-", "If-Range": '"other"'}, False),
    ({"Range": "bytes=5-", "If-Range": "W/TAG"}, False),
    ({"Range": "bytes=5-", "If-Range": "TIME"}, True),
    ({"Range": "bytes=5-", "If-Range": formatdate(LONG_AGO - 1, usegmt=True)}, False),
    ({"If-Range": '"other"'}, True),
    ({"If-None-Match": "TAG"}, False),
    ({"If-None-Match": '"other"'}, True),
    ({"If-None-Match": "*"}, False),
    ({"If-None-Match": '"other"', "If-Modified-Since": "TIME"}, True),
    ({"If-Modified-Since": "TIME"}, False),
    ({"If-Modified-Since": formatdate(LONG_AGO - 1, usegmt=True)}, True),
    ({"If-Match": "TAG"}, False),
    ({"If-Match": "*"}, False),
    ({"If-Match": '"other"'}, False),
    ({"If-Unmodified-Since": "TIME"}, False),
    ({"If-Unmodified-Since": formatdate(LONG_AGO - 1, usegmt=True)}, False),
    ({"If-Match": "TAG", "Range": "bytes=5-"}, False),
    ({"Want-Repr-Digest": "sha-256=1"}, False),
    ({"Want-Content-Digest": "sha-256=1"}, False),
    ({"If": "(<DAV:no-lock>)"}, False),
    ({"If": "([TAG])"}, True),
    ({"Accept-Encoding": "gzip"}, True),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "by_nginx"), ASKED, ids=[str(fields) for fields, _ in ASKED])
def test_conditions_and_ranges(
    at_rest: Behind, nginx: Nginx, backend: Server, fields: dict[str, str], *, by_nginx: bool
) -> None:
    """Whoever sends the bytes: the same status, fields and bytes as without nginx."""
    headers = stated(fields)
    got, direct = (who.get("/f.txt", **headers) for who in (at_rest, User(backend, "alice", at_rest.top)))
    assert (got.status_code, plain(got)) == (direct.status_code, plain(direct))
    assert (nginx.told(at_rest) != "-") is by_nginx


def stated(fields: dict[str, str]) -> dict[str, str]:
    """Fields of ASKED, as a user takes them, with the entity-tag and the time of LARGE."""
    words = {"TAG": etag(LARGE), "TIME": formatdate(LONG_AGO, usegmt=True)}
    return {
        name.replace("-", "_"): re.sub("TAG|TIME", lambda found: words[found[0]], value)
        for name, value in fields.items()
    }


def plain(answer: requests.Response) -> tuple[dict[str, str], bytes]:
    """Fields and bytes without what differs from answer to answer."""
    fields, body = shown(answer), answer.content
    kind, _, boundary = fields.get("content-type", "").partition("boundary=")
    if boundary:
        fields["content-type"] = kind
        body = body.replace(boundary.encode(), b"")
    if answer.status_code == 206:
        fields.pop("accept-ranges", None)  # nginx leaves it out of an answer that shows it anyway
    return fields, body


def test_what_stays_with_the_server(alice: Behind, nginx: Nginx) -> None:
    """Small files, files that were just written, and paths that are too long for nginx."""
    alice.put("/small", b"small", X_OC_Mtime=str(LONG_AGO))
    deep = ""
    for _ in range(6):
        deep += "/" + "日本語" * 20
        assert alice("MKCOL", deep).status_code == 201
    alice.put(f"{deep}/file", LARGE, X_OC_Mtime=str(LONG_AGO))
    alice.put("/settled", LARGE, X_OC_Mtime=str(LONG_AGO))
    settled(alice, nginx, "/settled")
    alice.put("/new", LARGE, X_OC_Mtime=str(LONG_AGO))
    for path, body in (("/small", b"small"), ("/new", LARGE), (f"{deep}/file", LARGE)):
        assert alice.get(path).content == body
        assert nginx.told(alice) == "-"


def test_only_the_server_leads_into_the_folders(at_rest: Behind, nginx: Nginx) -> None:
    """Whoever asks nginx for what it has been told gets nothing."""
    assert at_rest.get("/f.txt").status_code == 200
    inside = nginx.told(at_rest)
    for path in (inside, "/baludav/home/alice/", "/baludav/", "/baludav", f"/dav/..%2f..{inside}", f"/x/..{inside}"):
        answer = at_rest.session.get(f"{at_rest.base}{path}", timeout=SECONDS)
        assert answer.status_code in (400, 404)
        assert LARGE[:100] not in answer.content


def test_others_see_nothing(at_rest: Behind, nginx: Nginx, backend: Server) -> None:
    """Who may have a file is decided before nginx is told anything."""
    for auth, status in ((None, 401), (backend.auth("admin"), 404)):
        other = Behind(backend, "admin", at_rest.base, nginx.certificate, at_rest.top)
        other.session.auth = auth
        assert other.get("/f.txt").status_code == status
        assert nginx.told(other) == "-"
    admin = Behind(backend, "admin", at_rest.base, nginx.certificate, f"/homes/alice{at_rest.top}")
    assert admin.get("/f.txt").content == LARGE
    assert nginx.told(admin) == f"/baludav/home/alice{at_rest.top}/f.txt"


OFFLOADS = ("/baludav", "x-sendfile")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], User]]:
    """An admin with a file at rest, by the proxy that the server trusts and by the key `offload`."""
    found, folder = {}, tmp_path_factory.mktemp("trusting")
    with contextlib.ExitStack() as stack:
        for number, (trusted, offload) in enumerate(itertools.product(("127.0.0.1", "192.0.2.1"), OFFLOADS)):
            environment = {"BALUDAV_TRUSTED_PROXIES": json.dumps([trusted]), "BALUDAV_OFFLOAD": offload}
            server = stack.enter_context(Server(folder / f"{number}", workers=1, environment=environment))
            found[trusted, offload] = admin = User(server, "admin")
            admin.put("/f", LARGE, X_OC_Mtime=str(LONG_AGO))
            ctime = (server.home("admin") / "f").stat().st_ctime
        wait_for(lambda: time.time() > ctime + 3, 10, "the last file is at rest")
        yield found


@pytest.mark.parametrize("offload", OFFLOADS)
@pytest.mark.parametrize(
    ("trusted", "fields", "is_told"),
    [
        ("127.0.0.1", {}, False),  # a client on the same machine
        ("192.0.2.1", {"X-Forwarded-For": "192.0.2.1"}, False),  # a client that lies
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, True),
    ],
)
def test_who_is_no_trusted_proxy_gets_the_bytes(
    behind: dict[tuple[str, str], User], offload: str, trusted: str, fields: dict[str, str], *, is_told: bool
) -> None:
    """Nobody else ever sees where a file lies, or is left without its bytes."""
    admin = behind[trusted, offload]
    got = admin.session.get(admin.url("/f"), headers=fields, timeout=SECONDS)
    assert any(name.startswith(("X-Accel", "X-Send")) for name in got.headers) is is_told
    assert got.content == (b"" if is_told else LARGE)
    assert got.headers["ETag"] == etag(LARGE)


class Liar:
    """A server that tells nginx to send what has changed since it looked."""

    def __init__(self) -> None:
        answers: dict[str, dict[str, str]] = {}
        connections: set[int] = set()
        self.answers, self.connections = answers, connections

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                connections.add(self.client_address[1])
                self.send_response(200)
                for name, value in {**answers[self.path], "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def liar() -> Iterator[Liar]:
    liar = Liar()
    yield liar
    liar.close()


def test_what_was_swapped_in_the_meantime(tmp_path: Path, liar: Liar, backend: Server) -> None:
    """Between the server's look and nginx's: a link is not followed, and a new file does not get the old ETag.

    Being told does not cost nginx its connection to the server, either.
    """
    home = tmp_path / "files" / "alice"
    home.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (home / "link").symlink_to(tmp_path / "secret")
    (home / "folder").symlink_to(tmp_path)
    (home / "file").write_bytes(b"bytes")
    os.utime(home / "file", (LONG_AGO, LONG_AGO))
    os.mkfifo(home / "pipe")
    right, wrong = f'"{LONG_AGO:x}-5"', f'"{LONG_AGO:x}-6"'
    paths = {**places(backend), "/srv/baludav/data/files/": f"{tmp_path}/files/"}
    with Nginx(tmp_path / "nginx", f"127.0.0.1:{liar.server.server_port}", paths) as nginx:

        def get(name: str, opened: str, **fields: str) -> requests.Response:
            liar.answers["/"] = {
                "ETag": '"ours"', "X-Accel-Redirect": f"/baludav/home/alice/{name}", "X-Accel-ETag": opened
            }  # fmt: skip
            return requests.get(
                f"https://localhost:{nginx.port}/", verify=str(nginx.certificate), headers=fields, timeout=SECONDS
            )

        assert get("file", right).headers["ETag"] == '"ours"'
        replaced = get("file", wrong)
        assert (replaced.status_code, replaced.content) == (200, b"bytes")
        assert "ETag" not in replaced.headers
        assert get("file", right, Range="bytes=1-", **{"If-Range": '"ours"'}).content == b"ytes"
        assert get("file", wrong, Range="bytes=1-", **{"If-Range": '"ours"'}).content == b"bytes", "of another file"
        assert len(liar.connections) <= 2, "each of the two processes of nginx keeps one connection"
        for name in ("link", "folder/secret", "pipe", "gone", "folder", "../bob/file", ".."):
            answer = get(name, right)
            assert answer.status_code in (403, 404, 500), name
            assert "secret" not in answer.text
            assert str(tmp_path) not in answer.text + str(answer.headers)
