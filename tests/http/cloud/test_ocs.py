"""What sync clients ask before they sync: status.php, capabilities and the user."""

from xml.etree import ElementTree

import pytest
import requests

from tests.http.client import User
from tests.serving import Server

JSON = {"format": "json"}


@pytest.fixture
def alice(server: Server) -> User:
    return User(server, "alice", "", "")


def test_status_is_open(server: Server) -> None:
    """Clients ask without a password, to learn what kind of server it is."""
    answer = requests.get(server.url + "/status.php", timeout=30)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    status = answer.json()
    assert (status["installed"], status["maintenance"], status["needsDbUpgrade"]) == (True, False, False)
    assert len(status["version"].split(".")) == 4
    assert requests.post(server.url + "/status.php", timeout=30).status_code == 405
    assert requests.get(server.url + "/index.php/204", timeout=30).status_code == 204


@pytest.mark.parametrize(("version", "code"), [("v1", 100), ("v2", 200)])
def test_capabilities(alice: User, version: str, code: int) -> None:
    """The envelope of each version; SHA-256 is what clients shall send and trust."""
    answer = alice.session.get(alice.url(f"/ocs/{version}.php/cloud/capabilities"), params=JSON, timeout=30)
    ocs = answer.json()["ocs"]
    assert ocs["meta"] == {"status": "ok", "statuscode": code, "message": "OK"}
    assert ocs["data"]["version"]["major"] >= 10
    capabilities = ocs["data"]["capabilities"]
    assert capabilities["checksums"]["preferredUploadType"] == "SHA256"
    assert capabilities["core"]["status"]["installed"] is True


def test_the_user(alice: User) -> None:
    data = alice.session.get(alice.url("/ocs/v1.php/cloud/user"), params=JSON, timeout=30).json()
    user = data["ocs"]["data"]
    assert (user["id"], user["display-name"], user["groups"]) == ("alice", "alice", [])
    assert user["quota"]["free"] > 0
    same = alice.session.get(alice.url("/ocs/v2.php/cloud/users/alice"), params=JSON, timeout=30)
    assert same.json()["ocs"]["data"]["id"] == "alice"


def test_xml_is_the_other_form(alice: User) -> None:
    root = ElementTree.fromstring(alice.get("/ocs/v1.php/cloud/user").content)  # noqa: S314 - our own server's
    assert (root.findtext("meta/statuscode"), root.findtext("data/id")) == ("100", "alice")
    assert root.findtext("data/enabled") == "1"


@pytest.mark.parametrize("path", ["/cloud/users/bob", "/cloud/nothing", "/apps/x", ""])
def test_what_is_not_offered(alice: User, path: str) -> None:
    """Version 1 says it in the envelope, version 2 by the status too; another user is nobody."""
    first = alice.session.get(alice.url(f"/ocs/v1.php{path}"), params=JSON, timeout=30)
    assert (first.status_code, first.json()["ocs"]["meta"]["statuscode"]) == (200, 998)
    second = alice.session.get(alice.url(f"/ocs/v2.php{path}"), params=JSON, timeout=30)
    assert (second.status_code, second.json()["ocs"]["meta"]["statuscode"]) == (404, 404)


@pytest.mark.parametrize(
    "path", ["/ocs/v1.php/cloud/user", "/ocs/v2.php/cloud/capabilities", "/remote.php/webdav/", "/remote.php/dav/"]
)
def test_all_else_asks_for_a_password(server: Server, path: str) -> None:
    answer = requests.get(server.url + path, timeout=30)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    "path", ["/remote.php", "/remote.php/dav", "/ocs", "/ocs/v3.php/x", "/index.php", "/status.phpx"]
)
def test_there_is_nothing_else(alice: User, path: str) -> None:
    assert alice.get(path).status_code == 404
