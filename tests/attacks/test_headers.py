"""What every answer says to a browser, and what it does not say to anybody."""

import re
import ssl
import urllib.request
from collections.abc import Iterator

import pytest

from tests.attacks.attacker import Attacker
from tests.http.client import basic
from tests.serving import Server

ASKED = [
    ("GET", "/dav/page.html"), ("HEAD", "/dav/page.html"), ("GET", "/dav/"), ("GET", "/dav/none"),
    ("PUT", "/dav/page.html"),
    ("PROPFIND", "/dav/page.html"), ("DELETE", "/dav/none"), ("BREW", "/dav/"), ("OPTIONS", "/dav/"), ("GET", "/"),
    ("OPTIONS", "*"), ("GET", "/status.php"), ("GET", "/healthz"), ("GET", "/metrics"), ("GET", "/nowhere"),
    ("GET", "/index.php/login/flow"), ("POST", "/index.php/login/v2"), ("GET", "/index.php/login/v2/flow/x"),
    ("GET", "/ocs/v2.php/cloud/user"), ("GET", "/api/openapi.json"), ("GET", "/api/sync/state"), ("GET", "/api/none"),
    ("GET", "/dav/%00"), ("GET", "/remote.php/dav/files/victor/"), ("OPTIONS", "/uploads/"), ("HEAD", "/uploads/none"),
    ("GET", "/remote.php/dav/trashbin/mallory/trash"), ("PROPFIND", "/remote.php/dav/versions/mallory/versions"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target"), ASKED, ids=lambda one: one.replace("/", "|"))
@pytest.mark.parametrize("by", ["mallory", "stranger"])
def test_every_answer_is_guarded(mallory: Attacker, stranger: Attacker, by: str, method: str, target: str) -> None:
    """No type is guessed, nothing runs or is framed, nothing is told to other sites, and no version is named."""
    mallory("PUT", "/dav/page.html", body=b"<script>alert(1)</script>")
    answer = (mallory if by == "mallory" else stranger)(method, target)
    fields: dict[str, list[str]] = {}
    for field in answer.fields:
        name, _, value = field.partition(": ")
        fields.setdefault(name.lower(), []).append(value)
    assert fields["server"] == ["baludav"]
    assert not {"x-powered-by", "via", "x-runtime"} & set(fields)
    assert not [name for name in fields if name.startswith("access-control")]
    assert "strict-transport-security" not in fields
    assert not re.search(rb"(?i)wsgidav|cheroot|python|falcon|traceback|/home/|/tmp/|/root/", answer.head + answer.body)
    if answer.status == 501:
        return  # the parser knows no such method: plain text, and the connection is closed
    assert fields["x-content-type-options"] == ["nosniff"]
    assert fields["referrer-policy"] == ["no-referrer"]
    (policy,) = fields["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy or "frame-ancestors 'none'" in policy


def test_old_and_deleted_bytes_are_guarded(mallory: Attacker) -> None:
    """A page that was overwritten or deleted is as dangerous as one that is there."""
    page = b"<script>alert(1)</script>"
    for body in (page, page * 2):
        assert mallory("PUT", "/dav/was.html", body=body).status in (201, 204)
    number = re.search(rb"(?i)oc-fileid: 0*(\d+)oc", mallory("HEAD", "/remote.php/dav/files/mallory/was.html").head)
    assert number is not None
    places = (f"/remote.php/dav/versions/mallory/versions/{int(number[1])}", "/remote.php/dav/trashbin/mallory/trash")
    for place, ending, body in zip(places, (rb"/\d+\.\d+", rb"/was\.html\.d\d+"), (page, page * 2), strict=True):
        listed = mallory("PROPFIND", place, "Depth: 1").body
        target = re.search(rb"href>([^<]+%b)</" % ending, listed)
        assert target is not None, listed
        answer = mallory("GET", target[1].decode())
        assert (answer.status, answer.body) == (200, body)
        assert "X-Content-Type-Options: nosniff" in answer.fields
        assert any(field.startswith("Content-Security-Policy: sandbox; default-src 'none'") for field in answer.fields)
        assert mallory("DELETE", "/dav/was.html").status in (204, 404)


class _Encrypted(Server):
    """A server with a certificate that it has made itself."""

    @property
    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.data / "tls" / "cert.pem")

    def is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_end()
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5, context=self.trusting) as answer:
                return bool(answer.status == 200)
        except OSError:  # no certificate yet, or nobody listens
            return False


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Encrypted]:
    """A server that wants to be asked over TLS only."""
    data = tmp_path_factory.mktemp("encrypted") / "data"
    server = _Encrypted(data, workers=1, environment={"BALUDAV_TLS": "self-signed", "BALUDAV_HSTS_DAYS": "30"})
    server.url = server.url.replace("http:", "https:")
    with server:
        yield server


@pytest.mark.parametrize("target", ["/dav/", "/dav/f", "/api/sync/devices", "/status.php", "/index.php/login/flow"])
def test_tls_only_if_it_is_configured(encrypted: _Encrypted, target: str) -> None:
    """With every answer, by the short way and by the long one."""
    headers = {"Authorization": basic(*encrypted.auth("admin")), "OCS-APIRequest": "true"}
    put = urllib.request.Request(f"{encrypted.url}/dav/f", b"bytes", headers, method="PUT")
    with urllib.request.urlopen(put, timeout=30, context=encrypted.trusting):
        pass
    for _ in range(3):
        asked = urllib.request.Request(encrypted.url + target, headers=headers)
        with urllib.request.urlopen(asked, timeout=30, context=encrypted.trusting) as answer:
            assert answer.headers.get_all("Strict-Transport-Security") == ["max-age=2592000"]
