"""Names that want out: of the home, of the XML, of the page, of the log."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from tests.attacks.attacker import Attacker
from tests.http.client import User
from tests.serving import Server, wait_for

# Paths as text, before any encoding.
OUT = [
    "../victor/secret", "/../victor/secret", "..", "/..", "a/../../victor/secret", "//../victor/secret",
    "./../victor/x",
    "%2e%2e/victor/secret", "..%2fvictor%2fsecret", "..\\victor\\secret", "....//victor/secret", "..;/victor/secret",
    "/etc/passwd", "//etc/passwd", "file:///etc/passwd", "C:\\x", "\\\\host\\share", "~victor/secret", "..\0/victor",
    "a\0b", "a\r\nX-Injected: 1", "a\nb", "\x7f", "\x1b[2J", ".baludav/tmp/x", ".BALUDAV/x", "/.baludav/root", "",
    "/", "x" * 256, "/x" * 201, "é" * 128, "a/" * 3000, "\ufffe", "\u2025/victor/secret", "．．/victor/secret",
]  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "]]><x/>", "&lt;&amp;", "<!--", "-->", "<?x?>",
    "javascript:alert(1)", "{{7*7}}", "${x}", "%0d%0aX-Injected:1", "a\u2028b", "a\u202etxt.exe",
    "'; DROP TABLE users;--",
    "%", "_", "\\", "a'b", "*?[x]",
]  # fmt: skip
JSON = "Content-Type: application/json"


def _wire(text: str) -> str:
    """As a header field carries it, one character for each byte; what it cannot carry is percent-encoded."""
    return re.sub("[\0\r\n]", lambda found: quote(found[0]), text).encode("utf-8", "replace").decode("latin-1")


@pytest.mark.parametrize("path", OUT)
def test_no_door_leads_out(fort: Server, mallory: Attacker, victor: User, path: str) -> None:
    """A path in a body, in metadata, in the head of a part, as the name of an upload, and as a destination."""
    victor.put("/secret", b"victor's secret")
    mallory("PUT", "/dav/mine", body=b"mine")
    homes = {home.name: _files(home) for home in (fort.home("victor"), fort.home("admin"))}
    top = {entry.name for entry in fort.data.iterdir()}
    encoded = base64.b64encode(path.encode("utf-8", "surrogatepass")).decode()
    target = quote(path, safe="")
    bulk = b"--x\r\nX-File-Path: %b\r\nContent-Length: 1\r\n\r\nx\r\n--x--\r\n" % path.encode("utf-8", "surrogatepass")
    tus = ("Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream", "Upload-Length: 1")
    cloud = "/remote.php/dav/uploads/mallory"
    for method, where, fields, body in (
        ("GET", f"/api/sync/history?path={target}", (), b""),
        ("GET", f"/api/sync/state?path={target}", (), b""),
        ("GET", f"/api/sync/locks?path={target}", (), b""),
        ("POST", "/api/sync/history/restore", (JSON,), json.dumps({"path": path, "version": "1"}).encode()),
        ("POST", "/api/sync/files", (JSON,), json.dumps({"path": path, "sha256": "0" * 64, "size": 1}).encode()),
        ("GET", f"/api/sync/devices/{target}", (), b""),
        ("DELETE", f"/api/sync/locks/{target}", (), b""),
        ("POST", "/uploads/", (*tus, f"Upload-Metadata: path {encoded}"), b"x"),
        ("POST", "/uploads/", (*tus, f"Upload-Metadata: filename {encoded},path {encoded}"), b"x"),
        ("HEAD", f"/uploads/{target}", tus, b""),
        ("DELETE", f"/uploads/{target}", tus, b""),
        ("POST", "/remote.php/dav/bulk", ("Content-Type: multipart/related; boundary=x",), bulk),
        ("MKCOL", f"{cloud}/{target}", (), b""),
        ("PUT", f"{cloud}/{target}/1", (), b"x"),
        ("PUT", f"{cloud}/{target}/{target}", (), b"x"),
        ("MOVE", f"{cloud}/{target}/.file", ("Destination: /remote.php/dav/files/mallory/x",), b""),
        ("COPY", "/dav/mine", (f"Destination: /dav/{_wire(path)}",), b""),
        ("COPY", "/dav/mine", (f"Destination: {_wire(path)}",), b""),
        ("COPY", "/dav/mine", (f"Destination: http://{mallory.host}/dav/{target}",), b""),
        ("GET", f"/remote.php/dav/trashbin/mallory/trash/{target}", (), b""),
        ("GET", f"/remote.php/dav/versions/mallory/versions/{target}/{target}", (), b""),
        ("GET", f"/remote.php/dav/files/{target}/", (), b""),
        ("PROPFIND", f"/ocs/v2.php/cloud/users/{target}", (), b""),
        ("PUT", f"/dav/{target}", (), b"x"),
    ):
        answer = mallory(method, where, *fields, body=body)
        assert answer.status < 500 or answer.status in (502, 507), (method, where, answer)
        assert b"victor's secret" not in answer.body
        assert b"root:" not in answer.body
        assert not [field for field in answer.fields if field.startswith("X-Injected")]
    assert {home.name: _files(home) for home in (fort.home("victor"), fort.home("admin"))} == homes
    assert {entry.name for entry in fort.data.iterdir()} == top
    assert {entry.name for entry in (fort.data / "files").iterdir()} == {"admin", "mallory", "victor"}


def _files(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}


class _Page(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]


def test_names_are_never_markup(fort: Server, mallory: Attacker) -> None:
    """In the listing for browsers: every link leads to a member, and no name becomes an element or attribute."""
    user = User(fort, "mallory", "/markup")
    user("MKCOL", "")
    plain = _Page(user.get("/").content)
    for name in HOSTILE:
        assert user.put(f"/{name.replace('/', '∕')}").status_code == 201, name
    page = _Page(user.get("/").content)
    user.put("/a")
    assert page.elements <= _Page(user.get("/").content).elements
    assert page.attributes <= _Page(user.get("/").content).attributes
    assert len(page.links) == len(plain.links) + len(HOSTILE)
    assert not [link for link in page.links if re.match(r"[a-z]+:|//", link, re.IGNORECASE)]
    answer = mallory("GET", "/dav/markup/")
    assert any("sandbox" in field and "default-src 'none'" in field for field in answer.fields)


def test_values_are_never_markup(fort: Server) -> None:
    """Names, values and namespaces of properties, owners of locks, and what a client calls itself: text stays text."""
    user = User(fort, "mallory", "/values")
    user("MKCOL", "")
    for number, text in enumerate(HOSTILE):
        escaped = ElementTree.tostring(_element("v", text), encoding="unicode")
        namespace = ElementTree.tostring(_element("{urn:" + text.replace("%", "") + "}v", text), encoding="unicode")
        for value, statuses in ((escaped, {207}), (namespace, {207, 400})):  # not every text may be a URI
            body = f'<propertyupdate xmlns="DAV:"><set><prop>{value}</prop></set></propertyupdate>'
            assert user("PROPPATCH", "", body.encode()).status_code in statuses, (text, body)
        name = text.replace("/", "∕")
        user.put(f"/{number}{name}")
        lock = (
            '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype>'
            f"{ElementTree.tostring(_element('{DAV:}owner', text), encoding='unicode')}</lockinfo>"
        )
        assert user("LOCK", f"/{number}{name}", lock.encode(), Timeout="Second-9").status_code in (200, 201)
    found = user.propfind("", depth="1")
    assert set(found) == {"/"} | {f"/{number}{text.replace('/', '∕')}" for number, text in enumerate(HOSTILE)}
    texts = {"".join(element.itertext()) for status, element in found["/"].props.values() if status == 200}
    assert texts >= {HOSTILE[-1]}
    for answer in (user("GET", f"/{quote(HOSTILE[0])}-"), user("PUT", f"/no/{HOSTILE[0]}", b"x")):
        assert answer.status_code in (404, 409)
        assert b"<script" not in answer.content


def _element(tag: str, text: str) -> ElementTree.Element:
    element = ElementTree.Element(tag)
    element.text = text
    return element


def test_nothing_passes_for_a_line_of_the_log(fort: Server, stranger: Attacker, mallory: Attacker) -> None:
    """Line ends, escape sequences and what some take for a line end are written so that they are neither."""
    evil = "\r\n2026-01-01 00:00:00,000 1 ERROR baludav: pwned\x1b[2J\u2028\u0085x"
    sent = quote(evil, safe="")
    raw = _wire(evil)
    for attacker in (mallory, stranger):
        attacker("GET", f"/dav/{sent}")
        attacker("GET", f"/dav/x?{sent}", f"User-Agent: {raw}", f"Referer: {raw}", f"X-Forwarded-For: {raw}")
        attacker("PUT", f"/dav/{sent}/x", f"If-Match: {raw}", body=b"x")
        attacker("GET", f"/{raw.replace(' ', '')}")
        attacker("POST", "/api/sync/devices", JSON, body=json.dumps({"name": evil, "device_type": evil}).encode())
    credentials = base64.b64encode(f"{evil}:guess-{sent}".encode()).decode()
    stranger("GET", "/dav/", f"Authorization: Basic {credentials}")
    credentials = base64.b64encode("mallory\u2028pwned:x".encode()).decode()
    stranger("GET", "/dav/", f"Authorization: Basic {credentials}")
    mallory("GET", "/dav/the-last-of-these")
    wait_for(lambda: "the-last-of-these" in fort.log.read_text(), 30, "everything is in the log")
    text = fort.log.read_bytes().decode()
    assert "pwned" in text
    assert not [
        line for line in text.splitlines() if "pwned" in line and not re.match(r"20[0-9-]{8} .*127\.0\.0\.1", line)
    ]
    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", text)


def test_no_secret_is_in_the_log(fort: Server, mallory: Attacker) -> None:
    """Neither passwords and tokens, right or wrong, nor the fields they came in."""
    before = fort.log.stat().st_size
    device = mallory("POST", "/api/sync/devices", JSON, body=b'{"name": "laptop", "device_type": "desktop"}').json
    bearer = f"Authorization: Bearer {device['token']}"
    assert Attacker(fort)("GET", "/api/sync/devices", bearer).status == 200
    wrong = base64.b64encode(b"mallory:a wrong password").decode()
    assert Attacker(fort)("GET", "/dav/", f"Authorization: Basic {wrong}").status == 401
    assert Attacker(fort)("GET", "/dav/", "Authorization: Bearer a-wrong-token").status == 401
    mallory("DELETE", f"/api/sync/devices/{device['device_id']}")
    mallory("GET", "/dav/after-the-secrets")
    wait_for(lambda: "after-the-secrets" in fort.log.read_text(), 30, "everything is in the log")
    text = fort.log.read_bytes()[before:].decode()
    secrets = [device["token"], wrong, "a wrong password", "a-wrong-token", *fort.passwords.values()]
    secrets += [field.rpartition(" ")[2] for field in mallory.credentials]
    assert not [secret for secret in secrets if secret in text]
