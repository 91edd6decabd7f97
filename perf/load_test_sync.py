"""Does every operation succeed, and how fast, when many users work at the same time?"""

import functools
import random
import sys
from collections.abc import Callable
from typing import Any

from perf.harness import Client, Server, Timings, asked_for, console, expect, in_parallel, save, serving, table

Work = Callable[[Server, int, Timings], None]


_USERS = 100


def _user(number: int) -> str:
    """Whose client it is; of more clients than users, some are of the same user."""
    return f"user{number % _USERS}"


def _body(number: int, count: int, size: int) -> bytes:
    return random.Random(number * 1000 + count).randbytes(size)


def uploading(each: int, size: int, prefix: str) -> Work:
    """A user who uploads so many resources of this size."""

    def work(server: Server, number: int, timings: Timings) -> None:
        client = Client(server, _user(number))
        for count in range(each):
            body = _body(number, count, size)
            timings.timed(
                functools.partial(lambda c, b: expect(client.request("PUT", f"{prefix}-{c}", b), 201), count, body)
            )
        client.close()

    return work


def downloading(each: int, size: int) -> Work:
    """A user who downloads what was uploaded before, and compares the bytes."""

    def work(server: Server, number: int, timings: Timings) -> None:
        client = Client(server, _user(number))

        def once(count: int) -> None:
            assert expect(client.request("GET", f"down-{count}"), 200) == _body(number, count, size)

        for count in range(each):
            timings.timed(functools.partial(once, count))
        client.close()

    return work


def mixed(each: int, size: int) -> Work:
    """A user who uploads, reads, lists, renames and deletes by turns."""

    def work(server: Server, number: int, timings: Timings) -> None:
        client = Client(server, _user(number))

        def once(count: int) -> None:
            name, body = f"mixed-{number}-{count // 5}", _body(number, count // 5, size)
            match count % 5:
                case 0:
                    expect(client.request("PUT", name, body), 201)
                case 1:
                    assert expect(client.request("GET", name), 200) == body
                case 2:
                    listing = expect(client.request("PROPFIND", "", headers={"Depth": "1"}), 207)
                    assert f"<D:href>/dav/{name}</D:href>".encode() in listing
                case 3:
                    expect(client.request("MOVE", name, headers={"Destination": f"/dav/{name}-moved"}), 201)
                case _:
                    expect(client.request("DELETE", f"{name}-moved"), 204)

        for count in range(each):
            timings.timed(functools.partial(once, count))
        client.close()

    return work


def run(server: Server, clients: int, work: Work) -> dict[str, Any]:
    """So many clients at once; what they measured, and the server's memory around it."""
    before = server.memory()
    timings = in_parallel([functools.partial(work, server, number) for number in range(clients)])
    return {
        "clients": clients,
        **timings.summary(),
        "memory_before_MiB": before / 2**20,
        "memory_after_MiB": server.memory() / 2**20,
    }


def main(arguments: list[str]) -> int:
    asked = asked_for(__doc__, arguments)
    shrink = 10 if asked.quick else 1
    with serving(asked.durability, users=_USERS // (2 if asked.quick else 1)) as server:
        for number in range(50 // shrink):  # what the downloading users will find
            uploading(5, 50_000, "down")(server, number, Timings())
        results = {
            "upload 5 x 100 KB": run(server, 50 // shrink, uploading(5, 100_000, "up")),
            "download 5 x 50 KB": run(server, 50 // shrink, downloading(5, 50_000)),
            "10 mixed operations": run(server, 75 // shrink, mixed(10, 20_000)),
            "upload 3 x 50 KB": run(server, 100 // shrink, uploading(3, 50_000, "small")),
            "10 mixed operations of many": run(server, 500 // shrink, mixed(10, 20_000)),
        }
    table("load", [{"test": name, **_shown(result)} for name, result in results.items()])
    save("load_test_sync", asked.results, results, {"durability": asked.durability, "quick": asked.quick})
    failed = sum(result["failed"] for result in results.values())
    if failed:
        console.print(f"{failed} operations failed")
    return 1 if failed else 0


def _shown(result: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("operations_per_second", "ops/s"): value for key, value in result.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
