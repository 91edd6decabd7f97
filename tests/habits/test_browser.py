"""Apps that run in a browser: what the browser asks before it lets a page use a server of another origin."""

from collections.abc import Iterator

import pytest
import requests

from tests.http.client import SECONDS, User, etag
from tests.serving import Server

APP = "https://app.example.org"
OBSIDIAN = "app://obsidian.md"
OTHER = "https://elsewhere.example.org"
TASK = {"Access-Control-Request-Method": "PROPFIND", "Access-Control-Request-Headers": "authorization,depth,x-app"}


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that two apps may use."""
    environment = {"BALUDAV_CORS_ORIGINS": f'["{APP}", "{OBSIDIAN}"]'}
    with Server(tmp_path_factory.mktemp("cors") / "data", workers=1, environment=environment) as server:
        server.add_user("alice")
        yield server


def _preflight(server: Server, origin: str, path: str = "/dav/notes") -> requests.Response:
    return requests.options(f"{server.url}{path}", headers={"Origin": origin, **TASK}, timeout=SECONDS)


@pytest.mark.parametrize("origin", [APP, OBSIDIAN])
@pytest.mark.parametrize("path", ["/dav/notes", "/remote.php/dav/files/alice/notes", "/api/sync/changes", "/uploads/"])
def test_an_app_that_is_allowed(open_server: Server, origin: str, path: str) -> None:
    """The browser asks without a password, and hears what may be sent and what may be read."""
    answer = _preflight(open_server, origin, path)
    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "PROPFIND" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == TASK["Access-Control-Request-Headers"]
    assert "Origin" in answer.headers["Vary"].split(", ")
    assert "Access-Control-Allow-Credentials" not in answer.headers, "what the browser remembers is not for the page"


def test_an_app_at_work(open_server: Server) -> None:
    """Notes are made, listed, read and saved; it sees statuses and ETags, also of what fails."""
    alice = User(open_server, "alice", "/notes")

    def ask(method: str, path: str, status: int, data: bytes = b"", **fields: str) -> requests.Response:
        answer = alice(method, path, data, Origin=APP, Sec_Fetch_Site="cross-site", **fields)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == APP
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert "Upload-Offset" in answer.headers["Access-Control-Expose-Headers"]
        assert "Origin" in answer.headers["Vary"].split(", ")
        return answer

    ask("MKCOL", "", 201)
    ask("GET", "/a.md", 404)
    ask("PUT", "/a.md", 201, b"note", If_None_Match="*")
    ask("PUT", "/a.md", 412, b"note 2", If_None_Match="*")
    ask("PUT", "/a.md", 204, b"note 2", If_Match=etag(b"note"))
    for _ in range(3):  # the hot lane knows it then
        assert ask("GET", "/a.md", 200).content == b"note 2"
        ask("GET", "/a.md", 304, If_None_Match=etag(b"note 2"))
        assert "/notes/a.md" in ask("PROPFIND", "", 207, Depth="1").text
    answer = requests.post(
        f"{open_server.url}/uploads/", auth=open_server.auth("alice"), timeout=SECONDS,
        headers={"Origin": APP, "Tus-Resumable": "1.0.0", "Upload-Length": "4", "Upload-Metadata": "path L25vdGVzL2I="},
    )  # fmt: skip
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (201, APP)
    assert {"Location", "Upload-Offset"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    alice.session.auth = None
    ask("GET", "/a.md", 401)
    answer = requests.post(
        f"{open_server.url}/api/sync/devices", json={"name": "app", "device_type": "desktop"},
        headers={"Origin": APP, "Sec-Fetch-Site": "cross-site"}, auth=open_server.auth("alice"), timeout=SECONDS,
    )  # fmt: skip
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (201, APP)


def test_caches_keep_the_answers_apart(open_server: Server) -> None:
    """Whoever asks: what is answered without an origin is not for a page of another one."""
    alice = User(open_server, "alice", "/cached")
    alice("MKCOL", "")
    alice.put("/f", b"bytes")
    for _ in range(3):
        for answer in (alice.get("/f"), alice.get("/f", Range="bytes=0-1"), alice("PROPFIND", "", Depth="1")):
            assert "Origin" in answer.headers["Vary"].split(", ")
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origin", [OTHER, "null", "*", f"{APP}:8443", APP.replace("https", "http"), f"{APP}.evil.org"])
def test_an_app_that_is_not(open_server: Server, origin: str) -> None:
    """The browser is told nothing, so it sends nothing; and no call of the API changes anything."""
    answer = _preflight(open_server, origin)
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    answer = requests.post(
        f"{open_server.url}/api/sync/devices", json={"name": "app", "device_type": "desktop"},
        headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"}, auth=open_server.auth("alice"), timeout=SECONDS,
    )  # fmt: skip
    assert answer.status_code == 403


def test_nobody_is_by_default(server: Server) -> None:
    answer = _preflight(server, APP)
    assert not [name for name in answer.headers if name.startswith("Access-Control") or name == "Vary"]


@pytest.mark.parametrize(
    "origin", ["*", "null", "https://app.example.org/", "app.example.org", "https://a b", "https://A"]
)
def test_what_is_no_origin_is_named(tmp_path_factory: pytest.TempPathFactory, origin: str) -> None:
    """A line that says what is wrong, instead of an app that does not work."""
    server = Server(tmp_path_factory.mktemp("wrong") / "data", environment={"BALUDAV_CORS_ORIGINS": f'["{origin}"]'})
    with pytest.raises(AssertionError, match=r"BALUDAV_CORS_ORIGINS.*is no origin"):
        server.baludav("config", "check")
