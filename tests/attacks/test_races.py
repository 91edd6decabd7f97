"""A local program swaps a folder for a symbolic link, again and again, while requests are on their way through it."""

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from baludav.tree.disk import kernel
from tests.http.client import User
from tests.serving import TOP, Server

ROUNDS = 16
SECRET = b"not for you"
APPEND = {"X_Update_Range": "append", "Content_Type": "application/x-sabredav-partialupdate"}
XML = {
    "PROPPATCH": b'<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:t">1</a></prop></set></propertyupdate>',
    "LOCK": b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>',
}


@pytest.fixture
def outside(fort: Server, tmp_path: Path) -> Path:
    """A folder elsewhere on the disk, with names that the folder in the home has too, and one that it has not."""
    for name in ("f", "g", "only-outside"):
        (tmp_path / name).write_bytes(SECRET)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f").write_bytes(SECRET)
    return tmp_path


def _snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Bytes, times and links of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = path.lstat()
        bytes_ = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (bytes_, kind.st_mtime_ns, kind.st_nlink)
    return found


@contextlib.contextmanager
def _swapping(door: Path, target: Path) -> Iterator[None]:
    """Inside, `door` is a folder and a link to `target` by turns, many thousand times a second."""
    link = door.with_name("link")
    link.symlink_to(target)
    command = [sys.executable, "-m", "tests.attacks.swapping", str(door), str(link)]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as swapper:
        assert swapper.stdin and swapper.stdout
        try:
            assert swapper.stdout.readline() == "ready\n"
            yield
        finally:
            swapper.stdin.close()
            assert swapper.wait(30) == 0


@pytest.mark.parametrize("where", ["home", "share"])
def test_a_folder_that_becomes_a_link(fort: Server, outside: Path, where: str) -> None:
    """Nothing behind the link is read, listed, written, moved or deleted, whenever the link appears."""
    mallory = User(fort, "mallory", "/Team" if where == "share" else "")
    top = fort.data.parent / "team" if where == "share" else fort.home("mallory")
    door = top / "door"
    (door / "sub").mkdir(parents=True)
    before = _snapshot(outside)
    refused = {400, 403, 404, 405, 409, 412, 423, 503}
    with _swapping(door, outside):
        for done in range(ROUNDS):
            for method, path, body, fields in (
                ("PUT", "/door/f", b"mine", {}),
                ("GET", "/door/f", None, {}),
                ("GET", "/door/only-outside", None, {}),
                ("GET", "/door/", None, {}),
                ("PROPFIND", "/door/", None, {"Depth": "1"}),
                ("PUT", f"/door/new-{done}", b"mine", {}),
                ("PATCH", "/door/g", b"mine", APPEND),
                ("PROPPATCH", "/door/f", XML["PROPPATCH"], {}),
                ("LOCK", f"/door/locked-{done}", XML["LOCK"], {"Timeout": "Second-1"}),
                ("MKCOL", f"/door/made-{done}", None, {}),
                ("COPY", "/door/f", None, {"Destination": "/door/g"}),
                ("COPY", "/door", None, {"Destination": f"/copy-{done}"}),
                ("COPY", "/door/sub", None, {"Destination": f"/sub-{done}"}),
                ("MOVE", "/door/g", None, {"Destination": f"/moved-{done}"}),
                ("MOVE", f"/moved-{done}", None, {"Destination": "/door/f"}),
                ("DELETE", "/door/only-outside", None, {}),
                ("DELETE", "/door/f", None, {}),
            ):
                answer = mallory(method, path, body, **fields)
                assert answer.status_code in refused | {200, 201, 204, 207}, (method, path, answer.text)
                assert SECRET not in answer.content, (method, path)
                if method == "PROPFIND" or path.endswith("/"):
                    assert b"only-outside" not in answer.content, (method, path)
    assert _snapshot(outside) == before
    copies = [path for path in top.rglob("*") if path.is_file() and not path.is_symlink()]
    assert copies
    assert all(path.read_bytes() != SECRET for path in copies)


def test_where_the_kernel_cannot_confine(outside: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without openat2 (before Linux 5.6, and in some sandboxes) each name is opened by itself, and no link followed."""
    top = tmp_path_factory.mktemp("top")
    (top / "door" / "sub").mkdir(parents=True)
    for place in ("door/f", "door/sub/f"):
        (top / place).write_bytes(b"mine")
    folder = os.open(top, os.O_PATH | os.O_DIRECTORY)
    found = []
    try:
        with _swapping(top / "door", outside):
            for number in range(3_000):
                place = (b"door/f", b"door/sub/f", b"door")[number % 3]
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    try:
                        fd = kernel._open_each(folder, place, os.O_RDONLY)
                    except OSError as error:
                        if error.errno != errno.ELOOP:
                            raise
                        continue
                    found.append(os.pread(fd, 20, 0) if place != b"door" else repr(sorted(os.listdir(fd))).encode())
                    os.close(fd)
        for place in (b"../x", b"door/../../x", b"/etc/passwd"):
            with pytest.raises(OSError, match="cross-device"):
                kernel._open_each(folder, place, os.O_RDONLY)
    finally:
        os.close(folder)
    assert set(found) == {b"mine", b"['f', 'sub']"}


def test_a_file_with_another_name_elsewhere(fort: Server, outside: Path) -> None:
    """Of a hard link, only the name here gets new bytes: none are written to what both names mean."""
    user, home = User(fort, "mallory"), fort.home("mallory")
    for method, body, fields in (
        ("PATCH", b"x", APPEND),
        ("PATCH", b"x", {**APPEND, "X_Update_Range": "bytes=0-0"}),
        ("PUT", b"new", {}),
    ):
        (home / "hard").unlink(missing_ok=True)
        os.link(outside / "f", home / "hard")
        assert user(method, "/hard", body, **fields).status_code == 204
        assert (outside / "f").read_bytes() == SECRET
        assert (home / "hard").read_bytes() != SECRET
