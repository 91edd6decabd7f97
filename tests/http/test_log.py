"""The log of a running server: every request once, whoever answers it, and nothing secret whatever a client sends."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.http.client import User
from tests.serving import Server, wait_for

SECONDS = 60


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("log") / "data"
    environment = {"BALUDAV_LOG_FORMAT": "json", "BALUDAV_TRUSTED_PROXIES": '["127.0.0.2/32"]'}
    with Server(data, workers=2, environment=environment) as server:
        server.add_user("anna")
        yield server


def lines(server: Server) -> list[dict[str, Any]]:
    """What the processes have logged; the commands that stand beside it print text."""
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def told(server: Server, path: str) -> dict[str, Any]:
    """The one line of the one request of a path."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [line for line in lines(server) if line.get("path") == path]
        return bool(found)

    wait_for(is_there, SECONDS, f"{path} is in the log")
    (line,) = found
    return line


def test_a_line_for_each_request(logged: Server) -> None:
    """The hot lane's as all others."""
    anna = User(logged, "anna")
    assert anna.put("/file", b"12345").status_code == 201
    assert anna.get("/file").text == "12345"
    assert anna.get("/file", X_Request_Id="mine-1").text == "12345"
    wait_for(lambda: sum(line.get("path") == "/dav/file" for line in lines(logged)) == 3, SECONDS, "all are told")
    put, first, second = sorted(
        (line for line in lines(logged) if line.get("path") == "/dav/file"), key=lambda line: line["time"]
    )
    assert (put["method"], put["status"], put["received"]) == ("PUT", 201, 5)
    for line in (first, second):
        assert (line["method"], line["status"], line["bytes"], line["user"]) == ("GET", 200, 5, "anna")
        assert line["address"] == "127.0.0.1"
        assert 0 <= line["seconds"] < SECONDS
    assert second["request"].endswith(":mine-1")
    assert len({line["request"] for line in lines(logged) if "path" in line}) == sum(
        "path" in line for line in lines(logged)
    )


def test_an_upload_that_breaks_off_is_told(logged: Server) -> None:
    """With what came of it."""
    import socket

    auth = base64.b64encode(":".join(logged.auth("anna")).encode()).decode()
    with socket.create_connection(("127.0.0.1", logged.port), SECONDS) as sock:
        head = f"PUT /dav/broken HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\nContent-Length: 1000000\r\n\r\n"
        sock.sendall(head.encode() + b"x" * 1000)
    line = told(logged, "/dav/broken")
    assert line["status"] >= 400
    assert line["received"] == 1000


def test_who_answers_a_failure_names_it(logged: Server) -> None:
    """An operator finds in the log what a client was told."""
    logged.add_user("ben")
    ben = User(logged, "ben")
    assert ben.put("/file").status_code == 201
    home = logged.home("ben")
    home.rename(home.with_name("away"))
    try:
        wait_for(lambda: ben.get("/missing").status_code == 503, SECONDS, "the home is missed")
        answer = ben.put("/failed")
        assert answer.status_code == 503
        name = answer.headers["X-Request-Id"]
    finally:
        home.with_name("away").rename(home)
    assert told(logged, "/dav/failed")["request"] == name


def test_nothing_secret_is_told(logged: Server) -> None:
    """Neither of passwords and tokens, right or wrong, nor of cookies, nor of addresses that open a door."""
    session = requests.Session()
    secrets = ["geheim-1", "geheim-2", "geheim-3", "geheim-4", "geheim-5"]
    password = logged.passwords["anna"]
    session.get(f"{logged.url}/dav/a", auth=("anna", secrets[0]), timeout=SECONDS)
    session.get(f"{logged.url}/dav/b", headers={"Authorization": f"Bearer {secrets[1]}"}, timeout=SECONDS)
    session.get(f"{logged.url}/dav/c?token={secrets[2]}", auth=logged.auth("anna"), timeout=SECONDS)
    session.get(f"{logged.url}/dav/d", headers={"Cookie": f"session={secrets[3]}"}, timeout=SECONDS)
    session.get(f"{logged.url}/dav/e", headers={"X-Request-Id": "a b"}, auth=logged.auth("anna"), timeout=SECONDS)
    login = session.post(f"{logged.url}/index.php/login/v2", timeout=SECONDS).json()
    page = login["login"]
    assert session.get(page, timeout=SECONDS).status_code == 200
    form = session.get(page, timeout=SECONDS)
    sent = {"token": session.cookies["baludav-login"], "user": "anna", "password": password}
    assert session.post(page, data=sent, timeout=SECONDS).status_code == 200, form.text
    polled = session.post(login["poll"]["endpoint"], data={"token": login["poll"]["token"]}, timeout=SECONDS).json()
    token = polled["appPassword"]
    # As a program does that takes the token for the name.
    session.get(f"{logged.url}/dav/f", auth=(token, ""), timeout=SECONDS)
    session.get(f"{logged.url}/dav/end", auth=("anna", token), timeout=SECONDS)
    assert told(logged, "/dav/end")["device"]
    secrets += [password, token, page.rpartition("/")[2], login["poll"]["token"], session.cookies["baludav-login"]]
    text = logged.log.read_text() + logged.baludav("audit", "--json")
    assert [secret for secret in secrets if secret in text] == []
    assert base64.b64encode(f"anna:{password}".encode()).decode() not in text
