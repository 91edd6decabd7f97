"""davfs2: the tree as a folder of this machine, through the kernel."""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.client import User
from tests.serving import Server, wait_for


@contextlib.contextmanager
def mounted(server: Server, *options: str) -> Iterator[Path]:
    """Alice's tree as a folder; unmounted at the end, which sends what davfs2 still holds back.

    Args:
        options: further lines of davfs2.conf.
    """
    name, password = server.auth("alice")
    # Not below pytest's own folder: the mount helper reaches its cache as a user of its own.
    with tempfile.TemporaryDirectory(prefix="baludav-davfs2-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        point, cache = folder / "mount", folder / "cache"
        point.mkdir()
        cache.mkdir()
        cache.chmod(0o777)  # the mount helper keeps its cache as a user of its own
        url = f"{server.url}/dav/"
        secrets, config = folder / "secrets", folder / "davfs2.conf"
        secrets.write_text(f'{url} {name} "{password}"\n')
        secrets.chmod(0o600)
        lines = [
            "ask_auth 0",
            "buf_size 64",
            "delay_upload 0",
            "gui_optimize 0",
            f"secrets {secrets}",
            f"cache_dir {cache}",
            *options,
        ]
        config.write_text("\n".join([*lines, ""]))
        subprocess.run(["mount", "-t", "davfs", "-o", f"conf={config}", url, str(point)], check=True, timeout=60)
        try:
            yield point
        finally:
            subprocess.run(["umount", str(point)], check=True, timeout=60)


def run(*command: str, cwd: Path) -> None:
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small tree with awkward names."""
    tree = tmp_path / "source"
    (tree / "sub dir").mkdir(parents=True)
    (tree / "sub dir" / "ä & #1%.txt").write_bytes(b"x" * 10_000)
    (tree / "plain.txt").write_text("alpha\nbeta\n")
    (tree / "empty").touch()
    return tree


def sums(top: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder of the disk."""
    return {
        path.relative_to(top).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in top.rglob("*")
        if path.is_file()
    }


def test_everyday_work(server: Server, source: Path) -> None:
    """cp, mv, sed -i, dd and rm in the mount leave the same bytes on the server's disk."""
    with mounted(server) as point:
        run("cp", "-r", str(source), "work", cwd=point)
        run("mv", "work/plain.txt", "work/renamed.txt", cwd=point)
        run("sed", "-i", "s/beta/gamma/", "work/renamed.txt", cwd=point)
        run("dd", "if=/dev/zero", "of=work/zeros", "bs=64k", "count=20", "status=none", cwd=point)
        run("rm", "work/empty", cwd=point)
    (source / "plain.txt").rename(source / "renamed.txt")
    (source / "renamed.txt").write_text("alpha\ngamma\n")
    (source / "zeros").write_bytes(bytes(64 * 1024 * 20))
    (source / "empty").unlink()
    assert sums(server.home("alice") / "work") == sums(source)


def test_folders_are_listed(server: Server, folder: str) -> None:
    """Small and large, with all that is in them."""
    name = folder.rpartition("/")[2]
    top = server.home("alice") / name
    for part, count in (("few", 3), ("many", 2_000)):
        (top / part).mkdir()
        for number in range(count):
            (top / part / f"a file with a long name, number {number}").write_bytes(b"%d" % number)
    with mounted(server) as point:
        for part in ("few", "many"):
            assert sorted(os.listdir(point / name / part)) == sorted(os.listdir(top / part))
        assert sums(point / name / "few") == sums(top / "few")


def test_git_clone_into_the_mount(server: Server, tmp_path: Path) -> None:
    """A repository cloned into the mount is whole."""
    origin = tmp_path / "origin"
    origin.mkdir()
    run("git", "init", "-q", cwd=origin)
    for number in range(5):
        (origin / f"file{number}").write_text(f"{number}\n" * 100)
        run("git", "add", ".", cwd=origin)
        run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", str(number), cwd=origin)
    with mounted(server) as point:
        run("git", "clone", "-q", str(origin), "clone", cwd=point)
    clone = server.home("alice") / "clone"
    run("git", "fsck", "--full", cwd=clone)
    assert {p: s for p, s in sums(clone).items() if not p.startswith(".git/")} == {
        p: s for p, s in sums(origin).items() if not p.startswith(".git/")
    }


def test_a_file_that_is_open_is_locked(server: Server) -> None:
    """From the first write until it is closed, for everybody else; with Expect, as it is set behind some proxies."""
    alice = User(server, "alice")
    with mounted(server, "use_expect100 1") as point:
        with (point / "open.txt").open("w") as file:
            file.write("by davfs2")
            file.flush()
            wait_for(lambda: alice.put("/open.txt", b"by another").status_code == 423, 30, "the file is locked")
            held = alice.session.get(f"{server.url}/api/sync/locks?path=/open.txt", timeout=60).json()["locks"]
            assert [(lock["path"], lock["owner"], lock["client"][:6]) for lock in held] == [
                ("/open.txt", "alice", "davfs2")
            ]
        wait_for(lambda: alice.get("/open.txt").content == b"by davfs2", 30, "it is sent")
        wait_for(lambda: not alice.prop("/open.txt", "{DAV:}lockdiscovery"), 30, "the lock is given back")
        assert alice.put("/open.txt", b"by another").status_code == 204


def test_two_mounts_side_by_side(server: Server) -> None:
    """What one mount writes, the other reads, in both directions."""
    with mounted(server) as one, mounted(server) as two:
        (one / "from-one").write_text("written by one")
        wait_for(lambda: (server.home("alice") / "from-one").exists(), 30, "the first mount uploads")
        wait_for(lambda: (server.home("alice") / "from-one").read_text() == "written by one", 30, "it is whole")
        wait_for(lambda: (two / "from-one").exists(), 30, "the second mount sees it")
        assert (two / "from-one").read_text() == "written by one"
        (two / "from-two").write_text("written by two")
        wait_for(lambda: (server.home("alice") / "from-two").exists(), 30, "the second mount uploads")
    assert (server.home("alice") / "from-two").read_text() == "written by two"
