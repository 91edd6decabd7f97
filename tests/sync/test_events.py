"""Whoever listens hears at once of each change in what they see: from any worker, any client, and from outside."""

import contextlib
import hashlib
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import requests

from tests.http.client import User, basic
from tests.serving import Server, wait_for
from tests.sync.client import Client, Events

SECONDS = 50  # less than the longest poll waits
MANY = 300
USER = "ada"


def _authorization(server: Server, user: str) -> str:
    return basic(*server.auth(user))


@pytest.fixture(scope="module")
def _user(server: Server) -> None:
    """A user of these tests alone: she hears of nothing that was done, or written outside, in others."""
    server.add_user(USER)


@pytest.fixture
def ada(server: Server, _user: None, request: pytest.FixtureRequest) -> User:
    """She, in a fresh collection of hers."""
    user = User(server, USER, "/" + re.sub(r"[^0-9A-Za-z]+", "-", request.node.name)[:60])
    assert user("MKCOL", "").status_code == 201
    return user


@pytest.fixture
def api(server: Server, _user: None) -> Client:
    """The API as she sees it."""
    return Client(server, USER)


@pytest.fixture
def listen(server: Server, _user: None) -> Iterator[Callable[..., Events]]:
    """Opens event streams; each has read the present token."""
    with contextlib.ExitStack() as stack:

        def listen(authorization: str = "", last_id: str = "") -> Events:
            events = Events(server, authorization or _authorization(server, USER), last_id)
            stack.callback(events.close)
            return events

        yield listen


def test_every_listener_hears_of_a_change(ada: User, api: Client, listen: Callable[..., Events]) -> None:
    """On whichever worker they and the writer are; and what they are told can be asked for."""
    streams = [listen() for _ in range(8)]
    (before,) = {events.next() for events in streams}
    ada.put("/file")
    (token,) = {events.next() for events in streams}
    assert [change["path"] for change in api.get("/changes", since=before)["changes"]] == [f"{ada.top}/file"]
    assert api.get("/changes", since=token) == {"changes": [], "change_token": token, "has_more": False}


def test_the_answer_is_an_event_stream(listen: Callable[..., Events]) -> None:
    """That no proxy keeps or holds back."""
    headers = listen().headers
    assert headers["Content-Type"] == "text/event-stream"
    assert "no-cache" in headers.get_all("Cache-Control", [])
    assert headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in headers


@pytest.mark.parametrize(
    "change",
    [
        lambda user: user("DELETE", "/file"),
        lambda user: user("MOVE", "/file", Destination="/moved"),
        lambda user: user("COPY", "/file", Destination="/copy"),
        lambda user: user("MKCOL", "/collection"),
        lambda user: user.put("/file", b"other bytes"),
    ],
    ids=["DELETE", "MOVE", "COPY", "MKCOL", "PUT"],
)
def test_each_kind_of_change_is_told(
    ada: User, listen: Callable[..., Events], change: Callable[[User], requests.Response]
) -> None:
    ada.put("/file")
    events = listen()
    before = events.next()
    assert change(ada).status_code in (201, 204)
    assert events.next() != before


