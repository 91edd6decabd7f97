"""The audit trail of a server with two workers: what users and guessers do is there, once, and nothing secret is."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.http.client import User
from tests.serving import Server, wait_for

Event = dict[str, Any]
READERS = {"photos": {"read": ["anna"], "write": []}}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("audit")
    (folder / "photos").mkdir()
    shares = {"photos": {**READERS["photos"], "folder": str(folder / "photos")}}
    with Server(folder / "data", workers=2, shares=shares) as server:
        server.add_user("anna")
        yield server


def events(server: Server, *options: str) -> list[Event]:
    return [json.loads(line) for line in server.baludav("audit", "--json", *options).splitlines()]


def eventually(server: Server, *options: str, until: Callable[[list[Event]], object] = bool) -> list[Event]:
    """The events, as soon as they are written: gathered ones are so a moment later."""
    seen: list[Event] = []

    def are_there() -> object:
        seen[:] = events(server, *options)
        return until(seen)

    wait_for(are_there, 60, f"the audit trail shows {options}")
    return seen


def api(server: Server, method: str, path: str, auth: Any, **options: Any) -> requests.Response:
    return requests.request(method, f"{server.url}/api/sync{path}", auth=auth, timeout=30, **options)


def test_sign_ins_of_all_workers_are_one_row(audited: Server) -> None:
    """Each request comes on a connection of its own, so that both workers are asked."""
    headers = {"User-Agent": "one-client/1.0"}
    for _ in range(12):
        answer = requests.get(audited.dav("anna"), auth=audited.auth("anna"), headers=headers, timeout=30)
        assert answer.status_code in (200, 405), answer.text
    found = eventually(
        audited, "--user", "anna", "--kind", "sign-in",
        until=lambda seen: any(event["client"] == "one-client/1.0" for event in seen),
    )  # fmt: skip
    (event,) = [event for event in found if event["client"] == "one-client/1.0"]
    assert (event["user"], event["address"], event["times"]) == ("anna", "127.0.0.1", 1)


def test_failures_of_all_workers_are_counted_in_one_row(audited: Server) -> None:
    audited.add_user("eve")
    answers: list[int] = []
    while 429 not in answers:  # from the fifth on, one that comes within a second or two
        auth = ("eve", f"guess {len(answers)}")
        answers.append(requests.get(audited.dav("eve"), auth=auth, timeout=30).status_code)
    assert answers[:-1] == [401] * (len(answers) - 1)
    assert len(answers) > 5
    found = eventually(
        audited, "--user", "eve", "--kind", "sign-in-failed", "--kind", "sign-in-throttled",
        until=lambda seen: sum(event["times"] for event in seen) == len(answers),
    )  # fmt: skip
    # The hour may have ended in between.
    assert {event["kind"] for event in found} == {"sign-in-failed", "sign-in-throttled"}
    assert len(found) <= 3


def test_what_users_do_is_there_once(audited: Server) -> None:
    """A refusal, a device, a version and something from the trash restored, a conflict resolved, a lock broken.

    What is removed from the trash for good as well, and that it is emptied; what removes nothing is not there.
    """
    anna = User(audited, "anna")
    auth = audited.auth("anna")
    assert anna.put("/photos/\u00fc.jpg", b"x").status_code == 403

    device = api(audited, "POST", "/devices", auth, json={"name": "laptop", "device_type": "desktop"}).json()
    signed = (auth[0], device["token"])
    assert anna.put("/a.txt", b"one").status_code == 201
    assert anna.put("/a.txt", b"two").status_code == 204
    stale = requests.put(
        f"{audited.dav('anna')}a.txt", data=b"three", auth=signed, headers={"If-Match": f'"{"0" * 64}"'}, timeout=30
    )
    assert stale.status_code == 412
    (conflict,) = api(audited, "GET", "/conflicts", signed).json()["conflicts"]
    resolve = f"/conflicts/{conflict['conflict_id']}/resolve"
    assert api(audited, "POST", resolve, signed, json={"resolution": "keep_server"}).status_code == 200
    assert api(audited, "POST", resolve, signed, json={"resolution": "keep_server"}).status_code == 409

    (version,) = api(audited, "GET", "/history?path=/a.txt", auth).json()["versions"]
    wanted = {"path": "/a.txt", "version": version["version"]}
    assert api(audited, "POST", "/history/restore", auth, json=wanted).status_code == 200
    assert anna("DELETE", "/a.txt").status_code == 204
    entry = api(audited, "GET", "/trash", auth).json()["entries"][0]
    assert api(audited, "POST", "/trash/restore", auth, json={"trash_id": entry["trash_id"]}).status_code == 200

    trash = f"{audited.url}/remote.php/dav/trashbin/anna/trash"
    for name in ("b.txt", "c.txt", "d.txt"):
        assert anna.put(f"/{name}", b"12345").status_code == 201
        assert anna("DELETE", f"/{name}").status_code == 204
        if name == "b.txt":
            entry = api(audited, "GET", "/trash", auth).json()["entries"][0]
            removed = requests.delete(f"{trash}/b.txt.d{entry['trash_id']}", auth=auth, timeout=30)
            assert removed.status_code == 204
            assert anna.session.delete(removed.url, timeout=30).status_code == 404
    assert requests.delete(trash, auth=auth, timeout=30).status_code == 204
    assert requests.delete(trash, auth=auth, timeout=30).status_code == 204  # nothing is there any more

    lock = anna("LOCK", "/a.txt", data=_LOCK, **{"User-Agent": "Word\x09Processor"})
    assert lock.status_code == 200
    token = lock.headers["Lock-Token"].strip("<>")
    audited.baludav("lock", "break", token)
    assert api(audited, "DELETE", f"/devices/{device['device_id']}", auth).status_code == 204

    found = eventually(
        audited, "--user", "anna", until=lambda seen: {"refused", "device-removed"} <= {one["kind"] for one in seen}
    )  # fmt: skip
    told = {
        event["kind"]: (event["device"], event["path"], event["detail"].split(" 20")[0])
        for event in found
        if event["kind"] not in ("sign-in", "user-added", "trash-removed")
    }
    assert told == {
        "refused": ("", "/photos/\u00fc.jpg", "PUT: You may read here, but not write"),
        "device-added": ("", "", "laptop"),
        "conflict-resolved": ("laptop", "/a.txt", "keep_server"),
        "version-restored": ("", "/a.txt", "replaced"),
        "trash-restored": ("", "/a.txt", "deleted"),
        "lock-broken": ("", "home anna: /a.txt", r"taken by Word\tProcessor"),
        "device-removed": ("", "", "laptop"),
    }
    removed = [event for event in found if event["kind"] == "trash-removed"]
    assert [(event["path"], event["times"]) for event in removed] == [("/b.txt", 1), ("/", 2)]
    assert re.fullmatch(r"deleted \S+ \S+ UTC, 5 bytes", removed[0]["detail"])
    assert removed[1]["detail"] == "everything"
    once = [event for event in found if event["kind"] not in ("sign-in", "trash-removed")]
    assert [event["times"] for event in once] == [1] * (len(told) + 1)
    broken = next(event for event in found if event["kind"] == "lock-broken")
    assert broken["address"] == ""
    assert broken["client"].startswith("baludav lock break (")
    secrets = {auth[1], device["token"], token}
    text = json.dumps(events(audited))
    assert not [secret for secret in secrets if secret in text]


_LOCK = (
    '<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype></D:lockinfo>"
)


def test_shares_of_the_configuration(tmp_path: Path) -> None:
    """What has changed since the last start is there once, though every worker looks; a start by itself is nothing."""
    (tmp_path / "photos").mkdir()
    share = {"folder": str(tmp_path / "photos"), "read": ["@family"]}
    with Server(tmp_path / "data", workers=4, shares={"photos": share}) as server:
        server.restart()
        server.environment["BALUDAV_SHARES"] = json.dumps({"photos": {**share, "write": ["anna"]}})
        server.restart()
        server.environment["BALUDAV_SHARES"] = "{}"
        server.restart()
        found = [event for event in events(server) if event["kind"].startswith("share")]
    assert [(event["kind"], event["path"]) for event in found] == [
        ("share-added", "/photos"),
        ("share-changed", "/photos"),
        ("share-removed", "/photos"),
    ]
    assert found[1]["detail"] == f"{share['folder']}; read: @family; write: anna"


def test_a_deleted_user_keeps_the_trail(audited: Server) -> None:
    audited.add_user("carl")
    answer = requests.get(audited.dav("carl"), auth=audited.auth("carl"), timeout=30)
    assert answer.status_code in (200, 405)
    eventually(audited, "--user", "carl", "--kind", "sign-in")
    audited.baludav("user", "delete", "carl")
    kinds = [event["kind"] for event in events(audited, "--user", "carl")]
    assert kinds == ["user-added", "sign-in", "user-deleted"]
