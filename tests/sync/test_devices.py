"""Devices: registering one, signing in with its token, how far it is, and ending it."""

import re

import pytest
import requests

from tests.http.client import User
from tests.serving import Server
from tests.sync.client import Client

NEVER = "0" * 32


def _wipe(client: Client) -> None:
    for device in client.get("/devices")["devices"]:
        assert client("DELETE", f"/devices/{device['device_id']}").status_code == 204


def test_registering(api: Client) -> None:
    answer = api("POST", "/devices", json={"name": "Anna's phone ☎", "device_type": "mobile"})
    assert answer.status_code == 201
    device = answer.json()
    assert set(device) == {"device_id", "name", "device_type", "token", "change_token"}
    assert (device["name"], device["device_type"]) == ("Anna's phone ☎", "mobile")
    assert answer.headers["Location"] == f"/api/sync/devices/{device['device_id']}"
    state = api.get(f"/devices/{device['device_id']}")
    assert state in api.get("/devices")["devices"]
    assert device["token"] not in str(state)
    assert {key: state[key] for key in ("change_token", "status", "pending_changes", "conflicts")} == {
        "change_token": device["change_token"], "status": "synced", "pending_changes": 0, "conflicts": 0,
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", state["created_at"])
    assert state["last_seen_at"] >= state["created_at"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"device_type": "mobile"}, "name"),
        ({"name": "", "device_type": "mobile"}, "name"),
        ({"name": "x" * 101, "device_type": "mobile"}, "name"),
        ({"name": "a/b", "device_type": "mobile"}, "name"),
        ({"name": "line\nbreak", "device_type": "mobile"}, "name"),
        ({"name": "line\n", "device_type": "mobile"}, "name"),
        ({"name": 7, "device_type": "mobile"}, "name"),
        ({"name": "phone", "device_type": "toaster"}, "device_type"),
        ({"name": "phone", "device_type": "mobile", "colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named(api: Client, body: dict[str, object], field: str) -> None:
    answer = api("POST", "/devices", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_the_token_signs_in_everywhere(api: Client, alice: User) -> None:
    """As Bearer and as the password of HTTP Basic, for the API and for the DAV tree."""
    device = api.registered()
    token = device.device["token"]
    assert device.get("/devices") == api.get("/devices")
    url = alice.url("/by-token")
    bearer = {"Authorization": f"Bearer {token}"}
    assert requests.put(url, b"1", headers=bearer, timeout=30).status_code == 201
    assert requests.put(url, b"2", auth=("alice", token), timeout=30).status_code == 204
    assert requests.get(f"{api.server.url}/api/sync/devices", auth=("alice", token), timeout=30).status_code == 200
    assert requests.get(url, auth=("bob", token), timeout=30).status_code == 401
    mine = [change for change in _changes_since(api, device) if change["path"] == f"{alice.top}/by-token"]
    assert [change["device_id"] for change in mine] == [device.device["device_id"]]


def _changes_since(api: Client, device: Client) -> list[dict[str, object]]:
    changes: list[dict[str, object]] = api.get("/changes", since=device.device["change_token"])["changes"]
    return changes


def test_a_removed_device_is_out_at_once_in_every_worker(api: Client, alice: User) -> None:
    """Also where its token was remembered: each connection may reach another worker."""
    device, other = api.registered(), api.registered()
    alice.put("/f")

    def statuses(client: Client) -> set[int]:
        token = client.device["token"]
        return {
            requests.get(url, timeout=30, **sign_in).status_code
            for url in (f"{api.server.url}/api/sync/devices", alice.url("/f"))
            for sign_in in ({"headers": {"Authorization": f"Bearer {token}"}}, {"auth": ("alice", token)})
            for _ in range(6)
        }

    assert statuses(device) == {200}
    assert api("DELETE", f"/devices/{device.device['device_id']}").status_code == 204
    assert statuses(device) == {401}
    assert statuses(other) == {200}
    assert api("DELETE", f"/devices/{device.device['device_id']}").status_code == 404


def test_a_device_manages_only_itself(api: Client) -> None:
    """A stolen one can neither outlive its removal nor lock out the others."""
    device, other = api.registered(), api.registered()
    assert device("POST", "/devices", json={"name": "x", "device_type": "other"}).status_code == 403
    assert device("DELETE", f"/devices/{other.device['device_id']}").status_code == 403
    assert device("DELETE", f"/devices/{device.device['device_id']}").status_code == 204
    assert device("GET", "/devices").status_code == 401


def test_a_disabled_user_has_no_devices(tmp_path, server: Server) -> None:
    with Server(tmp_path / "data", workers=1, durability="fast") as server:
        server.add_user("carol")
        device = Client(server, "carol").registered()
        assert device("GET", "/devices").status_code == 200
        server.baludav("user", "disable", "carol")
        assert device("GET", "/devices").status_code == 401
        server.baludav("user", "enable", "carol")
        assert device("GET", "/devices").status_code == 200
        server.restart()
        assert device("GET", "/devices").status_code == 200, "it outlives a restart"


def test_how_far_a_device_is(api: Client, alice: User) -> None:
    """Behind by the paths that others changed, until it says that it has applied them."""
    device = api.registered()
    path = f"/devices/{device.device['device_id']}"
    alice.put("/f", b"1")
    alice.put("/f", b"2")
    alice.put("/g")
    state = api.get(path)
    assert (state["status"], state["pending_changes"]) == ("behind", 2)
    token = device.get("/changes", since=state["change_token"])["change_token"]
    state = device.post(f"{path}/ack", change_token=token)
    assert (state["status"], state["pending_changes"], state["change_token"]) == ("synced", 0, token)
    requests.put(alice.url("/own"), b"1", headers={"Authorization": f"Bearer {device.device['token']}"}, timeout=30)
    assert api.get(path)["status"] == "synced", "what it did itself is no news to it"
    again = device.post(f"{path}/ack", change_token=device.device["change_token"])
    assert again["change_token"] == token, "it never goes back"


def test_acknowledging_what_is_no_moment(api: Client) -> None:
    device = api.registered()
    path = f"/devices/{device.device['device_id']}/ack"
    epoch, sight, number = device.device["change_token"].split(".")
    for token in ("nonsense", f"0.{sight}.{number}", f"{epoch}.0.{number}", f"{epoch}.{sight}.999999999"):
        answer = device("POST", path, json={"change_token": token})
        assert (answer.status_code, answer.json()["state"]) == (410, "/api/sync/state")
    answer = device("POST", path, json={"change_token": f"{epoch}.{sight}.{number}.0.YQ"})
    assert (answer.status_code, answer.json()["field"]) == (400, "change_token")
    assert device("POST", path, json={"change_token": ""}).status_code == 422


def test_a_device_is_nobody_elses(api: Client, others: Client) -> None:
    """Another user gets the same answer as for one that never was."""
    device = api.registered()
    body = {"change_token": device.device["change_token"]}
    for method, below, options in (("GET", "", {}), ("DELETE", "", {}), ("POST", "/ack", {"json": body})):
        answers = [
            others(method, f"/devices/{device_id}{below}", **options)
            for device_id in (device.device["device_id"], NEVER)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()
    assert device.device["device_id"] not in str(others.get("/devices"))
    assert device("GET", "/devices").status_code == 200


def test_there_is_a_limit(others: Client) -> None:
    _wipe(others)
    for number in range(100):
        others.post("/devices", name=f"device {number}", device_type="other")
    answer = others("POST", "/devices", json={"name": "one too many", "device_type": "other"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:baludav:problem:limit-reached")
    _wipe(others)
    assert others("POST", "/devices", json={"name": "again", "device_type": "other"}).status_code == 201
