"""No change is lost: what a reader believes who knows only the feed is what is there, whoever writes and dies."""

import contextlib
import hashlib
import http.client
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
import requests

from tests.http.client import User, basic
from tests.http.mirror import Mirror
from tests.serving import Server, processes, wait_for
from tests.sync.client import Client, Events, Picture, number

WORKERS = 3
WRITERS = 6
REQUESTS = 250  # of each writer
COLLECTIONS = ["/a", "/b", "/a/c", "/b/d", "/a/c/e"]
NAMES = ["1", "2", "3", "Ä"]
LAST = "/last"

# What a request may be answered, as others write to the same paths all the time.
EXPECTED = {201, 204, 403, 404, 405, 409, 412}

# A worker that was killed has answered nothing, or half of it.
BROKEN_OFF = (requests.RequestException, http.client.HTTPException, EOFError, OSError)


# ---- those who write ----


def _path(chance: Random, *, is_collection: bool = False) -> str:
    collection = chance.choice(COLLECTIONS)
    return collection if is_collection else f"{collection}/{chance.choice(NAMES)}"


def _write(user: User, chance: Random) -> None:
    """Requests of all kinds, with and without conditions, to the same few paths as everybody's."""
    for count in range(REQUESTS):
        try:
            answer = _request(user, chance, b"%d %d" % (chance.getrandbits(64), count))
        except BROKEN_OFF:
            continue
        assert answer.status_code in EXPECTED, f"{answer.request.method}: {answer.status_code} {answer.text}"


def _request(user: User, chance: Random, body: bytes) -> requests.Response:
    path, other = _path(chance), _path(chance)
    what = chance.choice(["put"] * 6 + ["put if"] * 2 + ["mkcol"] * 3 + ["move", "copy", "delete", "tree"])
    overwrite = chance.choice("TF")
    match what:
        case "put":
            return user.put(path, body)
        case "put if":
            seen = user("HEAD", path)
            tag = {"If_Match": seen.headers["ETag"]} if seen.status_code == 200 else {"If_None_Match": "*"}
            return user.put(path, body, **tag)
        case "mkcol":
            return user("MKCOL", _path(chance, is_collection=True))
        case "move" | "copy":
            return user(what.upper(), path, Destination=other, Overwrite=overwrite)
        case "delete":
            return user("DELETE", path)
    collection, other = _path(chance, is_collection=True), _path(chance, is_collection=True)
    if chance.random() < 0.3:
        return user("DELETE", collection)
    return user(chance.choice(["MOVE", "COPY"]), collection, Destination=other, Overwrite=overwrite)


def _write_outside(home: Path, chance: Random, stop: threading.Event) -> int:
    """The same without the server, on its disk; how often something was done."""
    done = 0
    while not stop.wait(chance.uniform(0, 0.03)):
        path, other = home / _path(chance)[1:], home / _path(chance)[1:]
        with contextlib.suppress(OSError):
            _change(path, other, home, chance)
            done += 1
    return done


def _change(path: Path, other: Path, home: Path, chance: Random) -> None:
    match chance.choice(["write", "write", "save", "move", "remove", "tree"]):
        case "write":
            path.write_bytes(b"outside %d" % chance.getrandbits(64))
        case "save":  # as editors do
            written = path.with_name("saving")
            written.write_bytes(b"saved outside %d" % chance.getrandbits(64))
            written.rename(path)
        case "move":
            path.rename(other)
        case "remove":
            path.unlink()
        case "tree":
            collection, target = (home / _path(chance, is_collection=True)[1:] for _ in range(2))
            if chance.random() < 0.3:
                shutil.rmtree(collection)
            elif chance.random() < 0.5:
                collection.rename(target)
            else:
                collection.mkdir()


# ---- those who read ----


class Reader:
    """Follows the feed until it has told of the last change, in a way that subclasses choose.

    Attributes:
        is_shallow: knows of the members of the top only, but their entity-tags.
        rounds: how often something new was heard of.
    """

    is_shallow = False
    poll_seconds = 0.1

    def __init__(self) -> None:
        self.rounds = 0

    def run(self, last: str, is_over: threading.Event) -> None:
        with contextlib.closing(self):
            while not self.knows(last):
                assert not is_over.is_set(), "it was too late"
                with contextlib.suppress(*BROKEN_OFF):
                    self.rounds += bool(self.follow())
                is_over.wait(self.poll_seconds)
            self.follow()

    def knows(self, path: str) -> bool:
        raise NotImplementedError

    def follow(self) -> object:
        """Take over what is new; falsy if nothing is."""
        raise NotImplementedError

    def believes(self) -> object:
        """What is there, as far as it knows."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing more is read."""


class ChangesReader(Reader):
    """Asks for the changes, and may wait for them."""

    def __init__(self, server: Server, name: str, limit: int, wait: int) -> None:
        super().__init__()
        self.wait = wait
        self.poll_seconds = 0 if wait else 0.1
        self.picture = Picture(Client(server, name), limit)
        self.picture.read()

    def knows(self, path: str) -> bool:
        return path in self.picture.tree

    def follow(self) -> object:
        return self.picture.follow(0 if self.knows(LAST) else self.wait)

    def believes(self) -> object:
        return self.picture.tree


