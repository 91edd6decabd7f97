"""Quota and full disks: 507, nothing changed, nothing left behind."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.client import User
from tests.serving import Server

MIB = 1 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Users that may store 1 MiB."""
    with Server(tmp_path_factory.mktemp("quota") / "data") as server:
        for name in ("ida", "ilse", "ines", "inga"):
            server.add_user(name, quota="1MiB")
        yield server


def _chunks(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 10_000):
        yield b"x" * 10_000


def _on_disk(server: Server, name: str) -> int:
    return sum(path.stat().st_size for path in server.home(name).glob("[!.]*"))


def test_no_write_exceeds_it(small: Server) -> None:
    """Announced and chunked bodies, COPY; replacing counts only what is more; deleting makes room."""
    ida = User(small, "ida")
    assert ida.put("/too-large", b"x" * (MIB + 1)).status_code == 507
    assert ida("PUT", "/chunks", _chunks(2 * MIB)).status_code == 507
    assert set(ida.propfind("/", depth="1")) == {"/"}
    assert ida.put("/f", b"x" * 600_000).status_code == 201
    assert ida("COPY", "/f", Destination="/g").status_code == 507
    assert ida("COPY", "/f", Destination="/g").status_code == 507, "the failed copy was not counted"
    assert ida.put("/f", b"y" * 900_000).status_code == 204
    assert ida("MOVE", "/f", Destination="/h").status_code == 201
    assert int(ida.prop("/", "{DAV:}quota-used-bytes") or 0) == 900_000
    assert int(ida.prop("/", "{DAV:}quota-available-bytes") or 0) == MIB - 900_000
    assert ida("DELETE", "/h").status_code == 204
    assert ida.put("/f", b"z" * MIB).status_code == 201
    assert _on_disk(small, "ida") == MIB


def test_concurrent_writers_do_not_exceed_it_together(small: Server) -> None:
    """16 writers of 200 KB over two workers: five have room."""
    statuses: list[int] = []
    gate = threading.Barrier(16)

    def write(number: int) -> None:
        ilse = User(small, "ilse")
        gate.wait()
        body = b"%02d" % number * 100_000
        statuses.append(ilse("PUT", f"/{number}", body if number % 2 else iter([body])).status_code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {201, 507}
    assert _on_disk(small, "ilse") <= MIB
    ilse = User(small, "ilse")
    assert ilse.put("/last", b"x" * (MIB - _on_disk(small, "ilse"))).status_code == 201, "refused uploads hold no room"


def test_what_was_put_there_from_outside_counts(small: Server) -> None:
    ines = User(small, "ines")
    (small.home("ines") / "outside").write_bytes(b"x" * 900_000)
    ines.propfind("/", depth="1")
    assert ines.put("/f", b"x" * 200_000).status_code == 507
    (small.home("ines") / "outside").unlink()
    ines.propfind("/", depth="1")
    assert ines.put("/f", b"x" * 200_000).status_code == 201


def test_a_quota_changed_while_serving_counts_at_once(small: Server) -> None:
    inga = User(small, "inga")
    assert inga.put("/f", b"x" * MIB).status_code == 201
    assert inga.put("/g", b"x").status_code == 507
    small.baludav("user", "quota", "inga", "2MiB")
    assert inga.put("/g", b"x" * MIB).status_code == 201


def test_a_full_disk(tmp_path: Path) -> None:
    """507 like a quota; what was there stays, nothing is left behind, and the server goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], check=True)
    try:
        shares = {"Disk": {"folder": str(disk), "write": ["eva"]}}
        with Server(tmp_path / "data", shares=shares) as server:
            server.add_user("eva")
            eva = User(server, "eva")
            eva.put("/Disk/f", b"old")
            assert eva("PUT", "/Disk/f", _chunks(20 * MIB)).status_code == 507
            assert eva.put("/Disk/f", b"x" * 20 * MIB).status_code == 507
            assert eva.get("/Disk/f").content == b"old"
            assert eva.put("/large", b"x" * 6 * MIB).status_code == 201
            assert eva("COPY", "/large", Destination="/Disk/one").status_code == 201
            assert eva("COPY", "/large", Destination="/Disk/two").status_code == 507
            assert eva("MOVE", "/large", Destination="/Disk/two").status_code == 507
            assert eva.get("/large").status_code == 200
            assert set(eva.propfind("/Disk", depth="1")) == {"/Disk", "/Disk/f", "/Disk/one"}
            assert sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) < 6 * MIB + 10_000
            assert eva("DELETE", "/Disk/one").status_code == 204
            assert eva.put("/Disk/f", b"new").status_code == 204
    finally:
        subprocess.run(["umount", disk], check=True)