def test_a_change_from_outside_is_told(server: Server, ada: User, api: Client, listen: Callable[..., Events]) -> None:
    """Nobody has to ask for anything: what is written beside the server is noticed, and then told."""
    events = listen()
    before = events.next()
    folder = server.home(USER) / ada.top.strip("/")
    (folder / "outside").write_bytes(b"made outside")
    (folder / "written").write_bytes(b"and another")
    wanted = {f"{ada.top}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    assert len(wanted) == 2
    found: dict[str, str] = {}
    while found != wanted:
        events.next()
        found = {change["path"]: change["sha256"] for change in api.get("/changes", since=before)["changes"]}


def test_a_command_is_told(server: Server, listen: Callable[..., Events]) -> None:
    """A new home changes what admins see."""
    events = listen(_authorization(server, "admin"))
    before = events.next()
    server.add_user("dora")
    assert events.next() != before


def test_a_restore_over_the_api_is_told(ada: User, api: Client, listen: Callable[..., Events]) -> None:
    ada.put("/file")
    ada("DELETE", "/file")
    events = listen()
    events.next()
    entry = api.get("/trash")["entries"][0]
    api.post("/trash/restore", trash_id=entry["trash_id"])
    assert events.next()


def test_what_is_not_theirs_is_not_told(
    server: Server, ada: User, bob: User, others: Client, listen: Callable[..., Events]
) -> None:
    """The next thing that bob hears of is his own change."""
    events = listen(_authorization(server, "bob"))
    before = events.next()
    ada.put("/file")
    bob.put("/file")
    token = events.next()
    assert [change["path"] for change in others.get("/changes", since=before)["changes"]] == [f"{bob.top}/file"]
    assert others.get("/changes", since=token)["changes"] == []


def test_last_event_id_resumes(ada: User, listen: Callable[..., Events]) -> None:
    """What happened in between is told at once; if nothing did, nothing is."""
    events = listen()
    token = events.next()
    events.close()
    events = listen(last_id=token)
    assert events.lines() == [":"]
    ada.put("/file")
    newer = events.next()
    assert newer != token
    assert listen(last_id=token).next() == newer


def test_only_who_is_signed_in_may_listen(server: Server) -> None:
    answer = requests.get(f"{server.url}/api/sync/events", timeout=SECONDS)
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_head_says_what_there_would_be(api: Client) -> None:
    """Without waiting for it."""
    answer = api("HEAD", "/events")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert "Content-Length" not in answer.headers
    token = api.post("/devices", name="laptop", device_type="desktop")["change_token"]
    assert api("HEAD", "/changes", params={"since": token, "wait": 60}).elapsed.total_seconds() < SECONDS


def test_a_removed_device_hears_nothing_more(ada: User, api: Client, listen: Callable[..., Events]) -> None:
    """Its stream ends at the next change, of which it is not told."""
    device = api.registered()
    events = listen(f"Bearer {device.device['token']}")
    events.next()
    assert api("DELETE", f"/devices/{device.device['device_id']}").status_code == 204
    ada.put("/file")
    assert events.ends()


def test_a_disabled_user_hears_nothing_more(server: Server, listen: Callable[..., Events]) -> None:
    """The command ends the streams of an account in every worker, at the next change."""
    server.add_user("carol")
    carol = User(server, "carol")
    streams = [listen(_authorization(server, "carol")) for _ in range(6)]
    for events in streams:
        events.next()
    server.baludav("user", "disable", "carol")
    assert carol.put("/file").status_code == 401
    admin = User(server, "admin")
    admin.put("/homes/carol/file")
    assert all(events.ends() for events in streams)


# ---- the answer that waits ----


def test_a_poll_is_answered_by_a_change(ada: User, api: Client) -> None:
    """With what changed; and the connection goes on."""
    token = _present(api)
    for number in range(3):
        begun = time.monotonic()
        writer = threading.Thread(target=ada.put, args=(f"/file-{number}",))
        writer.start()
        page = api.get("/changes", since=token, wait=60)
        writer.join()
        assert [change["path"] for change in page["changes"]] == [f"{ada.top}/file-{number}"]
        assert time.monotonic() - begun < SECONDS
        token = page["change_token"]


def test_a_poll_waits_only_if_there_is_nothing(ada: User, api: Client) -> None:
    token = _present(api)
    ada.put("/file")
    assert api.get("/changes", since=token, wait=60)["changes"]


def test_a_poll_ends_with_its_time(api: Client) -> None:
    """With an answer that says that nothing changed."""
    token = _present(api)
    begun = time.monotonic()
    assert api.get("/changes", since=token, wait=1) == {"changes": [], "change_token": token, "has_more": False}
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("wait", ["61", "-1", "x", "1.5", ""])
def test_a_wait_that_makes_no_sense_is_refused(api: Client, wait: str) -> None:
    answer = api("GET", "/changes", params={"since": _present(api), "wait": wait})
    assert (answer.status_code, answer.json()["field"]) == (400, "wait")


def _present(api: Client) -> str:
    token: str = api.get("/state", limit=1)["change_token"]
    return token


# ---- many ----


def _write(user: User, number: int) -> None:
    """Many changes of few files."""
    for count in range(40):
        name = f"/{number}-{count % 5}"
        answer = user("DELETE", name) if count % 7 == 6 else user.put(name, b"%d %d" % (number, count))
        assert answer.status_code in (201, 204, 404), answer.text


def _read(client: Client, events: Events, picture: dict[str, str], token: str, last: str) -> list[str]:
    """Ask for the changes at each event, until `last` is there; the tokens of the events."""
    tokens = []
    while last not in picture:
        tokens.append(events.next())
        has_more = True
        while has_more:
            page = client.get("/changes", since=token, limit=7)
            for change in page["changes"]:
                picture.pop(change["path"], None)
                if change["action"] != "deleted":
                    picture[change["path"]] = change["sha256"]
            token, has_more = page["change_token"], page["has_more"]
    return tokens


def test_readers_who_follow_events_know_everything(
    server: Server, ada: User, api: Client, listen: Callable[..., Events]
) -> None:
    """Built only from the state and from changes asked for at each event, a picture equals the state at the end."""
    state = api.get("/state", limit=10_000)
    assert state["next_cursor"] is None
    start = {file["path"]: file["sha256"] for file in state["files"]}
    pictures = [dict(start) for _ in range(3)]
    with ThreadPoolExecutor(10) as pool:
        readers = [
            pool.submit(_read, Client(server, USER), listen(), picture, state["change_token"], f"{ada.top}/last")
            for picture in pictures
        ]
        writers = [pool.submit(_write, User(server, USER, ada.top), number) for number in range(4)]
        for writer in writers:
            writer.result()
        ada.put("/last")
        heard = [reader.result() for reader in readers]
    final = {file["path"]: file["sha256"] for file in api.get("/state", limit=10_000)["files"]}
    assert all({path: sha256 for path, sha256 in picture.items() if sha256} == final for picture in pictures)
    for tokens in heard:
        numbers = [int(token.rpartition(".")[2]) for token in tokens]
        assert all(before < after for before, after in pairwise(numbers))


def _threads(server: Server) -> int:
    return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in server.pids())


def test_many_listeners_cost_little_and_hold_no_stop_up(tmp_path: Path) -> None:
    """No thread each, and together less than their share of 64 MiB for a thousand; all are told."""
    with Server(tmp_path / "data") as server, contextlib.ExitStack() as stack:
        # With a token: hashing a password takes memory of its own for a moment.
        authorization = f"Bearer {Client(server, 'admin').registered().device['token']}"
        for _ in range(10):  # what each worker has for listeners is there
            stack.enter_context(contextlib.closing(Events(server, authorization))).next()
        threads, memory = _threads(server), server.rss()
        streams = [stack.enter_context(contextlib.closing(Events(server, authorization))) for _ in range(MANY)]
        for events in streams:
            events.next()
        assert _threads(server) <= threads + 2 * 4  # those of the pools, which are not larger for it
        assert server.rss() - memory < MANY * 64 * 1024
        User(server, "admin").put("/file")
        assert len({events.next() for events in streams}) == 1
        workers = server.pids()[1:]
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        assert all(events.ends() for events in streams)
        wait_for(lambda: not set(server.pids()) & set(workers), 20, "the old workers have left")
        stack.enter_context(contextlib.closing(Events(server, authorization))).next()
