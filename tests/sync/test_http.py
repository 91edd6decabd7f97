"""How the API speaks HTTP: failures as problem documents, and nothing that a browser could be tricked into."""

import http.client
import json
from typing import Any

import pytest
import requests

from tests.http.client import User, basic
from tests.serving import Server, wait_for
from tests.sync.client import Client

GOOD = {"name": "phone", "device_type": "mobile"}


def _problem(answer: requests.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem document (RFC 9457) of an answer."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["type"]) == (status, f"urn:baludav:problem:{kind}")
    assert problem["title"]
    assert problem["detail"]
    return problem


def test_who_is_not_signed_in(server: Server) -> None:
    """Both ways to sign in are offered; nothing else is told."""
    url = f"{server.url}/api/sync/devices"
    for headers in ({}, {"Authorization": "Bearer nothing"}, {"Authorization": basic("alice", "wrong")}):
        for path in (url, f"{url}/{'0' * 32}"):
            answer = requests.get(path, headers=headers, timeout=30)
            _problem(answer, 401, "not-signed-in")
            assert answer.headers["WWW-Authenticate"] == (
                'Basic realm="baludav", charset="UTF-8", Bearer realm="baludav"'
            )


def test_what_is_not_there(api: Client) -> None:
    for path in ("", "/", "/nothing", "/devices/", "//devices", "/devices/%2e%2e", "/devices/%00", "/devices/%FF"):
        _problem(api("GET", path), 404, "not-found")


def test_methods(api: Client) -> None:
    """405 says which apply, and so does OPTIONS, which needs no sign-in."""
    for method, path, allowed in (
        ("PUT", "/devices", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("PROPFIND", "/state", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/trash/restore", {"POST", "OPTIONS"}),
    ):
        answer = api(method, path)
        _problem(answer, 405, "method-not-allowed")
        assert set(answer.headers["Allow"].split(", ")) == allowed
        options = requests.options(f"{api.server.url}/api/sync{path}", timeout=30)
        assert (options.status_code, options.content) == (204, b"")
        assert set(options.headers["Allow"].split(", ")) == allowed
    assert "DAV" not in options.headers


def test_head_is_get_without_the_body(api: Client) -> None:
    for path in ("/devices", "/state", "/nothing"):
        get, head = (api(method, path, headers={"Accept-Encoding": "identity"}) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_a_body_says_that_it_is_json(api: Client) -> None:
    """A form cannot, so no page of another site can send one; a charset does no harm."""
    body = json.dumps(GOOD)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = api("POST", "/devices", data=body.encode(), headers={"Content-Type": kind})
        _problem(answer, 415, "unsupported-media-type")
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        assert api("POST", "/devices", data=body, headers={"Content-Type": kind}).status_code == 201


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"{}{}", b"[" * 100_00, b"nul", b'{"name": "\\ud800", "device_type": "other"}',
     b'{"name": "\xed\xa0\x80", "device_type": "other"}', b'{"name": "\xff", "device_type": "other"}'],
)  # fmt: skip
def test_what_is_no_json(api: Client, body: bytes) -> None:
    answer = api("POST", "/devices", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_json_of_another_shape(api: Client) -> None:
    for body in ([], 1, "text", None, {"name": [], "device_type": "other"}):
        assert api("POST", "/devices", json=body).status_code in (415, 422)  # requests sends no `null`


def test_a_large_body(api: Client) -> None:
    """Refused by what it announces, and else as soon as too much has come; nothing was registered."""
    count = len(api.get("/devices")["devices"])
    body = json.dumps({**GOOD, "name": "x" * 100_000}).encode()
    headers = {"Content-Type": "application/json"}
    _problem(api("POST", "/devices", data=body, headers=headers), 413, "too-large")
    pieces = (b" " * 10_000 for _ in range(1000))
    _problem(api("POST", "/devices", data=pieces, headers=headers), 413, "too-large")
    assert len(api.get("/devices")["devices"]) == count


def test_a_body_that_breaks_off(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/api/sync/devices")
    fields = {"Authorization": basic(*server.auth("alice")), "Content-Type": "application/json"}
    for name, value in {**fields, "Content-Length": "100000"}.items():
        connection.putheader(name, value)
    connection.endheaders(b'{"name": ')
    connection.sock.shutdown(1)
    answer = connection.getresponse()
    assert answer.status in (400, 413)
    connection.close()


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://127.0.0.1:PORT"}, False),
        ({}, False),
    ],
)
def test_a_page_of_another_site_changes_nothing(api: Client, headers: dict[str, str], is_refused: bool) -> None:
    """Although the browser adds the password that it remembers."""
    headers = {name: value.replace("PORT", str(api.server.port)) for name, value in headers.items()}
    device = api.registered().device["device_id"]
    count = len(api.get("/devices")["devices"])
    answers = [
        api("POST", "/devices", json=GOOD, headers=headers),
        api("POST", "/trash/restore", json={"trash_id": "1"}, headers=headers),
        api("DELETE", f"/devices/{device}", headers=headers),
    ]
    if is_refused:
        for answer in answers:
            _problem(answer, 403, "forbidden")
        assert len(api.get("/devices")["devices"]) == count
    else:
        assert [answer.status_code for answer in answers] == [201, 404, 204]
    assert api("GET", "/devices", headers=headers).status_code == 200, "reading is left to the browser to refuse"


def test_what_every_answer_says(api: Client) -> None:
    """To caches, that they keep nothing; to browsers, that it is no page, and nobody elses."""
    for answer in (api("GET", "/devices"), api("GET", "/nothing"), api("OPTIONS", "/devices")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_each_request_is_in_the_log_once(api: Client) -> None:
    """With who asked, and without any token."""
    device = api.registered()
    device("GET", "/state", params={"path": "/none\n"})
    device("GET", "/devices")
    server = api.server
    wait_for(lambda: "none%0A" in server.log.read_text(), 10, "it is in the log")
    (line,) = [line for line in server.log.read_text().splitlines() if "none%0A" in line]
    assert " alice GET /api/sync/state?path=%2Fnone%0A 400 " in line
    assert device.device["token"] not in server.log.read_text()


def test_the_dav_tree_is_left_alone(api: Client, alice: User) -> None:
    """What is called like a call is still a file there."""
    alice("MKCOL", "/api")
    assert alice.put("/api/sync", b"mine").status_code == 201
    assert alice.get("/api/sync").content == b"mine"
    for path in ("/api", "/api/other", "/api/syncx"):
        answer = requests.get(f"{api.server.url}{path}", auth=api.server.auth("alice"), timeout=30)
        assert answer.status_code == 404
        assert "problem" not in answer.headers["Content-Type"]


def test_the_document(api: Client) -> None:
    """Public, complete, and made of the types: each call has what it takes, what it answers, and its failures."""
    answer = requests.get(f"{api.server.url}/api/openapi.json", timeout=30)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    operations = {
        f"{method.upper()} {path.removeprefix('/api/sync')}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert {
        "POST /devices", "GET /devices", "GET /devices/{device_id}", "DELETE /devices/{device_id}",
        "POST /devices/{device_id}/ack", "GET /state", "GET /changes", "GET /history", "POST /history/restore",
        "GET /trash", "POST /trash/restore",
    } <= set(operations)  # fmt: skip
    assert set(document["components"]["securitySchemes"]) == {"basic", "device"}
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)
    for name, operation in operations.items():
        assert operation["summary"], name
        assert {"400", "401", "429", "500", "503"} <= set(operation["responses"]), name
        assert ("requestBody" in operation) == name.startswith("POST"), name
    register = operations["POST /devices"]
    assert register["responses"]["201"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/RegisteredDevice"
    }
    assert document["components"]["schemas"]["NewDevice"]["required"] == ["name", "device_type"]
    assert operations["GET /changes"]["parameters"][0]["name"] == "since"
    assert "410" in operations["GET /changes"]["responses"]
