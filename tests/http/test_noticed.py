"""Changes made behind the server's back come to clients that look at no path: by the ETag of the root and by REPORT."""

import hashlib
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.client import User, etag
from tests.http.test_sync_collection import Mirror
from tests.serving import Server, processes, wait_for

SECONDS = 20


@pytest.fixture
def home(alice: User) -> Path:
    """The folder on the disk behind alice's collection."""
    return alice.server.home("alice") / alice.top.strip("/")


@pytest.fixture
def follow(alice: User) -> "Following":
    return Following(alice)


class Following(Mirror):
    """A client that sees everything without looking at any path below its collection."""

    def __init__(self, user: User) -> None:
        super().__init__(user)
        self.sync()

    def agrees(self, folder: Path) -> None:
        """Wait until it has just what is on the disk."""

        def is_so() -> bool:
            if (now := on_disk(folder)) != self._seen():
                self.sync()
            return self._seen() == now

        wait_for(is_so, SECONDS, "the client has what is on the disk")

    def _seen(self) -> dict[str, str | None]:
        """ETags of files, None for collections."""
        return {path: None if "-" in tag else tag for path, tag in self.tree.items()}


def on_disk(folder: Path) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".baludav"]
        for name in folders:
            found[f"/{(Path(where) / name).relative_to(folder)}"] = None
        for name in files:
            path = Path(where) / name
            found[f"/{path.relative_to(folder)}"] = etag(path.read_bytes())
    return found


def _colour(user: User, path: str, colour: str) -> None:
    body = f'<propertyupdate xmlns="DAV:"><set><prop><c xmlns="urn:x">{colour}</c></prop></set></propertyupdate>'
    assert user("PROPPATCH", path, body.encode()).status_code == 207


def test_the_root_etag_tells(alice: User, home: Path) -> None:
    """A client that polls one ETag learns of everything."""
    root = User(alice.server, "alice")
    for change in (
        lambda: (home / "f").write_bytes(b"new"),
        lambda: (home / "f").write_bytes(b"edited"),
        lambda: (home / "f").rename(home / "g"),
        lambda: (home / "a/b").mkdir(parents=True),
        lambda: (home / "g").rename(home / "a/b/g"),
        lambda: (home / "a").rename(home / "c"),
        lambda: shutil.rmtree(home / "c"),
    ):
        before = root.prop("/", "{DAV:}getetag")
        change()
        wait_for(lambda before=before: root.prop("/", "{DAV:}getetag") != before, SECONDS, "another ETag of the root")


def test_every_kind_of_change_is_reported(home: Path, follow: Following) -> None:
    (home / "f").write_bytes(b"new")
    follow.agrees(home)
    with (home / "f").open("ab") as file:
        file.write(b" and more")
    follow.agrees(home)
    (home / "tmp").write_bytes(b"saved by rename")
    (home / "tmp").rename(home / "f")
    follow.agrees(home)
    (home / "f").unlink()
    (home / "f").mkdir()
    (home / "f/g").write_bytes(b"in a folder with the name of a file")
    follow.agrees(home)
    shutil.rmtree(home / "f")
    (home / "f").write_bytes(b"and back")
    follow.agrees(home)


def test_a_deep_tree_is_copied_in(home: Path, follow: Following, tmp_path: Path) -> None:
    chance = random.Random(7)
    for number in range(300):
        folder = tmp_path / "tree" / "/".join(chance.choice("abc") for _ in range(chance.randrange(7)))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(chance.randbytes(chance.randrange(20_000)))
    shutil.copytree(tmp_path / "tree", home / "copied")
    follow.agrees(home)
    (tmp_path / "tree").rename(home / "moved in")
    follow.agrees(home)


def test_files_in_folders_that_nobody_watches_yet(home: Path, follow: Following) -> None:
    """Made, and filled, and moved, before the server can have seen them."""
    for number in range(100):
        deep = home / f"{number % 10}" / f"d{number}" / "e" / "f"
        deep.mkdir(parents=True)
        (deep / "file").write_bytes(b"%d" % number)
        if number % 3 == 0:
            (deep / "file").rename(deep.parent / "moved")
        if number % 5 == 0:
            deep.parent.rename(home / f"moved {number}")
    follow.agrees(home)


