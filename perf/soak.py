"""Does the server keep every byte while clients of all kinds work, connections break, and workers are killed?"""

import argparse
import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from perf.harness import RESULTS, Client, Server, console, expect, save, serving, table
from perf.soaking.counting import Counter
from perf.soaking.files import Files
from perf.soaking.following import Device, Listener, Poller, Reporter, Watcher
from perf.soaking.gauges import Gauges, Sample
from perf.soaking.keeping import Keeper
from perf.soaking.scene import Scene
from perf.soaking.trouble import Editor, Killer
from perf.soaking.uploading import Chunked, Tus

# The clients of one home.
HOUSEHOLD: tuple[type[Keeper] | type[Watcher], ...] = (
    *[Files] * 8, *[Chunked] * 2, *[Tus] * 2, *[Counter] * 2, *[Device] * 3, Reporter, Poller, Listener,
)  # fmt: skip
TURNS_PER_SECOND = 500  # of all clients together, at the most
# At rest there may be so many file descriptors more than before the load, and so many for each thread there was: SQLite
# keeps one for each connection to the database that there was at a time, for those who connect later.
MORE_DESCRIPTORS = 20
DESCRIPTORS_OF_A_THREAD = 2
_HANGING_SECONDS = 180
_REST_SECONDS = 30
_EXPECTED = (  # all that the server may say
    "(signal 9); replacing it",
    "name an account to become in run_as (wsgidav.yaml)",  # where root runs this
    "an interrupted request had put something away; it is in the history",
)
_SETTINGS = {"BALUDAV_DEFAULT_QUOTA": "250MB"}  # so that old versions have to go now and then


def main(arguments: list[str]) -> int:
    asked = _parser().parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    console.print(f"{asked.clients} clients for {asked.seconds} s, seed {seed}")
    users = -(-asked.clients // len(HOUSEHOLD))
    with serving(asked.durability, users=users, workers=asked.workers, settings=_SETTINGS) as server:
        scene = Scene(server, seed, asked.clients / TURNS_PER_SECOND)
        results = _soak(scene, asked.clients, asked.seconds)
        _look_afterwards(scene, users)
    tally = scene.tally
    table("operations", results["operations"])
    if results["growth"]:
        table("growth", results["growth"])
    for problem in tally.problems:
        console.print(problem, highlight=False, markup=False)
    console.print(
        f"{scene.deaths.count} workers killed, {results['edits']} edits outside; problems: {tally.problem_count}"
    )
    settings = {name: getattr(asked, name) for name in ("clients", "seconds", "workers", "durability")} | {"seed": seed}
    results |= {"kills": scene.deaths.count, "problem_count": tally.problem_count, "problems": tally.problems}
    file = save("soak", asked.results, results, settings)
    file.with_suffix(".md").write_text(_summary(settings, results), encoding="utf-8")
    return 1 if tally.problem_count else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500, help="at the same time (500)")
    parser.add_argument("--seconds", type=int, default=1200, help="length of the load (1200)")
    parser.add_argument("--seed", type=int, help="for the same choices again; otherwise a new one, which is printed")
    parser.add_argument(
        "--workers", type=int, default=max(2, len(os.sched_getaffinity(0))), help="processes, 2 or more"
    )
    parser.add_argument("--durability", choices=["safe", "fast"], default="safe")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the report")
    return parser


# ---- the load ----


