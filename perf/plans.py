"""How long does a plan for a device take, and where does the time go? No network: the calls of the API themselves."""

import argparse
import hashlib
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from baludav import config
from baludav.accounts.accounts import Principal
from baludav.accounts.devices import Device
from baludav.db.tables import resources
from baludav.tree.reading import Resource
from baludav.tree.tree import UserTree
from perf.harness import RESULTS, console, save, table
from providers.house import House, open_house
from sync_ext import plan, reading

_MEMBERS = 100  # of each collection
_EDITED = "e" * 64


def filled(house: House, count: int) -> Principal:
    """A user whose index knows so many files; the disk does not matter here."""
    user = house.accounts.add("user", "measured")
    house.tree.create_home("user")
    root = house.tree.roots.home("user")
    common = {
        "root_id": root.id, "device": 1, "inode": 1, "mtime_ns": 10**18, "ctime_ns": 1, "born_ns": 1, "created_ns": 1,
        "changed": 1, "is_settled": True,
    }  # fmt: skip
    first = 1000
    folders = -(-count // _MEMBERS)

    def work(connection: Connection) -> None:
        rows: list[dict[str, Any]] = [
            {"id": first + n, "parent_id": root.top_id, "name": f"folder {n}", "is_collection": True, "sha256": None}
            for n in range(folders)
        ]
        for number in range(count):
            rows.append(
                {
                    "id": first + folders + number, "parent_id": first + number // _MEMBERS, "is_collection": False,
                    "name": f"some document {number}.txt", "sha256": sha256(number),
                }
            )  # fmt: skip
        connection.execute(resources.insert(), [{**common, "size": 1000, **row} for row in rows])

    house.database.commit(work)
    return user


def sha256(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def listed(count: int) -> list[dict[str, Any]]:
    """What a device says that has the same."""
    return [
        {
            "path": f"/folder {number // _MEMBERS}/some document {number}.txt", "sha256": sha256(number),
            "base_sha256": sha256(number), "size": 1000, "modified_at": "2001-09-09T01:46:40Z",
        }
        for number in range(count)
    ]  # fmt: skip


def cases(count: int) -> Iterator[tuple[str, list[dict[str, Any]], dict[str, int]]]:
    """What the device has, and how many of each kind the plan must name."""
    files = listed(count)
    yield "nothing changed", files, {}
    ten = set(range(0, count, count // 10))
    edited = [{**file, "sha256": _EDITED} if n in ten else file for n, file in enumerate(files)]
    yield "10 edited", edited, {"to_upload": 10}
    moved = [
        entry
        for n, file in enumerate(files)
        for entry in (
            [{**file, "sha256": None}, {**file, "path": f"/moved{file['path']}", "base_sha256": None}]
            if n in ten
            else [file]
        )
    ]
    yield "10 moved", moved, {"to_upload": 10, "to_delete_remote": 10}
    yield "a new device", [], {"to_download": count}
    yield "everything in conflict", [{**file, "sha256": _EDITED, "base_sha256": None} for file in files], {
        "conflicts": count
    }  # fmt: skip


class Stopwatch:
    """Milliseconds by what was done meanwhile."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._begun = time.perf_counter()

    def note(self, what: str) -> None:
        now = time.perf_counter()
        self.spent[what] = self.spent.get(what, 0.0) + (now - self._begun) * 1000
        self._begun = now


def measured(user: UserTree, device: Device, body: bytes) -> tuple[dict[str, float], Any]:
    """The steps of one call, timed; and its answer."""
    environ = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    watch = Stopwatch()
    given = reading.read_body(environ, plan.DeviceList, plan.plan.most_bytes)
    watch.note("body_ms")
    answer = plan.plan_for(user, device.id, given)
    watch.note("plan_ms")
    encoded = msgspec.json.encode(answer)
    watch.note("answer_ms")
    return watch.spent, msgspec.json.decode(encoded)


def seeing(user: UserTree) -> float:
    """Milliseconds of the plan's pass over the index, which is most of it."""
    seen: list[Resource] = []
    watch = Stopwatch()
    user.everything(seen.append)
    watch.note("index_ms")
    return watch.spent["index_ms"]


def plans(count: int, rounds: int) -> list[dict[str, Any]]:
    """Every case with so many files, the best of some rounds."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="baludav-perf-") as folder:
        house = open_house(config.build({"baludav": {"data": folder}}, {}))
        try:
            principal = filled(house, count)
            user = house.tree.of(principal)
            device, _ = house.devices.add(principal.id, "device", "desktop", "token")
            for label, files, wanted in cases(count):
                body = msgspec.json.encode({"device_id": device.public_id, "files": files})
                tries = [measured(user, device, body) for _ in range(rounds)]
                for _, answer in tries:
                    found = {name: len(value) for name, value in answer.items() if isinstance(value, list) and value}
                    assert found == wanted, (label, found)
                best = min((spent for spent, _ in tries), key=lambda spent: sum(spent.values()))
                index_ms = min(seeing(user) for _ in range(rounds))
                total = {"total_ms": sum(best.values())}
                row = {"files": count, "case": label, "body_MB": len(body) / 1e6, **best, **total}
                rows.append({**row, "index_ms": index_ms})
        finally:
            house.close()
    return rows


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    asked = parser.parse_args(arguments)
    counts = [100] if asked.quick else [1_000, 10_000, 100_000]
    rows = [row for count in counts for row in plans(count, 1 if asked.quick else 3)]
    table("plans", rows)
    save("plans", asked.results, {"plans": rows}, {"quick": asked.quick})
    slow = [row for row in rows if row["files"] == 10_000 and row["total_ms"] >= 2000]
    if slow:
        console.print("a plan for 10,000 files takes 2 s and longer")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