class EventsReader(ChangesReader):
    """Asks for the changes when it is told that there are some."""

    def __init__(self, server: Server, name: str, limit: int) -> None:
        super().__init__(server, name, limit, 0)
        self.poll_seconds = 0
        self.listen = lambda: Events(server, basic(*server.auth(name)), self.heard)
        self.heard = ""
        self.events: Events | None = None

    def follow(self) -> object:
        if self.knows(LAST):
            return super().follow()
        try:
            self.events = self.events or self.listen()
            heard = self.events.next()
        except BROKEN_OFF:
            self.close()
            raise
        assert number(heard) > number(self.heard or "-1"), "an event goes back, or comes twice"
        self.heard = heard
        found = super().follow()
        assert number(self.picture.change_token) >= number(heard), "an event tells of what cannot be asked for"
        return found

    def close(self) -> None:
        if self.events is not None:
            self.events.close()
            self.events = None


class ReportReader(Reader):
    """Asks by RFC 6578."""

    def __init__(self, server: Server, name: str, limit: int, level: str = "infinite") -> None:
        super().__init__()
        self.mirror = Mirror(User(server, name), level=level, limit=limit)
        self.mirror.sync()
        self.is_shallow = level == "1"

    def knows(self, path: str) -> bool:
        return path in self.mirror.tree

    def follow(self) -> object:
        return self.mirror.sync()

    def believes(self) -> object:
        if self.is_shallow:
            return self.mirror.tree
        # Of collections above what has changed nothing is told but that they are there.
        return {path: None if "-" in tag else tag.strip('"') for path, tag in self.mirror.tree.items()}


# ---- what is there ----


def _on_disk(home: Path) -> dict[str, str | None]:
    """SHA-256 of every file, None for a collection."""
    found: dict[str, str | None] = {}
    for folder, below, files in os.walk(home):
        below[:] = [name for name in below if name != ".baludav"]
        at = "/" + os.path.relpath(folder, home) + "/" if folder != str(home) else "/"
        found |= dict.fromkeys(at + name for name in below)
        found |= {at + name: hashlib.sha256(Path(folder, name).read_bytes()).hexdigest() for name in files}
    return found


def _state(client: Client) -> dict[str, str | None]:
    picture = Picture(client, 10_000)
    picture.read()
    return picture.tree


def _kill_workers(server: Server, chance: Random, stop: threading.Event) -> int:
    """kill -9 of one worker after the other; how many."""
    killed = 0
    while not stop.wait(chance.uniform(0.5, 1.5)):
        master, *workers = server.pids()
        victim = chance.choice(workers)
        os.kill(victim, signal.SIGKILL)
        killed += 1
        wait_for(lambda victim=victim: victim not in processes() and len(server.pids()) == WORKERS + 1, 20, "a new one")
        assert server.pids()[0] == master
    return killed


@pytest.mark.parametrize("is_deadly", [False, True], ids=["all live", "workers are killed"])
def test_readers_know_what_is_there(tmp_path: Path, is_deadly: bool) -> None:
    """Each reader's picture is the state, the DAV tree and the disk; and no reader has seen a token go back."""
    stop, is_over = threading.Event(), threading.Event()
    with ThreadPoolExecutor(32) as pool, contextlib.ExitStack() as stack:
        stack.callback(is_over.set)
        server = stack.enter_context(Server(tmp_path / "data", workers=WORKERS))
        stack.callback(stop.set)
        server.add_user("alice")
        api, dav, home = Client(server, "alice"), User(server, "alice"), server.home("alice")
        begun = number(api.get("/state", limit=1)["change_token"])
        readers: list[Reader] = [
            *(ChangesReader(server, "alice", limit, wait) for limit, wait in ((1000, 60), (7, 60), (50, 0))),
            *(EventsReader(server, "alice", limit) for limit in (1000, 20)),
            *(ReportReader(server, "alice", limit) for limit in (0, 30)),
            ReportReader(server, "alice", 0, "1"),
        ]
        reading = [pool.submit(reader.run, LAST, is_over) for reader in readers]
        outside = pool.submit(_write_outside, home, Random(99), stop)
        killing = pool.submit(_kill_workers, server, Random(98), stop) if is_deadly else None
        for writer in [pool.submit(_write, User(server, "alice"), Random(n)) for n in range(WRITERS)]:
            writer.result()
        stop.set()
        assert outside.result() > 50
        assert killing is None or killing.result() > 1
        wait_for(lambda: _state(api) == _on_disk(home), 30, "what was changed outside is known")
        assert dav.put(LAST).status_code == 201
        for reader in reading:
            reader.result()
        state = _state(api)
        assert state == _on_disk(home)
        members = {path: found.text("{DAV:}getetag") for path, found in dav.propfind("/", depth="1").items()}
        del members["/"]
        for one in readers:
            assert one.rounds > 3
            assert one.believes() == (members if one.is_shallow else state)
        assert number(api.get("/state", limit=1)["change_token"]) - begun > WRITERS * REQUESTS // 2
