"""`baludav index check --deep`: whatever is damaged is found, and named with what to do; nothing is changed."""

import concurrent.futures
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import text

from baludav.errors import NotFound
from baludav.tree.reading import NO_TERMS
from baludav.tree.records import history, vanished
from baludav.tree.truth.findings import Finding
from baludav.tree.truth.inspecting import inspect
from providers.house import House
from tests.crash.installation import open_installation, path, prepare, put, user_of
from tests.serving import Server

Plant = Callable[[House, Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with files, versions, a trash and an unfinished upload."""
    prepare(tmp_path)
    house = open_installation(tmp_path)
    user = user_of(house)
    put(user, "file", b"new bytes")
    put(user, "e/z", b"newer z")
    user.delete(path("d"), NO_TERMS)
    put(user, "later", b"later bytes")
    house.close()
    return tmp_path


def found(folder: Path) -> list[Finding]:
    """What an inspection says; it must leave every file as it is."""
    before = everything(folder)
    house = open_installation(folder)
    seen: list[tuple[int, int]] = []
    try:
        findings = inspect(house.tree, lambda done, total: seen.append((done, total)), patience=0.0)
    finally:
        house.close()
    assert everything(folder) == before
    assert seen == sorted(seen)
    assert all(done <= total for done, total in seen)
    return findings


def everything(folder: Path) -> dict[str, tuple[bytes | None, int, int]]:
    """Bytes, time and inode of all that lies there."""
    return {
        str(file.relative_to(folder)): (
            file.read_bytes() if file.is_file() else None,
            file.stat().st_mtime_ns if file.is_file() else 0,
            file.stat().st_ino,
        )
        for file in sorted(folder.rglob("*"))
    }


def home(folder: Path) -> Path:
    return folder / "data" / "files" / "alice"


def kept(folder: Path, content: bytes) -> Path:
    """Where bytes lie that were put away."""
    (file,) = [file for file in (home(folder) / ".baludav" / "kept").rglob("*") if _holds(file, content)]
    return file


def _holds(file: Path, content: bytes) -> bool:
    return file.is_file() and file.read_bytes() == content


def flip(file: Path) -> None:
    """Change one byte, and neither the size nor the time of modification."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _execute(house: House, statement: str, **values: object) -> None:
    def work(connection: object) -> None:
        connection.execute(text(statement), values)  # type: ignore[attr-defined]

    house.database.commit(work)


def _flip_on_the_disk(house: House, folder: Path) -> None:
    """As a disk does: nothing that the file system says of the file changes."""
    file = home(folder) / "kept"
    flip(file)
    _execute(
        house, "UPDATE resources SET ctime_ns = :ctime WHERE name = 'kept'", ctime=file.stat().st_ctime_ns
    )  # fmt: skip


def _truncate(house: House, folder: Path) -> None:
    os.truncate(home(folder) / "other", 100)


def _orphan_version(house: House, folder: Path) -> None:
    (home(folder) / ".baludav" / "kept" / "77-0123456789abcdef").write_bytes(b"whose?")


def _orphan_trash(house: House, folder: Path) -> None:
    orphan = home(folder) / ".baludav" / "kept" / "78-0123456789abcdef"
    orphan.mkdir()
    (orphan / "file").write_bytes(b"whose?")


def _lose_upload(house: House, folder: Path) -> None:
    user_of(house).begin_upload("lost", length=100)
    (begun,) = (home(folder) / ".baludav" / "uploads").iterdir()
    begun.unlink()


PLANTS: list[tuple[str, Plant, str, str]] = [
    ("flipped byte", lambda h, f: flip(home(f) / "kept"), "home alice: kept", "neither its size nor its time"),
    ("byte flipped by the disk", _flip_on_the_disk, "home alice: kept", "neither its size nor its time"),
    ("truncated file", _truncate, "home alice: other", "has 100 bytes instead of 1100"),
    ("deleted file", lambda h, f: (home(f) / "other").unlink(), "home alice: other", "not on the disk"),
    ("added file", lambda h, f: _write(home(f) / "new"), "home alice: new", "not in the index"),
    ("touched file", lambda h, f: os.utime(home(f) / "kept", (1, 1)), "home alice: kept", "touched"),
    (
        "edited hash",
        lambda h, f: _execute(h, "UPDATE resources SET sha256 = :sha WHERE name = 'kept'", sha="0" * 64),
        "home alice: kept",
        "neither its size nor its time",
    ),
    (
        "edited size",
        lambda h, f: _execute(h, "UPDATE resources SET size = size + 1 WHERE name = 'kept'"),
        "home alice: kept",
        "touched",
    ),
    (
        "edited name",
        lambda h, f: _execute(h, "UPDATE resources SET name = 'renamed' WHERE name = 'kept'"),
        "home alice: renamed",
        "not on the disk",
    ),
    (
        "file that became a collection",
        lambda h, f: _execute(h, "UPDATE resources SET is_collection = 1 WHERE name = 'kept'"),
        "home alice: kept",
        "a collection on the other",
    ),
    (
        "orphan row",
        lambda h, f: _execute(h, "UPDATE resources SET parent_id = NULL WHERE name = 'kept'"),
        "home alice",
        "(kept) is in no collection",
    ),
    ("orphan version", _orphan_version, "home alice: .baludav/kept/77-0123456789abcdef", "does not know"),
    ("orphan in the trash", _orphan_trash, "home alice: .baludav/kept/78-0123456789abcdef", "does not know"),
    ("lost version", lambda h, f: kept(f, b"old bytes").unlink(), ".baludav/kept/", "the bytes are missing"),
    ("flipped version", lambda h, f: flip(kept(f, b"old bytes")), ".baludav/kept/", ": has other bytes"),
    ("flipped in the trash", lambda h, f: flip(kept(f, b"x" * 5000)), "/x", "/d in the trash: has other bytes"),
    ("lost in the trash", lambda h, f: kept(f, b"y").unlink(), "/sub/y", "/d in the trash: in the index, but not"),
    (
        "version of nothing",
        lambda h, f: _execute(h, "UPDATE versions SET resource_id = 999999"),
        "home alice",
        "is of no file",
    ),
    (
        "wrong quota",
        lambda h, f: _execute(h, "UPDATE storage_roots SET used = used + 1"),
        "home alice",
        "bytes are counted for the quota instead of",
    ),
    ("lost upload", _lose_upload, ".baludav/uploads/", "unfinished upload"),
]


def _write(file: Path) -> None:
    file.write_bytes(b"new")


def test_all_is_well(folder: Path) -> None:
    assert found(folder) == []


@pytest.mark.parametrize(("plant", "where", "what"), [row[1:] for row in PLANTS], ids=[row[0] for row in PLANTS])
def test_what_is_planted_is_found(folder: Path, plant: Plant, where: str, what: str) -> None:
    house = open_installation(folder)
    plant(house, folder)
    house.close()
    findings = found(folder)
    assert [one for one in findings if where in one.where and what in one.what], findings
    assert all(one.advice for one in findings)


def test_everything_at_once(folder: Path) -> None:
    """One finding does not hide another."""
    house = open_installation(folder)
    for name in ("flipped byte", "truncated file", "added file", "orphan version", "flipped version", "wrong quota"):
        next(row[1] for row in PLANTS if row[0] == name)(house, folder)
    with house.database.reading() as connection:
        roots = house.tree.roots.everything()
        assert sum(len(history.all_versions(connection, root.id)) for root in roots) >= 2
    house.close()
    wheres = {finding.where for finding in found(folder)}
    assert {"home alice: kept", "home alice: other", "home alice: new", "home alice"} <= wheres


def test_what_vanished_is_no_damage(folder: Path) -> None:
    """What was removed behind the server's back stays in the index for a while, as it may turn up elsewhere."""
    (folder / "data/files/alice/other").unlink()
    house = open_installation(folder)
    with pytest.raises(NotFound):
        user_of(house).look(path("other"))
    user_of(house).members(user_of(house).look(()))
    with house.database.reading() as connection:
        assert any(vanished.all_of(connection, root.id) for root in house.tree.roots.everything())
    house.close()
    assert found(folder) == []


def test_a_damaged_database_is_named(folder: Path) -> None:
    """Whatever else can be said of it."""
    with contextlib.closing(sqlite3.connect(folder / "data" / "index.db")) as connection:  # it minds no foreign keys
        connection.execute("INSERT INTO properties VALUES (999998, '{x}y', x'00')")
        connection.commit()
    (finding,) = found(folder)
    assert (finding.where, finding.what.startswith("row ")) == ("index", True)
    assert "of properties belongs to nothing in resources" in finding.what


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", workers=2) as server:
        server.add_user("anna")
        yield server


def test_no_false_alarm_while_a_server_writes(running: Server) -> None:
    """Uploads, versions, moves, copies and deletions of trees, and files changed beside the server."""
    is_over = threading.Event()

    def write(client: int) -> int:
        session = requests.Session()
        session.auth = running.auth("anna")
        base, count = f"{running.dav('anna')}d{client}", 0
        while not is_over.is_set():
            for number in range(3):
                assert session.request("MKCOL", base, timeout=60).status_code in (201, 405)
                body = os.urandom(1 + 20_000 * number)
                assert session.put(f"{base}/f{number}", data=body, timeout=60).status_code in (201, 204)
            for method, source, target in (("COPY", base, base + "c"), ("MOVE", base + "c", base + "m")):
                answer = session.request(method, source, headers={"Destination": target}, timeout=60)
                assert answer.status_code in (201, 204), answer.text
            assert session.delete(f"{base}m", timeout=60).status_code == 204
            (running.home("anna") / f"outside-{client}").write_bytes(os.urandom(1000))
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, client) for client in range(2)]
        checks = [_deep_check(running) for _ in range(2)]
        is_over.set()
        assert all(writer.result() for writer in writers)
    assert [(check.returncode, check.stdout) for check in checks] == [
        (0, "Index, files and history agree in every byte\n")
    ] * 2, checks
    assert _deep_check(running).returncode == 0


def _deep_check(server: Server) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "baludav", "index", "check", "--deep"]
    return subprocess.run(
        command, env=server.environment, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
