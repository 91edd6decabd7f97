"""rclone copies, syncs, checks, moves and purges trees; the vendor decides what it asks of times and hashes.

Debian's rclone is old, and what today's does is another thing (uploads in chunks, names with a colon): both run.
"""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conformance.trees import contents, plant
from tests.serving import Server

Rclone = Callable[..., str]

TODAY = str(Path(sys.executable).with_name("rclone"))  # from PyPI
DEBIAN = "rclone"


class Remote(NamedTuple):
    """Which rclone speaks to the server, and whom it takes it for."""

    program: str
    vendor: str

    @property
    def keeps_times(self) -> bool:
        return self.vendor != "other"


REMOTES = [
    Remote(DEBIAN, "other"),
    Remote(DEBIAN, "owncloud"),
    Remote(DEBIAN, "nextcloud"),
    Remote(TODAY, "owncloud"),
    Remote(TODAY, "nextcloud"),
]


def _label(remote: Remote) -> str:
    return f"{'today' if remote.program == TODAY else 'debian'}-{remote.vendor}"


with_times = pytest.mark.parametrize(
    "remote", [remote for remote in REMOTES if remote.keeps_times], indirect=True, ids=_label
)


@pytest.fixture(params=REMOTES, ids=_label)
def remote(request: pytest.FixtureRequest) -> Remote:
    chosen: Remote = request.param
    return chosen


