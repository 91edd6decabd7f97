"""How long do single operations take: transfers by size, hashing, many clients, memory, index queries?"""

import functools
import hashlib
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, select

from baludav.db.engine import Database
from baludav.db.tables import resources
from perf.harness import Client, Server, Timings, asked_for, console, expect, in_parallel, save, serving, table

SIZES = {"1 KB": 1_000, "10 KB": 10_000, "100 KB": 100_000, "1 MB": 1_000_000, "5 MB": 5_000_000}
SEED = 20_240


def transfers(server: Server, rounds: int) -> list[dict[str, Any]]:
    """One client up and down, by size: PUT of a new resource, GET of the same."""
    chance = random.Random(SEED)
    client = Client(server, "admin")
    rows = []
    for label, size in SIZES.items():
        bodies = [chance.randbytes(size) for _ in range(rounds)]
        for what in ("upload", "download"):
            seconds = []
            for number, body in enumerate(bodies):
                path = f"transfer-{size}-{number}"
                begun = time.perf_counter()
                if what == "upload":
                    status, _, headers = client.request("PUT", path, body)
                    seconds.append(time.perf_counter() - begun)
                    assert status == 201
                    assert headers["ETag"] == f'"{hashlib.sha256(body).hexdigest()}"'
                else:
                    found = expect(client.request("GET", path), 200)
                    seconds.append(time.perf_counter() - begun)
                    assert found == body
            mean = statistics.fmean(seconds)
            rows.append({"what": what, "size": label, "mean_ms": mean * 1000, "MB_per_s": size / mean / 1e6})
    client.close()
    return rows


def hashing(rounds: int) -> list[dict[str, Any]]:
    """SHA-256 alone, which every upload includes."""
    rows = []
    for label, size in SIZES.items():
        body = random.Random(SEED).randbytes(size)
        begun = time.perf_counter()
        for _ in range(rounds):
            hashlib.sha256(body).digest()
        mean = (time.perf_counter() - begun) / rounds
        rows.append({"size": label, "mean_ms": mean * 1000, "MB_per_s": size / mean / 1e6})
    return rows


def clients(server: Server, counts: tuple[int, ...], each: int) -> list[dict[str, Any]]:
    """Many clients at once, each uploading and reading back 10 KB resources over its own connection."""
    rows = []
    for count in counts:
        works = [functools.partial(_client_work, server, f"{count}-{number}", each) for number in range(count)]
        summary = in_parallel(works).summary()
        rows.append({"clients": count, **summary})
    return rows


def _client_work(server: Server, name: str, each: int, timings: Timings) -> None:
    client = Client(server, "admin")
    body = random.Random(name).randbytes(10_000)

    def once(number: int) -> None:
        path = f"client-{name}-{number}"
        expect(client.request("PUT", path, body), 201)
        assert expect(client.request("GET", path), 200) == body

    for number in range(each):
        timings.timed(functools.partial(once, number))
    client.close()


def memory(server: Server) -> dict[str, Any]:
    """Memory of all processes before and after 100 resources of 100 KB."""
    client = Client(server, "admin")
    before = server.memory()
    body = random.Random(SEED).randbytes(100_000)
    for number in range(100):
        expect(client.request("PUT", f"memory-{number}", body), 201)
    client.close()
    after = server.memory()
    return {"before_MiB": before / 2**20, "after_MiB": after / 2**20, "growth_MiB": (after - before) / 2**20}


def index_queries(server: Server, counts: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    """Queries of the server's own index, filled with files that it found on the disk."""
    home = server.data / "files" / "admin"
    rows = []
    for count in counts:
        folder = home / f"records-{count}"
        folder.mkdir()
        for number in range(count):
            (folder / f"file-{number:05}").write_bytes(b"%d" % number)
        client = Client(server, "admin")
        listing = expect(client.request("PROPFIND", f"records-{count}/", headers={"Depth": "1"}), 207)
        client.close()
        assert listing.count(b"<D:getetag>") == 1 + count  # the folder has one, too
        database = Database(server.data / "index.db")
        with database.reading() as connection:
            parent = connection.scalar(select(resources.c.id).where(resources.c.name == folder.name))
            found = connection.execute(
                select(resources.c.id, resources.c.name).where(resources.c.parent_id == parent)
            ).all()
            assert len(found) == count
            rows += _query_rows(connection, count, int(parent or 0), [tuple(row) for row in found], rounds)
        database.close()
    return rows


def _query_rows(
    connection: Connection, count: int, parent: int, found: list[tuple[int, str]], rounds: int
) -> list[dict[str, Any]]:
    chance = random.Random(SEED)

    def by_id() -> None:
        assert connection.execute(select(resources).where(resources.c.id == chance.choice(found)[0])).first()

    def by_path() -> None:
        name = chance.choice(found)[1]
        query = select(resources).where(resources.c.parent_id == parent, resources.c.name == name)
        assert connection.execute(query).first()

    def in_order() -> None:
        query = select(resources.c.name, resources.c.size, resources.c.sha256).where(resources.c.parent_id == parent)
        assert len(connection.execute(query.order_by(resources.c.name)).all()) == count

    rows = []
    queries: dict[str, tuple[Callable[[], None], int]] = {
        "by id": (by_id, rounds), "by path": (by_path, rounds), "all, sorted": (in_order, max(1, rounds // 20)),
    }  # fmt: skip
    for what, (query, times) in queries.items():
        begun = time.perf_counter()
        for _ in range(times):
            query()
        rows.append({"records": count, "query": what, "mean_ms": (time.perf_counter() - begun) / times * 1000})
    return rows


def main(arguments: list[str]) -> int:
    asked = asked_for(__doc__, arguments)
    rounds, counts = (2, (4,)) if asked.quick else (20, (10, 50, 100))
    records, queries = ((100,), 20) if asked.quick else ((1_000, 10_000), 1_000)
    with serving(asked.durability) as server:
        results = {
            "transfers": transfers(server, rounds),
            "sha256": hashing(rounds),
            "clients": clients(server, counts, 2 if asked.quick else 10),
            "memory": memory(server),
            "index": index_queries(server, records, queries),
        }
    for title in ("transfers", "sha256", "clients", "index"):
        rows = results[title]
        assert isinstance(rows, list)
        table(title, rows)
    table("memory for 100 resources of 100 KB", [results["memory"]])  # type: ignore[list-item]
    save("benchmark_sync", asked.results, results, {"durability": asked.durability, "quick": asked.quick})
    failed = sum(row["failed"] for row in results["clients"])  # type: ignore[index]
    if failed:
        console.print(f"{failed} operations failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
