"""A client that knows nothing but ETags: it polls the top, and looks only into collections whose ETag has changed."""

import random

from tests.http.client import User
from tests.serving import wait_for

BODY = '<propfind xmlns="DAV:"><prop><getetag/><resourcetype/></prop></propfind>'
FOLDERS, FILES, CHANGES = 12, 6, 60


class Poller:
    """What the client believes is there: ETags by path; `requests` counts what it has asked."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.tags: dict[str, str] = {}
        self.requests = 0

    def poll(self) -> None:
        self.requests += 1
        ((path, found),) = self.user.propfind("", BODY).items()
        tag = found.text("{DAV:}getetag") or ""
        if self.tags.get(path) != tag:
            self._enter(path)
            self.tags[path] = tag

    def _enter(self, path: str) -> None:
        self.requests += 1
        found = self.user.propfind("" if path == "/" else path, BODY, depth="1")
        del found[path]
        below = "" if path == "/" else path
        gone = [p for p in self.tags if p.rpartition("/")[0] == below and p not in found and p != "/"]
        for name in gone:
            self.tags = {p: t for p, t in self.tags.items() if p != name and not p.startswith(name + "/")}
        for name, member in found.items():
            tag = member.text("{DAV:}getetag") or ""
            if self.tags.get(name) != tag:
                if member.get("{DAV:}resourcetype").find("{DAV:}collection") is not None:  # type: ignore[union-attr]
                    self._enter(name)
                self.tags[name] = tag

    def truth(self) -> dict[str, str]:
        found = self.user.propfind("", BODY, depth="infinity")
        return {path: one.text("{DAV:}getetag") or "" for path, one in found.items()}


def test_polling_etags_finds_every_change(alice: User) -> None:
    """After each change the client has just what the server has, and has asked for no more than the way to it."""
    other = User(alice.server, "alice", alice.top)
    for folder in range(FOLDERS):
        other("MKCOL", f"/{folder}")
        other("MKCOL", f"/{folder}/in")
        for file in range(FILES):
            other.put(f"/{folder}/in/{file}", b"%d" % file)
    poller = Poller(alice)
    poller.poll()
    assert poller.tags == poller.truth()
    chance = random.Random(6578)
    for number in range(CHANGES):
        folder, goal = (f"/{chance.randrange(FOLDERS)}/in" for _ in range(2))
        file = f"{folder}/{chance.randrange(FILES)}"
        kind = chance.choice(["PUT", "PUT", "DELETE", "MOVE", "MKCOL"])
        if kind == "PUT":
            other.put(file, b"new %d" % number)
        elif kind == "MOVE":
            other("MOVE", file, Destination=f"{goal}/moved-{number}")
        else:
            other(kind, f"{folder}/made-{number}" if kind == "MKCOL" else file)
        poller.requests = 0
        poller.poll()
        assert poller.tags == poller.truth()
        assert poller.requests <= 1 + 1 + 2 * 2, "the top twice, and two levels at two places"
        poller.requests = 0
        poller.poll()
        assert poller.requests == 1, "nothing has changed: one request"


def test_polling_etags_finds_what_was_changed_outside(alice: User) -> None:
    """Nobody looks at the path; the ETag of the top changes all the same."""
    alice("MKCOL", "/a")
    alice.put("/a/f", b"old")
    poller = Poller(alice)
    poller.poll()
    home = alice.server.home("alice") / alice.top.strip("/")
    (home / "a" / "f").write_bytes(b"changed over ssh")

    def is_found() -> bool:
        poller.poll()
        return poller.tags == poller.truth()

    before = dict(poller.tags)
    wait_for(lambda: is_found() and poller.tags != before, 20, "the change is found by polling")