@pytest.fixture
def rclone(server: Server, folder: str, tmp_path: Path, remote: Remote) -> Rclone:
    """Runs rclone with a remote `nas:`, a fresh folder of alice's; gives what it printed."""
    user, password = server.auth("alice")
    if remote.vendor == "nextcloud":  # sends chunks only to a server whose paths look like Nextcloud's
        folder = folder.replace("/dav/", "/remote.php/dav/files/alice/")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RCLONE_")},
        "HOME": str(tmp_path),
        "RCLONE_CACHE_DIR": str(tmp_path / "cache"),
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_RETRIES": "1",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
        "RCLONE_CONFIG_NAS_TYPE": "webdav",
        "RCLONE_CONFIG_NAS_URL": folder,
        "RCLONE_CONFIG_NAS_VENDOR": remote.vendor,
        "RCLONE_CONFIG_NAS_USER": user,
    }

    def rclone(*arguments: str | Path, input: bytes = b"") -> str:
        ran = subprocess.run(
            [remote.program, *map(str, arguments)],
            env=environment,
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        output = ran.stdout.decode(errors="replace")
        assert ran.returncode == 0, f"rclone {arguments[0]}: {ran.returncode}\n{output}"
        return output

    environment["RCLONE_CONFIG_NAS_PASS"] = rclone("obscure", password).strip()
    return rclone


@pytest.fixture
def stored(server: Server, folder: str) -> Path:
    """Where the server keeps what is in `nas:`."""
    return server.home("alice") / folder.rpartition("/")[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree")


def test_a_copied_tree_is_the_same_on_the_disk_and_back(
    rclone: Rclone, tree: Path, stored: Path, tmp_path: Path, remote: Remote
) -> None:
    rclone("copy", "--create-empty-src-dirs", tree, "nas:tree")
    assert contents(stored / "tree") == contents(tree)
    rclone("check", "--download", tree, "nas:tree")
    rclone("copy", "--create-empty-src-dirs", "nas:tree", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(tree)
    if remote.keeps_times:
        for name in ["5 MB", "empty", "what?", ".hidden", "deep/er/est/file"]:
            times = {(top / name).stat().st_mtime for top in [tree, stored / "tree", tmp_path / "back"]}
            assert len(times) == 1, f"{name} lost its time: {times}"


def test_a_sync_carries_changes_and_deletions_and_then_rests(rclone: Rclone, tree: Path, stored: Path) -> None:
    rclone("sync", "--create-empty-src-dirs", tree, "nas:tree")
    assert "Skipped" not in rclone("sync", "--dry-run", tree, "nas:tree"), "a second sync finds nothing to do"

    (tree / "what?").write_bytes(b"changed, and longer than before " * 40)
    (tree / "100%").unlink()
    (tree / "deep" / "er" / "est" / "file").rename(tree / "deep" / "moved up")
    (tree / "a+b").write_bytes(b"")
    (tree / "deep" / "er" / "est").rmdir()
    rclone("sync", "--create-empty-src-dirs", tree, "nas:tree")
    assert contents(stored / "tree") == contents(tree)
    rclone("check", "--download", tree, "nas:tree")

    (stored / "tree" / "changed on the disk").write_bytes(b"by hand")
    rclone("sync", "nas:tree", tree)
    assert (tree / "changed on the disk").read_bytes() == b"by hand"


def test_moveto_renames_files_and_trees(rclone: Rclone, tree: Path, stored: Path) -> None:
    rclone("copy", "--create-empty-src-dirs", tree, "nas:tree")
    rclone("moveto", "nas:tree/what?", "nas:tree/where; 100%?#")
    (tree / "what?").rename(tree / "where; 100%?#")
    assert contents(stored / "tree") == contents(tree)
    rclone("moveto", "nas:tree", "nas:a #2 tree")
    assert not (stored / "tree").exists()
    assert contents(stored / "a #2 tree") == contents(tree)


def test_purge_leaves_nothing_and_nothing_else(rclone: Rclone, tree: Path, stored: Path) -> None:
    rclone("copy", "--create-empty-src-dirs", tree, "nas:tree")
    rclone("rcat", "nas:beside", input=b"stays")
    rclone("purge", "nas:tree")
    assert list(contents(stored)) == ["beside"]


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_rcat_stores_a_stream_of_unknown_length(rclone: Rclone, stored: Path, size: int) -> None:
    body = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    rclone("rcat", "nas:new folder/stream?", input=body)
    assert (stored / "new folder" / "stream?").read_bytes() == body


def test_about_tells_the_space_left(rclone: Rclone) -> None:
    assert "Free:" in rclone("about", "nas:")


def test_names_at_the_top_of_the_remote(rclone: Rclone, tree: Path, stored: Path, tmp_path: Path) -> None:
    """Of `co:lon` Debian's rclone makes `./co:lon` (RFC 3986 §4.2), in requests and in Destination."""
    rclone("copy", "--create-empty-src-dirs", tree, "nas:")
    assert contents(stored) == contents(tree)
    rclone("check", "--download", tree, "nas:")
    rclone("moveto", "nas:co:lon|pipe*star", "nas:an:other")
    (tree / "co:lon|pipe*star").rename(tree / "an:other")
    rclone("copyto", "nas:an:other", "nas:deep/c:py")
    (tree / "deep" / "c:py").write_bytes((tree / "an:other").read_bytes())
    assert contents(stored) == contents(tree)
    rclone("check", "--download", tree, "nas:")
    rclone("deletefile", "nas:an:other")
    assert not (stored / "an:other").exists()


@with_times
def test_files_are_compared_by_hash_and_time(rclone: Rclone, tree: Path, stored: Path, remote: Remote) -> None:
    """A second sync sends nothing; a change that keeps size and time is found by hash, one of the time by the time."""
    rclone("sync", "--create-empty-src-dirs", tree, "nas:tree")
    wanted = hashlib.sha1((tree / "5 MB").read_bytes(), usedforsecurity=False).hexdigest()
    assert wanted in rclone("hashsum", "sha1", "nas:tree")
    if remote.vendor == "owncloud":
        wanted = hashlib.md5((tree / "5 MB").read_bytes(), usedforsecurity=False).hexdigest()
        assert wanted in rclone("hashsum", "md5", "nas:tree")
    said = rclone("check", "--verbose", tree, "nas:tree")
    assert "0 differences" in said
    assert "hashes could not be checked" not in said
    before = {path: path.stat() for path in stored.rglob("*")}
    rclone("sync", tree, "nas:tree")
    rclone("sync", "--checksum", tree, "nas:tree")
    assert {path: path.stat() for path in stored.rglob("*")} == before, "neither was anything to do"

    changed = tree / "5 MB"
    was = changed.stat()
    changed.write_bytes(changed.read_bytes()[::-1])
    os.utime(changed, ns=(was.st_atime_ns, was.st_mtime_ns))
    rclone("sync", tree, "nas:tree")
    assert contents(stored / "tree") != contents(tree), "size and time are the same"
    rclone("sync", "--checksum", tree, "nas:tree")
    assert contents(stored / "tree") == contents(tree)

    at = 1_234_567_890
    os.utime(tree / "what?", (at, at))
    inode = (stored / "tree" / "what?").stat().st_ino
    rclone("sync", tree, "nas:tree")
    if remote == Remote(TODAY, "nextcloud"):
        assert (stored / "tree" / "what?").stat().st_ino == inode, "the others send the bytes again"
    assert (stored / "tree" / "what?").stat().st_mtime == at


@pytest.mark.parametrize("remote", [Remote(TODAY, "nextcloud")], indirect=True, ids=_label)
def test_a_large_file_goes_up_in_chunks(rclone: Rclone, tree: Path, stored: Path, server: Server) -> None:
    """Twice, so that the second upload replaces the first; nothing is left of the chunks."""
    arguments = ("--webdav-nextcloud-chunk-size", "1Mi", "--verbose", "--verbose")
    for body in (random.Random(1).randbytes(5_000_000), random.Random(2).randbytes(7_340_033)):
        (tree / "5 MB").write_bytes(body)
        said = rclone("sync", *arguments, tree, "nas:")
        assert "5 MB: Update will use the chunked upload strategy" in said
        assert (stored / "5 MB").read_bytes() == body
        assert (stored / "5 MB").stat().st_mtime == int((tree / "5 MB").stat().st_mtime)
    rclone("check", tree, "nas:")
    assert list((server.home("alice") / ".baludav" / "uploads").glob("*")) == []


@pytest.mark.parametrize("remote", [Remote(DEBIAN, "owncloud"), Remote(TODAY, "owncloud")], indirect=True, ids=_label)
def test_two_folders_stay_the_same_through_the_server(rclone: Rclone, stored: Path, tmp_path: Path) -> None:
    """`rclone bisync`, as two people use it: edits, new files, renames and deletions on both sides meet."""
    sides = [tmp_path / name for name in ("first", "second")]

    def bisync(side: Path, *options: str) -> None:
        rclone("bisync", side, "nas:", "--workdir", tmp_path / f"{side.name}.work", "--verbose", *options)

    for name in ("a file", "deep/er/est/file", "schöne Grüße/🎌 日本", "#hash?&%41+", ".hidden"):
        file = sides[0] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode() * 99)
    sides[1].mkdir()
    for side in sides:
        bisync(side, "--resync")
    assert contents(sides[0]) == contents(sides[1]) == contents(stored)
    first, second = sides
    (first / "edited here").write_bytes(b"one")
    (second / "made there").write_bytes(b"two")
    for side in (*sides, *sides):
        bisync(side)
    assert contents(first) == contents(second) == contents(stored)
    made = (first / "made there").stat().st_mtime
    (first / "made there").write_bytes(b"edited on the other side")
    os.utime(first / "made there", (made + 2, made + 2))  # rclone compares whole seconds
    (second / "edited here").rename(second / "renamed")
    (first / "made there").with_name("a new one").write_bytes(b"x" * 70_000)
    for side in (*sides, *sides):
        bisync(side)
    assert contents(first) == contents(second) == contents(stored)
    assert (second / "made there").read_bytes() == b"edited on the other side"
    assert (first / "renamed").read_bytes() == b"one"
    (second / "renamed").unlink()
    for side in (*sides, *sides):
        bisync(side)
    assert not (first / "renamed").exists()
    assert contents(first) == contents(second) == contents(stored)


# The last one takes a Nextcloud's addresses only where the files are.
@pytest.mark.parametrize("remote", REMOTES[:-1], indirect=True, ids=_label)
def test_the_trash_is_looked_through_and_emptied(server: Server, rclone: Rclone, remote: Remote) -> None:
    """By the path that sync clients know: another place of the same account."""
    user = f"rclone-trash-{_label(remote)}"
    server.add_user(user)
    files, trash = (
        f":webdav,vendor={remote.vendor},user={user},pass={rclone('obscure', server.auth(user)[1]).strip()},"
        f"url='{server.url}/remote.php/dav/{place}/{user}':"
        for place in ("files", "trashbin")
    )
    for name in ("one", "two", "three"):
        rclone("rcat", f"{files}{name}", input=name.encode())
        rclone("deletefile", f"{files}{name}")
    names = {name.partition(".d")[0]: name for name in rclone("lsf", f"{trash}trash").split()}
    assert set(names) == {"one", "two", "three"}
    assert rclone("cat", f"{trash}trash/{names['one']}") == "one"
    rclone("deletefile", f"{trash}trash/{names['two']}")
    assert set(rclone("lsf", f"{trash}trash").split()) == {names["one"], names["three"]}
    rclone("purge", f"{trash}trash")
    assert rclone("lsf", f"{trash}trash") == ""