def test_files_that_live_shortly(home: Path, follow: Following) -> None:
    for number in range(300):
        file = home / f"f{number % 7}"
        file.write_bytes(b"%d" % number)
        if number % 2:
            file.unlink()
    (home / "last").write_bytes(b"last")
    follow.agrees(home)


def test_what_is_moved_stays_itself(alice: User, home: Path, follow: Following) -> None:
    """A file, a folder, one file over another, two that are swapped: each takes its properties along."""
    for path in ("/d", "/d/e", "/other"):
        alice("MKCOL", path)
    for path in ("/f", "/g", "/h", "/i", "/d/e/m"):
        alice.put(path, path.encode())
        _colour(alice, path, f"of {path}")
    _colour(alice, "/d", "of /d")
    follow.sync()
    (home / "f").rename(home / "other/f2")
    (home / "d").rename(home / "other/d2")
    (home / "g").rename(home / "over")
    follow.agrees(home)
    (home / "over").rename(home / "other/f2")
    (home / "h").rename(home / "t")
    (home / "i").rename(home / "h")
    (home / "t").rename(home / "i")
    follow.agrees(home)
    for now, then in {
        "/other/f2": "/g", "/other/d2": "/d", "/other/d2/e/m": "/d/e/m", "/h": "/i", "/i": "/h",
    }.items():  # fmt: skip
        assert alice.prop(now, "{urn:x}c") == f"of {then}"


def test_a_storm(alice: User, home: Path, follow: Following) -> None:
    """Random changes from outside, beside those of clients, and nothing is missed."""
    chance = random.Random(11)
    names = ["a", "b", "c"]

    def some() -> Path:
        return home / "/".join(chance.choice(names) for _ in range(chance.randint(1, 4)))

    for turn in range(1500):
        one, other = some(), some()
        try:
            match chance.randrange(9):
                case 0 | 1:
                    one.mkdir(parents=True)
                case 2 | 3 | 4:
                    one.write_bytes(b"%d" % turn)
                case 5 | 6:
                    one.rename(other)
                case 7:
                    shutil.rmtree(one) if one.is_dir() else one.unlink()
                case 8 if turn % 4 == 0:
                    alice.put(f"/{one.relative_to(home)}", b"client %d" % turn)
        except OSError:
            pass  # the parent is not there, or the like
        if turn % 100 == 0:
            follow.sync()
    follow.agrees(home)
    listed = alice.propfind("", depth="infinity")
    assert set(listed) == {"/", *follow.tree}
    assert all(listed[path].text("{DAV:}getetag") == tag for path, tag in follow.files().items())


