"""rclone copies, syncs, checks, moves and purges trees, with and without the vendor that keeps times."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.trees import contents, plant
from tests.serving import Server

Rclone = Callable[..., str]


@pytest.fixture(params=["other", "owncloud"])
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rclone(server: Server, folder: str, tmp_path: Path, vendor: str) -> Rclone:
    """Runs rclone with a remote `nas:`, a fresh folder of alice's; gives what it printed."""
    user, password = server.auth("alice")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RCLONE_")},
        "HOME": str(tmp_path),
        "RCLONE_CACHE_DIR": str(tmp_path / "cache"),
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_RETRIES": "1",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
        "RCLONE_CONFIG_NAS_TYPE": "webdav",
        "RCLONE_CONFIG_NAS_URL": folder,
        "RCLONE_CONFIG_NAS_VENDOR": vendor,
        "RCLONE_CONFIG_NAS_USER": user,
    }

    def rclone(*arguments: str | Path, input: bytes = b"") -> str:
        ran = subprocess.run(
            ["rclone", *map(str, arguments)],
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
    rclone: Rclone, tree: Path, stored: Path, tmp_path: Path, vendor: str
) -> None:
    rclone("copy", "--create-empty-src-dirs", tree, "nas:tree")
    assert contents(stored / "tree") == contents(tree)
    rclone("check", "--download", tree, "nas:tree")
    rclone("copy", "--create-empty-src-dirs", "nas:tree", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(tree)
    if vendor == "owncloud":
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


@pytest.mark.parametrize("vendor", ["owncloud"], indirect=True)
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
    (first / "made there").write_bytes(b"edited on the other side")
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
