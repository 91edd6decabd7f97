"""Many writers at once, by every door, toward one quota: what is stored never passes it, and no room is lost."""

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.http.client import SECONDS, User
from tests.serving import Server
from tests.sync.client import Client

QUOTA = 2_000_000
SIZE = 150_000


@pytest.fixture
def ilse(tmp_path: Path) -> Iterator[User]:
    """A user who may hold 2 MB, and has less than a tenth of it."""
    shares = {"Team": {"folder": str(tmp_path / "team"), "write": ["ilse"]}}
    (tmp_path / "team").mkdir()
    environment = {"BALUDAV_BULK_UPLOAD": "true"}
    with Server(tmp_path / "data", shares=shares, environment=environment) as server:
        server.add_user("ilse", quota=str(QUOTA))
        yield User(server, "ilse")


def test_every_door_at_once(ilse: User) -> None:
    """PUT, chunks, COPY, MOVE from a share, restore, tus, bulk and PATCH, each from several threads."""
    body = bytes(SIZE)
    ilse.put("/source", body)
    ilse.put("/old", body)
    ilse("DELETE", "/old")
    api = Client(ilse.server, "ilse")
    (entry,) = api.get("/trash")["entries"]
    for number in range(4):
        ilse.put(f"/Team/{number}", body)

    def tus(number: int) -> requests.Response:
        user = User(ilse.server, "ilse", mount="/uploads")
        path = base64.b64encode(f"/tus-{number}".encode()).decode()
        return user(
            "POST", "/", body, Tus_Resumable="1.0.0", Upload_Length=str(SIZE), Upload_Metadata=f"path {path}",
            Content_Type="application/offset+octet-stream",
        )  # fmt: skip

    def bulk(number: int) -> requests.Response:
        part = b"--x\r\nX-File-Path: /bulk-%d\r\nContent-Length: %d\r\n\r\n%b\r\n--x--\r\n" % (number, SIZE, body)
        user = User(ilse.server, "ilse", mount="/remote.php/dav")
        return user("POST", "/bulk", part, Content_Type="multipart/related; boundary=x")

    append = {"X_Update_Range": "append", "Content_Type": "application/x-sabredav-partialupdate"}
    doors: list[Callable[[int], requests.Response]] = [
        lambda number: User(ilse.server, "ilse").put(f"/put-{number}", body),
        lambda number: User(ilse.server, "ilse")("PUT", f"/chunks-{number}", iter([body[: SIZE // 2]] * 2)),
        lambda number: User(ilse.server, "ilse")("COPY", "/source", Destination=f"/copy-{number}"),
        lambda number: User(ilse.server, "ilse")("MOVE", f"/Team/{number}", Destination=f"/moved-{number}"),
        lambda number: Client(ilse.server, "ilse")("POST", "/trash/restore", json={"trash_id": entry["trash_id"]}),
        lambda number: User(ilse.server, "ilse")("PATCH", "/source", body, **append),
        tus,
        bulk,
    ]
    answers: list[requests.Response] = []
    most, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], _shown(ilse))

    gate = threading.Barrier(4 * len(doors))

    def write(door: Callable[[int], requests.Response], number: int) -> None:
        gate.wait(SECONDS)
        answers.append(door(number))

    threads = [threading.Thread(target=write, args=(door, number)) for door in doors for number in range(4)]
    watcher = threading.Thread(target=watch)
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    watcher.join()
    assert {answer.status_code for answer in answers} <= {200, 201, 204, 404, 507}
    assert {answer.status_code for answer in answers} >= {201, 507}
    assert max(most[0], _shown(ilse)) <= QUOTA
    rest = QUOTA - int(ilse.prop("", "{DAV:}quota-used-bytes") or 0)
    assert ilse.put("/rest", bytes(rest)).status_code == 201, "what was refused holds no room"
    assert ilse.put("/more", b"x").status_code == 507


def _shown(user: User) -> int:
    """Bytes of the files that the user sees in her home."""
    total = 0
    for path in user.server.home(user.name).glob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