def test_a_file_that_grows_slowly(home: Path, follow: Following) -> None:
    """It is there while it is written; its ETag is that of all of it soon after."""
    with (home / "log").open("wb", buffering=0) as file:
        file.write(b"first line\n")
        follow.agrees(home)
        file.write(b"second line\n")
        follow.agrees(home)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, with a share that is not there yet."""
    shares = {"Late": {"folder": str(tmp_path / "late"), "write": ["anna"]}}
    with Server(tmp_path / "data", shares=shares) as server:
        server.add_user("anna")
        yield server


def test_a_share_that_comes_and_goes(own: Server, tmp_path: Path) -> None:
    """Mounted later, it is noticed; not mounted, nothing in it is taken for deleted."""
    anna = User(own, "anna")
    (tmp_path / "late/d").mkdir(parents=True)
    (tmp_path / "late/d/f").write_bytes(b"f")
    wait_for(lambda: anna("PROPFIND", "/Late", Depth="0").status_code == 207, SECONDS, "the share is there")
    share = User(own, "anna", "/Late")
    follow = Following(share)
    follow.agrees(tmp_path / "late")
    (tmp_path / "late").rename(tmp_path / "unmounted")
    (tmp_path / "late").mkdir()
    wait_for(lambda: share.get("/d/f").status_code == 503, SECONDS, "not mounted")
    wait_for(lambda: "share Late: not mounted" in own.log.read_text(), SECONDS, "the log says so")
    (tmp_path / "late").rmdir()
    (tmp_path / "unmounted").rename(tmp_path / "late")
    wait_for(lambda: share.get("/d/f").status_code == 200, SECONDS, "mounted")
    assert follow.sync() == {}
    (tmp_path / "late/d/g").write_bytes(b"g")
    follow.agrees(tmp_path / "late")


def test_a_user_that_is_new(own: Server) -> None:
    own.add_user("zoe")
    zoe = User(own, "zoe")
    follow = Following(zoe)
    (own.home("zoe") / "f").write_bytes(b"f")
    follow.agrees(own.home("zoe"))


def test_a_user_that_is_made_again(own: Server) -> None:
    """Every process serves the new home, and what is in it is noticed."""
    own.add_user("zoe")
    User(own, "zoe").put("/old")
    own.baludav("user", "delete", "zoe", "--files", "--yes")
    own.add_user("zoe")
    zoe = User(own, "zoe")
    wait_for(lambda: zoe.put("/f").status_code in (201, 204), SECONDS, "the new home")
    for _ in range(10):  # over several connections, so that every process is asked
        assert set(User(own, "zoe").propfind("/", depth="1")) == {"/", "/f"}
    follow = Following(zoe)
    (own.home("zoe") / "g").write_bytes(b"g")
    follow.agrees(own.home("zoe"))


def test_what_changed_while_it_was_stopped(own: Server) -> None:
    anna = User(own, "anna")
    anna("MKCOL", "/d")
    for path in ("/d/f", "/g", "/h"):
        anna.put(path, path.encode())
        _colour(anna, path, path)
    follow = Following(anna)
    own.stop()
    home = own.home("anna")
    (home / "d").rename(home / "e")
    (home / "g").unlink()
    (home / "h").write_bytes(b"edited")
    (home / "new").write_bytes(b"new")
    own.start()
    follow.agrees(home)
    assert anna.prop("/e/f", "{urn:x}c") == "/d/f"


def _keeping(server: Server) -> int | None:
    """The process that keeps."""
    inode = (server.data / "keeping").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None


def test_the_process_that_keeps_is_killed(own: Server) -> None:
    """Another goes on, and what happened in between is not missed."""
    follow = Following(User(own, "anna"))
    home = own.home("anna")
    for turn in range(2):
        (home / f"before {turn}").write_bytes(b"1")
        follow.agrees(home)
        killed = _keeping(own)
        assert killed in own.pids()[1:]
        os.kill(killed, signal.SIGKILL)
        (home / f"between {turn}").write_bytes(b"2")
        wait_for(lambda killed=killed: _keeping(own) not in (None, killed), SECONDS, "another takes over")
        follow.agrees(home)
    wait_for(lambda: len(own.pids()) == 3, SECONDS, "the killed are replaced")


def test_it_stops_while_it_reads_much(own: Server) -> None:
    """Server.stop() fails if that takes long."""
    home = own.home("anna")
    with (home / "huge").open("wb") as file:
        file.truncate(1 << 40)
    for number in range(2000):
        (home / f"f{number}").write_bytes(b"%d" % number)
    own.restart()
    own.restart()


def test_a_large_file_is_hashed_beside(own: Server) -> None:
    """Its name comes at once, its ETag when it is known; small ones do not wait for it."""
    anna = User(own, "anna")
    follow = Following(anna)
    home = own.home("anna")
    with (home / "large").open("wb") as file:
        file.truncate(300 << 20)
    (home / "small").write_bytes(b"small")
    wait_for(lambda: "/small" in follow.sync() or "/small" in follow.tree, SECONDS, "the small one")
    digest = hashlib.sha256()
    for _ in range(300):
        digest.update(bytes(1 << 20))
    expected = f'"{digest.hexdigest()}"'
    wait_for(lambda: follow.sync() is not None and follow.tree.get("/large") == expected, SECONDS, "the large one")
    assert set(own.pids()) <= set(processes())
