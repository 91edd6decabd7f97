"""Clients that keep files on the server, and know at each moment what must be there."""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from perf.soaking.line import Line
from perf.soaking.scene import Cut, Scene, Wrong

NAMES = tuple(f"file {number}" for number in range(6))
_SIZES = (0, 100, 4_096, 4_096, 20_000, 60_000, 300_000)
_LISTING = b'<propfind xmlns="DAV:"><prop><getetag/><resourcetype/></prop></propfind>'
_DAV = "{DAV:}"


@dataclass(frozen=True)
class Body:
    """Bytes that can be made again at any time."""

    seed: int
    size: int
    sha256: str

    @classmethod
    def made(cls, chance: random.Random, size: int) -> "Body":
        seed = chance.getrandbits(48)
        return cls(seed, size, hashlib.sha256(random.Random(seed).randbytes(size)).hexdigest())

    def __bytes__(self) -> bytes:
        return random.Random(self.seed).randbytes(self.size)


World = Mapping[str, Body]  # what is there, by name


class Keeper:
    """A client with a collection of its own.

    Attributes:
        prefix: where the tree begins, as this kind of client asks for it.
        held: what must be there, by name.
    """

    kind = "keeper"
    sizes: tuple[int, ...] = _SIZES

    def __init__(self, scene: Scene, user: str, number: int) -> None:
        self.scene = scene
        self.user = user
        self.chance = random.Random(f"{scene.seed} {number}")
        self.line = Line(scene, user)
        self.prefix = "/dav"
        self.folder = f"{self.kind}-{number}"
        self.held: dict[str, Body] = {}

    # ---- its life ----

    def run(self) -> None:
        """Work until the scene ends, or something is wrong."""
        try:
            self.begin()
            while not self.scene.stop.wait(self.chance.uniform(0, 2 * self.scene.pause)):
                self.turn()
        except Wrong as wrong:
            self.scene.tally.problem(f"{self.user}, {self.folder}: {wrong}")

    def begin(self) -> None:
        self.line.surely("MKCOL", f"/dav/{self.folder}", 201, 405)

    def turn(self) -> None:
        """Do one thing."""
        raise NotImplementedError

    def finish(self) -> None:
        """When all is quiet: compare what the server and the disk have with what was acknowledged."""
        try:
            self.settle(self.held)
            self._compare_bytes()
        except Wrong as wrong:
            self.scene.tally.problem(f"{self.user}, {self.folder}, at the end: {wrong}")
        self.line.close()

    def _compare_bytes(self) -> None:
        folder = self.disk
        there = {path.name for path in folder.iterdir() if path.is_file()}
        if there != self.held.keys():
            raise Wrong(f"the disk has {sorted(there)} instead of {sorted(self.held)}")
        for name, body in self.held.items():
            wanted = body.sha256
            answer = self.line.surely("GET", self.target(name), 200)
            on_disk = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            if not answer.etag == answer.sha256 == on_disk == wanted:
                raise Wrong(f"{name}: ETag {answer.etag}, GET {answer.sha256}, disk {on_disk}, written {wanted}")

    # ---- what it knows ----

    @property
    def disk(self) -> Path:
        """Its collection on the disk."""
        return self.scene.server.data / "files" / self.user / self.folder

    def target(self, name: str) -> str:
        return f"{self.prefix}/{self.folder}/{name}".replace(" ", "%20")

    def new_body(self) -> Body:
        return Body.made(self.chance, self.chance.choice(self.sizes))

    def with_one(self, name: str, body: Body | None) -> World:
        """What would be there with other bytes at one name, or without them."""
        others = {one: kept for one, kept in self.held.items() if one != name}
        return others if body is None else {**others, name: body}

    def attempt(self, after: World, method: str, target: str, *statuses: int, body: bytes = b"", **fields: str) -> bool:
        """A change after which `after` is there; False if it was cut, and the server was asked how it ended."""
        try:
            self.line.ask(method, target, *statuses, body=body, **fields)
        except Cut:
            self.settle(self.held, after)
            return False
        self.held = dict(after)
        return True

    def settle(self, *worlds: World) -> None:
        """Find out which of these is there."""
        seen = self.listing()
        for world in worlds:
            if seen == _etags(world):
                self.held = dict(world)
                return
        raise Wrong(f"the server has {_short(seen)}, and not {' or '.join(_short(_etags(world)) for world in worlds)}")

    def listing(self) -> dict[str, str]:
        """Bare entity-tags of the members that are no collections."""
        answer = self.line.surely("PROPFIND", f"/dav/{self.folder}/", 207, body=_LISTING, Depth="1")
        return {
            name: entry.findtext(f".//{_DAV}getetag", "").strip('"')
            for name, entry in members(answer.body)
            if entry.find(f".//{_DAV}collection") is None
        }


def members(multistatus: bytes) -> Iterator[tuple[str, etree._Element]]:
    """The responses of a multistatus, by the last part of their paths."""
    for entry in etree.fromstring(multistatus).iter(f"{_DAV}response"):
        yield entry.findtext(f"{_DAV}href", "").rstrip("/").rpartition("/")[2].replace("%20", " "), entry


def _etags(world: World) -> dict[str, str]:
    return {name: body.sha256 for name, body in world.items()}


def _short(etags: Mapping[str, str]) -> str:
    return str({name: etag[:12] for name, etag in sorted(etags.items())})
