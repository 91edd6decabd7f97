"""Runs a sync client of the Nextcloud family for two devices of one user, and what must hold whatever they do."""

import contextlib
import itertools
import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.conformance.trees import contents, plant
from tests.serving import Server, wait_for

SECONDS = 120
SMALL_FILES = 2_000
_numbers = itertools.count()


class Device:
    """A local folder that one client keeps in step with the server.

    Args:
        program: `nextcloudcmd` or `owncloudcmd`.
        top: a temporary folder for this device alone.
    """

    def __init__(self, server: Server, user: str, program: str, top: Path) -> None:
        self.server = server
        self.user = user
        self.program = program
        self.folder = top / "files"
        self.folder.mkdir(parents=True)
        self._excluded = top / "excluded"
        self._excluded.write_text(".sync_*\n._sync_*\n*~\n")
        self._home = top / "home"
        self._home.mkdir()
        self._output = top / "output"

    def command(self, *options: str) -> list[str]:
        user, password = self.server.auth(self.user)
        known = ["--non-interactive", "-h", "--exclude", str(self._excluded), "--user", user, "--password", password]
        return [self.program, *known, *options, str(self.folder), self.server.url]

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG")}
        return {**kept, "HOME": str(self._home), "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(self._home)}

    def sync(self, *options: str, works: bool = True) -> None:
        """Sync once."""
        with self.started(*options) as running:
            running.wait(SECONDS)
        said = self._output.read_text(errors="replace")[-6000:]
        assert (running.returncode == 0) is works, f"{self.program}: {running.returncode}\n{said}"

    @contextlib.contextmanager
    def started(self, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
        """The client while it syncs."""
        with (
            self._output.open("wb") as output,
            subprocess.Popen(
                self.command(*options),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            ) as running,
        ):
            try:
                yield running
            finally:
                running.kill()

    def requests_of(self, work: Callable[[], object]) -> str:
        """The lines that the server logs of this user's requests while something is done."""
        self._logged(self.server.log.stat().st_size)
        begun = self.server.log.stat().st_size
        work()
        return "\n".join(line for line in self._logged(begun) if f" {self.user} " in line)

    def _logged(self, since: int) -> list[str]:
        """The log from a position on, with everything that was asked before now."""
        mark = f"/healthz?{next(_numbers)}"

        def lines() -> list[str]:
            with self.server.log.open("rb") as log:
                log.seek(since)
                return log.read().decode(errors="replace").splitlines()

        def is_complete() -> bool:
            """Each worker writes its lines in their order, but some time later."""
            requests.get(self.server.url + mark, timeout=SECONDS)
            workers = {str(pid) for pid in self.server.pids()[1:]}
            return workers <= {line.split()[2] for line in lines() if mark in line}

        wait_for(is_complete, SECONDS, "every worker has written its log")
        return lines()

    def contents(self) -> dict[str, str]:
        """Hashes of what was synced, without the client's own journal."""
        return {name: sha256 for name, sha256 in contents(self.folder).items() if not name.startswith(".sync_")}

    def path(self, name: str) -> Path:
        return self.folder / name


def rest(*devices: Device) -> None:
    """Sync until nothing moves; both folders and the server's must be equal then."""
    for _ in range(2):
        for device in devices:
            device.sync()
    assert _are_equal(*devices)


def _are_equal(*devices: Device) -> bool:
    server, user = devices[0].server, devices[0].user
    home = {name: sha256 for name, sha256 in contents(server.home(user)).items() if not name.startswith(".baludav")}
    return all(device.contents() == home for device in devices)


class Pair:
    """Two devices with the same client."""

    program = ""

    @pytest.fixture
    def devices(self, server: Server, tmp_path: Path) -> tuple[Device, Device]:
        """Two empty devices of a fresh user."""
        user = f"{self.program}-{next(_numbers)}"
        server.add_user(user)
        first, second = (Device(server, user, self.program, tmp_path / name) for name in ("first", "second"))
        return first, second


class Syncing(Pair):
    """The scenarios, inherited by a test module for each client."""

    refuses = ""  # names that begin so are left where they are by the client itself

    def test_a_tree_with_awkward_names_arrives_and_then_rests(self, devices: tuple[Device, Device]) -> None:
        first, second = devices
        first.folder.rmdir()
        plant(first.folder)
        for path in sorted(first.folder.rglob("*"), reverse=True):
            if self.refuses and path.name.startswith(self.refuses):
                path.unlink()
        planted = first.contents()
        first.sync()
        second.sync()
        assert first.contents() == planted
        assert second.contents() == planted
        rest(first, second)
        for device in devices:
            seen = device.requests_of(device.sync)
            assert seen.count("PROPFIND") == 1, seen
            assert "PUT" not in seen, seen
            assert "GET /remote" not in seen, seen

    def test_edits_deletions_and_new_files_of_both(self, devices: tuple[Device, Device]) -> None:
        first, second = devices
        write(first, {"a": b"1", "b": b"1", "c": b"1", "in/d": b"1", "in/e": b"1", "gone/f": b"1"})
        rest(first, second)
        write(first, {"a": b"edited", "new/by first": b"2"})
        first.path("c").unlink()
        write(second, {"in/d": b"edited", "new/by second": b"2"})
        second.path("in/e").unlink()
        second.path("gone/f").unlink()
        second.path("gone").rmdir()
        rest(first, second)
        found = {name: second.path(name).read_bytes() for name in second.contents() if second.path(name).is_file()}
        assert found == {
            "a": b"edited", "b": b"1", "in/d": b"edited", "new/by first": b"2", "new/by second": b"2",
        }  # fmt: skip

    def test_renames_send_no_bytes(self, devices: tuple[Device, Device]) -> None:
        """Files and folders, into each other, and renamed while the other edits."""
        first, second = devices
        write(first, {"a": b"a" * 1000, "in/b": b"b" * 1000, "in/deep/c": b"c" * 1000, "d": b"d" * 1000})
        rest(first, second)
        first.path("a").rename(first.path("in/a b"))
        first.path("in").rename(first.path("out #1"))
        seen = first.requests_of(first.sync)
        assert seen.count("MOVE") == 2, seen
        assert "PUT" not in seen, seen
        seen = second.requests_of(second.sync)
        assert "GET /remote" not in seen, seen
        rest(first, second)
        assert second.path("out #1/a b").read_bytes() == b"a" * 1000
        first.path("d").rename(first.path("e"))
        write(second, {"out #1/b": b"edited meanwhile"})
        rest(first, second)
        assert first.path("out #1/b").read_bytes() == b"edited meanwhile"

    def test_both_edited_one_file(self, devices: tuple[Device, Device]) -> None:
        """Neither edit is lost: the one that comes second is kept beside the first, on both devices."""
        first, second = devices
        write(first, {"doc.txt": b"base"})
        rest(first, second)
        write(first, {"doc.txt": b"from the first"})
        write(second, {"doc.txt": b"from the second device"})
        first.sync()
        second.sync()
        rest(first, second)
        assert first.path("doc.txt").read_bytes() == b"from the first"
        copies = [name for name in first.contents() if name != "doc.txt"]
        assert [first.path(name).read_bytes() for name in copies] == [b"from the second device"]

    def test_the_same_edit_on_both_is_no_conflict(self, devices: tuple[Device, Device]) -> None:
        first, second = devices
        write(first, {"doc.txt": b"base"})
        rest(first, second)
        for device in devices:
            write(device, {"doc.txt": b"the same on both"})
        first.sync()
        second.sync()
        rest(first, second)
        assert set(first.contents()) == {"doc.txt"}

    def test_edited_here_deleted_there(self, devices: tuple[Device, Device]) -> None:
        """The edit survives."""
        first, second = devices
        write(first, {"doc.txt": b"base", "other": b"1"})
        rest(first, second)
        first.path("doc.txt").unlink()
        write(second, {"doc.txt": b"edited while it was deleted elsewhere"})
        first.sync()
        second.sync()
        rest(first, second)
        assert first.path("doc.txt").read_bytes() == b"edited while it was deleted elsewhere"

    def test_changes_on_the_disk_of_the_server(self, devices: tuple[Device, Device]) -> None:
        first, second = devices
        # Where everything changes at once, a client asks the person at the screen.
        write(first, {"a": b"1", "b": b"1", "in/c": b"1", "stays": b"1"})
        rest(first, second)
        home = first.server.home(first.user)
        (home / "a").write_bytes(b"changed by hand")
        (home / "b").unlink()
        (home / "in" / "c").rename(home / "in" / "moved by hand")
        (home / "in" / "new by hand").write_bytes(b"new")
        # What nobody looks at is noticed by the server itself.
        wait_for(lambda: [device.sync() for device in devices] and _are_equal(first, second), SECONDS, "they are equal")
        rest(first, second)
        assert first.path("a").read_bytes() == b"changed by hand"
        assert not first.path("b").exists()
        assert first.path("in/moved by hand").read_bytes() == b"1"

    def test_a_large_file_that_broke_off_is_resumed(self, devices: tuple[Device, Device]) -> None:
        """Client and server die in the middle; afterwards it goes on from what had been acknowledged."""
        first, second = devices
        server = first.server
        first.path("large").write_bytes(random.Random(7).randbytes(60_000_000))
        with first.started("--uplimit", "8000") as running:
            first_chunk = re.compile(f"PUT /remote.php/dav/uploads/{first.user}/[0-9]+/0+ 201")
            wait_for(lambda: first_chunk.search(server.log.read_text()), SECONDS, "a chunk has come")
            running.kill()
        server.kill()
        assert not (server.home(first.user) / "large").exists()
        server.start()
        seen = first.requests_of(first.sync)
        assert "PROPFIND /remote.php/dav/uploads" in seen, seen
        assert not first_chunk.search(seen), "the first chunk was sent again"
        assert "/.file 201" in seen, seen
        rest(first, second)
        assert second.path("large").read_bytes() == first.path("large").read_bytes()
        with second.path("large").open("ab") as file:
            file.write(b"and a little more")
        rest(first, second)
        assert first.path("large").stat().st_size == 60_000_017

    def test_a_connection_that_is_lost(self, devices: tuple[Device, Device]) -> None:
        """The server dies while files come, and the client loses its journal; what has arrived is no conflict."""
        first, second = devices
        server = first.server
        write(first, {f"{number}": b"%d" % number * 1000 for number in range(150)})
        with first.started() as running:
            wait_for(lambda: f" {first.user} PUT " in server.log.read_text(), SECONDS, "a file has come")
            server.kill()
            running.wait(SECONDS)
        server.start()
        # What failed would be tried again only after a while; a client that is set up anew tries everything.
        for journal in first.folder.glob(".sync_*"):
            journal.unlink()
        first.sync()
        rest(first, second)
        assert len(second.contents()) == 150

    def test_a_server_that_was_restored(self, devices: tuple[Device, Device]) -> None:
        """What came after the backup is sent again by the devices that have it, and deleted by none."""
        first, second = devices
        server = first.server
        write(first, {"old": b"1", "in/old": b"1"})
        rest(first, second)
        home = server.home(first.user)
        write(first, {"new": b"2", "in/new": b"2"})
        rest(first, second)
        server.stop()
        for name in ("new", "in/new"):  # as if the backup had been older
            (home / name).unlink()
        server.baludav("index", "restored")
        server.start()
        first.sync()
        rest(first, second)
        assert {name: second.path(name).read_bytes() for name in ("old", "new", "in/new")} == {
            "old": b"1", "new": b"2", "in/new": b"2",
        }  # fmt: skip

    def test_many_small_files(self, devices: tuple[Device, Device]) -> None:
        first, second = devices
        write(first, {f"{number % 20}/{number}": b"%d" % number for number in range(SMALL_FILES)})
        first.sync()
        second.sync()
        assert second.contents() == first.contents()
        assert len(second.contents()) == SMALL_FILES + 20


def write(device: Device, files: dict[str, bytes]) -> None:
    for name, body in files.items():
        path = device.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