def _soak(scene: Scene, count: int, seconds: float) -> dict[str, Any]:
    """All of it at once; then what each client knows is compared with what is there."""
    server, spared = scene.server, scene.server.workers()[0]
    kinds = itertools.cycle(HOUSEHOLD)
    clients = [
        kind(scene, f"user{number // len(HOUSEHOLD)}", number)
        for number, kind in zip(range(count), kinds, strict=False)
    ]
    users = sorted({client.user for client in clients})
    for user in users:
        _touch(server, user, "beginning")
    gauges = Gauges(scene, spared, min(5.0, seconds / 60))
    before = gauges.look()
    editors = [Editor(scene, user) for user in users]
    killer = Killer(scene, spared, max(4.0, seconds / 60))
    threads = _started(scene, [killer.run, gauges.run, *(each.run for each in (*editors, *clients))])
    begun = time.monotonic()
    scene.stop.wait(seconds)
    scene.stop.set()
    seconds = time.monotonic() - begun
    for user in users:
        _touch(server, user, "end")  # wakes who listens
    _joined(scene, threads)
    _joined(scene, _started(scene, [client.finish for client in clients if isinstance(client, Keeper)]))
    _joined(scene, _started(scene, [client.finish for client in clients if isinstance(client, Watcher)]))
    _look_at_gauges(scene, gauges, before)
    return {
        "operations": scene.tally.rows(seconds),
        "growth": gauges.growth(),
        "edits": sum(editor.count for editor in editors),
        "samples": gauges.plain(),
    }


def _touch(server: Server, user: str, name: str) -> None:
    client = Client(server, user)
    expect(client.request("PUT", name, b""), 201)
    client.close()


def _started(scene: Scene, works: Iterable[Callable[[], object]]) -> list[threading.Thread]:
    """Each in a thread of its own; none can fail unseen."""

    def seen(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            scene.tally.problem(f"{work}: {error!r}")

    threads = [threading.Thread(target=seen, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


def _joined(scene: Scene, threads: Sequence[threading.Thread]) -> None:
    end = time.monotonic() + _HANGING_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if hanging := sum(thread.is_alive() for thread in threads):
        scene.tally.problem(f"{hanging} clients hang")


# ---- afterwards ----


def _look_at_gauges(scene: Scene, gauges: Gauges, before: Sample) -> None:
    """At rest, with all clients gone, the worker that lived all the time must hold no more than before them."""
    threads = max((sample.worker_threads for sample in gauges.samples), default=0)
    most = before.descriptors + MORE_DESCRIPTORS + DESCRIPTORS_OF_A_THREAD * threads
    end = time.monotonic() + _REST_SECONDS
    while (now := gauges.look()).descriptors > most:
        if time.monotonic() > end:
            words = f"{now.descriptors} file descriptors at rest, {before.descriptors} before the load"
            scene.tally.problem(f"{words}, and {threads} threads in it")
            break
        time.sleep(0.1)
    for leak in gauges.leaks():
        scene.tally.problem(leak)


def _look_afterwards(scene: Scene, users: int) -> None:
    """The index agrees with the disk, nothing is left over, and the server has said nothing but who was killed."""
    server, problem = scene.server, scene.tally.problem
    server.stop()
    server.start()  # clears away what those that were killed have left
    try:
        server.command("index", "check", "--deep")
    except RuntimeError as error:
        problem(f"index check: {error}")
    for number in range(users):
        left = sorted(path.name for path in (server.data / f"files/user{number}/.baludav/tmp").iterdir())
        if left:
            problem(f"user{number} has left-over temporary files: {left}")
    for line in server.log.read_text(errors="replace").splitlines():
        if not line.endswith(_EXPECTED):
            problem(f"log: {line}")


def _summary(settings: dict[str, Any], results: dict[str, Any]) -> str:
    """The report, to be read."""
    lines = [
        "# Soak",
        "",
        f"{settings['clients']} clients for {settings['seconds']} s on {settings['workers']} workers, durability"
        f" {settings['durability']}, seed {settings['seed']}: {results['kills']} workers killed,"
        f" {results['edits']} edits outside, **{results['problem_count']} problems**.",
        *(f"- {problem}" for problem in results["problems"]),
    ]
    for rows in (results["operations"], results["growth"]):
        if rows:
            lines += ["", f"| {' | '.join(rows[0])} |", "|" + " --- |" * len(rows[0])]
            lines += [f"| {' | '.join(_cell(value) for value in row.values())} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
