"""Changes made behind the server's back: the ETag is always that of the bytes on the disk."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.http.client import User, etag
from tests.serving import wait_for


@pytest.fixture
def home(alice: User) -> Path:
    """The folder on the disk behind alice's collection."""
    return alice.server.home("alice") / alice.top.strip("/")


def test_files_that_were_there(alice: User, home: Path) -> None:
    """Copied in from outside: listed with the ETag of their bytes, like any other."""
    (home / "d").mkdir()
    (home / "d" / "f").write_bytes(b"outside")
    listed = alice.propfind("/d", depth="1")
    assert listed["/d/f"].text("{DAV:}getetag") == etag(b"outside")
    assert alice.get("/d/f").headers["ETag"] == etag(b"outside")


@pytest.mark.parametrize("is_settled", [False, True])
def test_the_same_size_and_the_same_time(alice: User, home: Path, is_settled: bool) -> None:
    """An edit that keeps size and modification time, a moment after the server saw the file, is seen."""
    if not is_settled and not _has_fine_times(home):
        pytest.skip("here two changes in one tick of the clock get the same time (Linux before 6.13)")
    for round in range(20):
        old, new = f"old {round:04}".encode(), f"new {round:04}".encode()
        alice.put("/f", old)
        stat = (home / "f").stat()
        if is_settled:  # the server has seen it after the granularity of its times had passed
            wait_for(lambda stat=stat: time.time_ns() > stat.st_ctime_ns + 50_000_000, 5, "time goes on")
            alice.get("/f")
        with (home / "f").open("r+b") as file:
            file.write(new)
        os.utime(home / "f", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        answer = alice.get("/f")
        assert (answer.content, answer.headers["ETag"]) == (new, etag(new))
        assert alice.prop("/f", "{DAV:}getetag") == etag(new)


def test_if_match_sees_what_was_edited_outside(alice: User, home: Path) -> None:
    """The edit made over ssh is not overwritten by a client that has not seen it."""
    tag = alice.put("/f", b"old").headers["ETag"]
    (home / "f").write_bytes(b"ssh")
    assert alice.put("/f", b"new", If_Match=tag).status_code == 412
    assert alice.get("/f").content == b"ssh"
    assert alice.put("/f", b"new", If_Match=etag(b"ssh")).status_code == 204


def test_replaced_renamed_and_removed(alice: User, home: Path) -> None:
    """An editor's save by rename, a rename, a removal, a file that becomes a folder and the other way round."""
    alice.put("/f", b"old")
    (home / "tmp").write_bytes(b"saved")
    (home / "tmp").rename(home / "f")
    assert alice.get("/f").headers["ETag"] == etag(b"saved")
    (home / "f").rename(home / "g")
    assert set(alice.propfind("/", depth="1")) == {"/", "/g"}
    assert alice.get("/f").status_code == 404
    (home / "g").unlink()
    (home / "g").mkdir()
    (home / "g" / "m").write_bytes(b"member")
    assert alice.get("/g/m").content == b"member"
    shutil.rmtree(home / "g")
    (home / "g").write_bytes(b"file again")
    assert alice.get("/g").content == b"file again"
    assert alice.get("/g/m").status_code == 404


def test_a_collection_removed_from_outside(alice: User, home: Path) -> None:
    """Its locks and properties go with it; what comes in its place is new."""
    alice("MKCOL", "/c")
    alice.put("/c/f")
    alice.lock("/c/f")
    shutil.rmtree(home / "c")
    assert alice.get("/c/f").status_code == 404
    assert alice("MKCOL", "/c").status_code == 201
    assert alice.put("/c/f", b"new").status_code == 201


def test_files_nobody_may_read(alice: User, home: Path) -> None:
    """Somebody else's file on the disk: an error for it alone, the listing goes on."""
    alice.put("/readable")
    (home / os.fsdecode(b"undecodable-\xff")).write_bytes(b"x")
    assert "/readable" in alice.propfind("/", depth="1")
    assert alice("DELETE", "").status_code in (204, 403, 409)


def _has_fine_times(folder: Path) -> bool:
    """True if the system gives two changes of a file two times, however soon they follow each other."""
    times = []
    for number in range(4):
        (folder / "probe").write_text(str(number))
        times.append((folder / "probe").stat().st_ctime_ns)
    (folder / "probe").unlink()
    return len(set(times)) == len(times)
