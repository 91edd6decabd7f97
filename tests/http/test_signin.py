"""Signing in over HTTP: who gets in, what a guesser learns, and that commands count from the next request on."""

import time
from collections.abc import Iterator
from datetime import datetime

import pytest
import requests

from tests.http.client import User, basic
from tests.serving import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: failed sign-ins slow down those that follow."""
    with serving(tmp_path_factory.mktemp("signin"), "anna", "otto") as server:
        yield server


def _ask(server: Server, authorization: str | None, address: str = "") -> requests.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    if address:
        headers["X-Forwarded-For"] = address
    return requests.request("PROPFIND", server.dav("anna"), headers={**headers, "Depth": "0"}, timeout=30)


def test_who_gets_in(server: Server) -> None:
    """The right password; without one the answer says how (RFC 7617), in UTF-8."""
    assert _ask(server, basic(*server.auth("anna"))).status_code == 207
    challenge = _ask(server, None)
    assert challenge.status_code == 401
    assert challenge.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert 'charset="UTF-8"' in challenge.headers["WWW-Authenticate"]
    assert requests.get(f"{server.url}/healthz", timeout=30).status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !!!", "Basic YW5uYQ==", "Bearer x", "Basic " + "A" * 9000, "Digest x"]
)
def test_what_is_no_sign_in(server: Server, header: str) -> None:
    assert _ask(server, header).status_code in (400, 401, 431)


def test_passwords_of_every_kind(server: Server) -> None:
    """Colons, blanks and letters of any script."""
    server.add_user("ünal", password=" pass:word ü 🎌 ")
    assert _ask(server, basic("ünal", " pass:word ü 🎌 ".encode().decode("latin-1"))).status_code in (207, 401)
    token = requests.auth._basic_auth_str("ünal".encode(), " pass:word ü 🎌 ".encode())
    assert _ask(server, token).status_code == 207


def test_commands_count_from_the_next_request_on(server: Server) -> None:
    """A new password, a disabled and a deleted account, in both workers, on connections that are open."""
    server.add_user("karl", password="the first password")
    sessions = [requests.Session() for _ in range(8)]  # so that both workers have some

    def statuses(password: str) -> set[int]:
        return {
            session.request(
                "PROPFIND", server.dav("karl"), headers={"Depth": "0"}, auth=("karl", password), timeout=30
            ).status_code
            for session in sessions
        }  # fmt: skip

    assert statuses("the first password") == {207}
    server.baludav("user", "passwd", "karl", "--password-stdin", input="the second password\n")
    assert statuses("the second password") == {207}
    assert statuses("the first password") <= {401, 429}
    server.baludav("user", "disable", "karl")
    assert statuses("the second password") <= {401, 429}
    server.baludav("user", "delete", "karl", "--yes")
    assert statuses("the second password") <= {401, 429}
    for session in sessions:
        session.close()


def test_app_passwords(server: Server) -> None:
    """Shown once, works beside the password, ends when revoked."""
    out = server.baludav("user", "app-password", "add", "otto", "phone")
    secret = max(out.split(), key=len).strip()
    assert _ask(server, basic("otto", secret)).status_code == 207
    assert _ask(server, basic(*server.auth("otto"))).status_code == 207
    assert "phone" in server.baludav("user", "app-password", "list", "otto")
    assert secret not in server.baludav("user", "app-password", "list", "otto")
    server.baludav("user", "app-password", "revoke", "otto", "phone")
    assert _ask(server, basic("otto", secret)).status_code == 401
    assert _ask(server, basic(*server.auth("otto"))).status_code == 207


def test_guessing_is_slowed_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    """429 with Retry-After for the address that guesses; the account's owner elsewhere goes on working."""
    environment = {"BALUDAV_TRUSTED_PROXIES": '["127.0.0.1"]'}
    with Server(tmp_path_factory.mktemp("guess") / "data", environment=environment) as server:
        server.add_user("anna")
        statuses = [_ask(server, basic("anna", f"guess {n}"), "192.0.2.1").status_code for n in range(60)]
        assert statuses[0] == 401
        assert 429 in statuses
        refused = _ask(server, basic("anna", "guess"), "192.0.2.1")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
        assert _ask(server, basic(*server.auth("anna")), "198.51.100.7").status_code == 207
        for n in range(60):
            _ask(server, basic("anna", f"guess {n}"), f"203.0.113.{n}")
        user = User(server, "anna")
        user.session.headers["X-Forwarded-For"] = "198.51.100.7"
        assert user.put("/f", b"still working").status_code == 201


def test_whether_a_user_exists_is_not_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A wrong password and a wrong name get the same answer, after the same work."""
    with Server(tmp_path_factory.mktemp("timing") / "data") as server:
        server.add_user("anna")

        def failed(name: str, number: int) -> tuple[float, str]:
            begun = time.perf_counter()
            answer = _ask(server, basic(name, f"wrong {number}"))
            assert answer.status_code == 401
            return time.perf_counter() - begun, answer.text

        # Few, so that none of them is slowed down.
        known = [failed("anna", n) for n in range(3)]
        unknown = [failed(f"nobody-{n}", n) for n in range(3)]
        assert {text for _, text in known} == {text for _, text in unknown}
        # The fastest of each: whatever else the machine does can only make an answer slower.
        ratio = min(t for t, _ in known) / min(t for t, _ in unknown)
        assert 0.2 < ratio < 5, "one of the two does not hash at all"


def test_basic_over_plain_http_is_for_this_machine_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Refused at the start, in one line that says what to do."""
    server = Server(tmp_path_factory.mktemp("plain") / "data", environment={"BALUDAV_HOST": "0.0.0.0"})  # noqa: S104 - must fail
    with pytest.raises(AssertionError, match="ended with"):
        server.start()
    assert "allow_plain_http" in server.log_end()
    assert "Traceback" not in server.log_end()


def test_a_device_that_is_ended_is_out_at_once(server: Server) -> None:
    """By command, while the server runs: no worker goes on with what it remembers, and nobody else is shut out."""
    registered = requests.post(
        f"{server.url}/api/sync/devices", json={"name": "lost phone", "device_type": "mobile"},
        auth=server.auth("anna"), timeout=30,
    ).json()  # fmt: skip
    app_password = server.baludav("user", "app-password", "add", "anna", "lost program").strip()

    def session(secret: str) -> requests.Session:
        session = requests.Session()
        session.auth = ("anna", secret)
        return session

    def statuses(sessions: list[requests.Session]) -> set[int]:
        url = server.dav("anna")
        return {one.request("PROPFIND", url, headers={"Depth": "0"}, timeout=30).status_code for one in sessions}

    lost = {
        registered["device_id"]: [session(registered["token"]) for _ in range(6)],  # on both workers
        "lost program": [session(app_password) for _ in range(6)],
    }
    for which, sessions in lost.items():
        for _ in range(3):
            assert statuses(sessions) == {207}
        rows = [line.split("\t") for line in server.baludav("device", "list", "anna").splitlines()]
        (row,) = [row for row in rows if row[0] == which]
        assert abs(datetime.strptime(row[4], "%Y-%m-%d %H:%M:%S").timestamp() - time.time()) < 300
        assert server.baludav("device", "end", "anna", which) == f"Ended {which}\n"
        assert statuses(sessions) == {401}
        assert which not in server.baludav("device", "list", "anna")
    assert statuses([session(server.passwords["anna"])]) == {207}
    for sessions in lost.values():
        for one in sessions:
            one.close()
