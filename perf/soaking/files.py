"""A client that does with files what RFC 4918 offers, with connections that break off in the middle."""

import re

from lxml import etree

from perf.soaking.keeping import NAMES, Body, Keeper
from perf.soaking.line import Answer
from perf.soaking.scene import Cut, Scene, Wrong

_LOCK = (
    b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype><owner>soak</owner>'
    b"</lockinfo>"
)
_LOCKS = b'<propfind xmlns="DAV:"><prop><lockdiscovery/></prop></propfind>'
_TOKEN = re.compile(rb"<(?:\w+:)?locktoken><(?:\w+:)?href>([^<]+)<")
_NOTED = "noted"
_NOTES = b'<propfind xmlns="DAV:"><prop><note xmlns="urn:soak"/></prop></propfind>'
_PATCH = '<propertyupdate xmlns="DAV:"><set><prop><note xmlns="urn:soak">{}</note></prop></set></propertyupdate>'


class Files(Keeper):
    """A client on its own, over plain WebDAV."""

    kind = "files"

    def __init__(self, scene: Scene, user: str, number: int) -> None:
        super().__init__(scene, user, number)
        self._names = (self.folder, f"{self.folder}-moved")
        self._ghosts: dict[str, Body] = {}
        self._note = ""
        self._turns = (
            [self._put] * 6 + [self._get] * 4 + [self._range, self._not_modified, self._list] * 2
            + [self._move, self._copy, self._delete, self._annotate, self._lock, self._stale, self._rename]
            + [self._broken_put] * 2 + [self._broken_get, self._ghost]
        )  # fmt: skip

    def begin(self) -> None:
        super().begin()
        self.line.surely("MKCOL", f"/dav/ghosts-of-{self._names[0]}", 201, 405)
        body = Body.made(self.chance, 10)
        self.line.surely("PUT", self.target(_NOTED), 201, 204, body=bytes(body))
        self.held[_NOTED] = body

    def turn(self) -> None:
        self.chance.choice(self._turns)()

    def finish(self) -> None:
        super().finish()
        folder = self.scene.server.data / "files" / self.user / f"ghosts-of-{self._names[0]}"
        for path in folder.iterdir():
            if path.read_bytes() != bytes(self._ghosts[path.name]):
                self.scene.tally.problem(f"{path.name} has other bytes than those that were sent")

    # ---- writing ----

    def _put(self) -> None:
        name, body = self.chance.choice(NAMES), self.new_body()
        old = self.held.get(name)
        fields = {}
        if self.chance.random() < 0.5:
            fields = {"If_Match": f'"{old.sha256}"'} if old else {"If_None_Match": "*"}
        self.attempt(
            self.with_one(name, body), "PUT", self.target(name), 204 if old else 201, body=bytes(body), **fields
        )

    def _stale(self) -> None:
        """A client that knows an older version must not overwrite the newer one."""
        name, body, other = self.chance.choice(NAMES), Body.made(self.chance, 50_000), Body.made(self.chance, 100)
        self.line.surely("PUT", self.target(name), 412, body=bytes(body), If_Match=f'"{other.sha256}"')

    def _move(self) -> None:
        if found := self._pair():
            name, to, body = found
            after = {**self.with_one(name, None), to: body}
            self.attempt(after, "MOVE", self.target(name), self._made(to), Destination=self.target(to))

    def _copy(self) -> None:
        if found := self._pair():
            name, to, body = found
            self.attempt(
                self.with_one(to, body), "COPY", self.target(name), self._made(to), Destination=self.target(to)
            )

    def _delete(self) -> None:
        if found := self._pair():
            name, _, _ = found
            self.attempt(self.with_one(name, None), "DELETE", self.target(name), 204)

    def _annotate(self) -> None:
        """Set a dead property, of a file that nothing is moved over or away from."""
        note = f"note {self.chance.random()}"
        try:
            self.line.ask("PROPPATCH", self.target(_NOTED), 207, body=_PATCH.format(note).encode())
        except Cut:
            self._check_note(self._note, note)
        else:
            self._note = note

    def _check_note(self, *notes: str) -> None:
        answer = self.line.surely("PROPFIND", self.target(_NOTED), 207, body=_NOTES, Depth="0")
        seen = etree.fromstring(answer.body).findtext(".//{urn:soak}note", "")
        if seen not in notes:
            raise Wrong(f"the note is {seen!r} instead of {' or '.join(map(repr, notes))}")
        self._note = seen

    def _lock(self) -> None:
        if not self.held:
            return
        name, body = self.chance.choice(sorted(self.held)), self.new_body()
        target = self.target(name)
        try:
            answer = self.line.ask("LOCK", target, 200, body=_LOCK, Timeout="Second-600", Depth="0")
            token = answer.headers["Lock-Token"]
            self.line.ask("PUT", target, 423, body=bytes(body))
            self.attempt(self.with_one(name, body), "PUT", target, 204, body=bytes(body), If=f"({token})")
            self.line.ask("UNLOCK", target, 204, Lock_Token=token)
        except Cut:
            self._unlock(target)

    def _unlock(self, target: str) -> None:
        """Give up a lock of which the client does not know whether it has it."""
        found = _TOKEN.search(self.line.surely("PROPFIND", target, 207, body=_LOCKS, Depth="0").body)
        if found:
            self.line.surely("UNLOCK", target, 204, 409, Lock_Token=f"<{found[1].decode()}>")

    def _rename(self) -> None:
        """Move the whole collection, where only one of the names may exist afterwards."""
        old = self.folder
        (new,) = {*self._names} - {old}
        try:
            self.line.ask("MOVE", f"/dav/{old}", 201, Destination=f"/dav/{new}")
        except Cut:
            there = [name for name in self._names if self._is_there(name)]
            if len(there) != 1:
                raise Wrong(f"after a MOVE that was cut there is {there}") from None
            new = there[0]
        self.folder = new
        self.settle(self.held)

    def _is_there(self, folder: str) -> bool:
        return self.line.surely("PROPFIND", f"/dav/{folder}/", 207, 404, body=_LOCKS, Depth="0").status == 207

    # ---- breaking off ----

    def _broken_put(self) -> None:
        """Of a body that did not come, nothing is seen."""
        name, body = self.chance.choice(NAMES), bytes(Body.made(self.chance, self.chance.choice((5_000, 400_000))))
        sent = self.chance.randrange(len(body))
        self.line.break_off("PUT", self.target(name), body, sent, reset=self.chance.random() < 0.5)
        self.settle(self.held)

    def _ghost(self) -> None:
        """Of a body that came, but whose sender did not wait, either all is seen or nothing: at an own name."""
        name, body = f"ghost-{len(self._ghosts)}", self.new_body()
        self._ghosts[name] = body
        target = f"/dav/ghosts-of-{self._names[0]}/{name}"
        self.line.break_off("PUT", target, bytes(body), body.size, reset=self.chance.random() < 0.5)

    def _broken_get(self) -> None:
        if self.held:
            name = self.chance.choice(sorted(self.held))
            read = self.chance.randrange(self.held[name].size + 1)
            self.line.turn_away(self.target(name), read, reset=self.chance.random() < 0.5)

    # ---- reading ----

    def _get(self) -> None:
        name = self.chance.choice(NAMES)
        body = self.held.get(name)
        answer = self.line.surely("GET", self.target(name), 200 if body else 404)
        if body and not answer.etag == answer.sha256 == body.sha256:
            raise Wrong(f"GET {name}: ETag {answer.etag}, bytes {answer.sha256}, written {body.sha256}")

    def _range(self) -> None:
        large = [name for name, body in sorted(self.held.items()) if body.size]
        if large:
            name = self.chance.choice(large)
            body = bytes(self.held[name])
            first = self.chance.randrange(len(body))
            last = self.chance.randrange(first, len(body))
            answer = self.line.surely("GET", self.target(name), 206, Range=f"bytes={first}-{last}")
            if answer.body != body[first : last + 1]:
                raise Wrong(f"GET {name}: other bytes than those from {first} to {last}")

    def _not_modified(self) -> None:
        if self.held:
            name = self.chance.choice(sorted(self.held))
            etag = f'"{self.held[name].sha256}"'
            answer: Answer = self.line.surely("GET", self.target(name), 304, If_None_Match=etag)
            if answer.body:
                raise Wrong(f"GET {name}: 304 with a body")

    def _list(self) -> None:
        self.settle(self.held)
        self._check_note(self._note)

    # ---- choosing ----

    def _pair(self) -> tuple[str, str, Body] | None:
        """A name with something, and another name."""
        there = sorted(self.held.keys() & {*NAMES})
        if not there:
            return None
        name = self.chance.choice(there)
        to = self.chance.choice([other for other in NAMES if other != name])
        return name, to, self.held[name]

    def _made(self, name: str) -> int:
        return 204 if name in self.held else 201
