"""GNOME Files: `gio` with gvfs, in a session bus of its own, without a desktop."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize
from urllib.parse import quote, urlsplit

import pytest

from tests.conformance.trees import AWKWARD, contents
from tests.serving import Server, wait_for

SECONDS = 60


class Desktop:
    """Someone's session: a bus on which gvfs starts its daemons when they are asked for."""

    def __init__(self, home: Path) -> None:
        (home / "run").mkdir(mode=0o700)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DBUS_", "XDG_", "GVFS_"))},
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "GVFS_DISABLE_FUSE": "1",
            "GVFS_REMOTE_VOLUME_MONITOR_IGNORE": "1",
            "LC_ALL": "C.UTF-8",
        }
        # It lasts until its standard input is closed.
        self._session = subprocess.Popen(
            ["dbus-run-session", "--", "sh", "-c", 'echo "$DBUS_SESSION_BUS_ADDRESS"; exec cat'],
            env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._session.stdout is not None
        self._environment["DBUS_SESSION_BUS_ADDRESS"] = self._session.stdout.readline().strip()

    def gio(self, *arguments: str, input: str = "", fails: bool = False) -> str:
        """Run a command that must succeed, or must fail; what it printed."""
        ran = subprocess.run(
            ["gio", *arguments], env=self._environment, input=input, capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
        assert (ran.returncode != 0) == fails, f"gio {' '.join(arguments)}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout + (ran.stderr if fails else "")

    def close(self) -> None:
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        self._session.stdin.close()
        self._session.wait(SECONDS)
        self._session.stdout.close()


@pytest.fixture
def desktop(server: Server) -> Iterator[Desktop]:
    """A session in which alice's tree is mounted."""
    # A short path: it becomes part of the names of sockets.
    with tempfile.TemporaryDirectory(prefix="baludav-gvfs-") as home:
        desktop = Desktop(Path(home))
        try:
            name, password = server.auth("alice")
            address = f"dav://{name}@127.0.0.1:{server.port}/dav/"
            desktop.gio("mount", address, input=f"{password}\n")
            wait_for(lambda: f":{server.port}" in desktop.gio("mount", "--list"), SECONDS, "the tree is mounted")
            yield desktop
            desktop.gio("mount", "--unmount", address)
        finally:
            desktop.close()


@pytest.fixture
def top(server: Server, folder: str) -> str:
    """The address of a fresh folder, as GNOME writes it."""
    return f"dav://alice@127.0.0.1:{server.port}{urlsplit(folder).path}"


@pytest.fixture
def stored(server: Server, folder: str) -> Path:
    return server.home("alice") / folder.rpartition("/")[2]


def test_everyday_work(desktop: Desktop, top: str, stored: Path, tmp_path: Path) -> None:
    """New, replaced, edited in place, renamed, moved, copied, read and deleted; the room left is known."""
    (tmp_path / "up.bin").write_bytes(bytes(range(256)) * 20_000)
    desktop.gio("copy", str(tmp_path / "up.bin"), f"{top}/up.bin")
    desktop.gio("copy", str(tmp_path / "up.bin"), f"{top}/up.bin")
    desktop.gio("save", f"{top}/notes.txt", input="first")
    desktop.gio("save", f"{top}/notes.txt", input="second")
    desktop.gio("mkdir", f"{top}/sub")
    desktop.gio("move", f"{top}/notes.txt", f"{top}/sub/notes.txt")
    desktop.gio("rename", f"{top}/sub/notes.txt", "Notizen äöü #1.txt")
    desktop.gio("rename", f"{top}/sub", "Ordner")
    there = f"{top}/Ordner/{quote('Notizen äöü #1.txt')}"
    desktop.gio("copy", there, f"{top}/copy")
    assert desktop.gio("cat", f"{top}/copy") == "second"
    assert desktop.gio("list", f"{top}/Ordner").split("\n")[0] == "Notizen äöü #1.txt"
    desktop.gio("copy", f"{top}/up.bin", str(tmp_path / "down.bin"))
    assert (tmp_path / "down.bin").read_bytes() == (tmp_path / "up.bin").read_bytes()
    assert "filesystem::free" in desktop.gio("info", "--filesystem", top)
    assert set(contents(stored)) == {"Ordner", "Ordner/Notizen äöü #1.txt", "copy", "up.bin"}
    assert (stored / "up.bin").read_bytes() == (tmp_path / "up.bin").read_bytes()
    for address in (there, f"{top}/Ordner", f"{top}/copy", f"{top}/up.bin"):
        desktop.gio("remove", address)
    assert contents(stored) == {}


def test_nothing_is_overwritten_unasked(desktop: Desktop, top: str, stored: Path) -> None:
    """A name that is taken, and a file that another changed after it was opened."""
    desktop.gio("save", f"{top}/a", input="a")
    desktop.gio("save", f"{top}/b", input="b")
    desktop.gio("rename", f"{top}/a", "b", fails=True)
    desktop.gio("mkdir", f"{top}/b", fails=True)
    info = desktop.gio("info", "--attributes=etag::value", f"{top}/a")
    etag = info.partition("etag::value:")[2].strip()
    assert etag
    desktop.gio("save", f"--etag={etag}", f"{top}/a", input="changed")
    desktop.gio("save", f"--etag={etag}", f"{top}/a", input="of the day before", fails=True)
    assert {path.name: path.read_text() for path in stored.iterdir()} == {"a": "changed", "b": "b"}


def test_awkward_names(desktop: Desktop, top: str, stored: Path) -> None:
    """Each is uploaded, shown in the listing as it is, and read again."""
    for name in AWKWARD:
        desktop.gio("save", f"{top}/{quote(name)}", input=name)
    composed = {normalize("NFC", name) for name in AWKWARD}
    assert set(contents(stored)) == composed
    assert {normalize("NFC", line) for line in desktop.gio("list", "--hidden", top).splitlines()} == composed
    for name in AWKWARD:
        assert desktop.gio("cat", f"{top}/{quote(name)}") == name
