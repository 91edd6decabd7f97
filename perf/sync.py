"""What does it cost a sync client that a namespace is large, and how fast is a large one taken in?

Namespaces of several sizes are asked the same, each on a server of its own and all in turn.
"""

import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from baludav.db.engine import Database
from baludav.db.tables import journal, resources
from perf.harness import asked_for, console, save, serving, table
from perf.namespace import EACH, SEED, Namespace

SIZES = (1_000, 10_000, 100_000)
QUICK_SIZES = (200, 400)
CHANGES = 10
FLAT = 1.5  # what the most expensive namespace may cost, times the cheapest

_PATIENCE = 900  # seconds
_POLL_SECONDS = 0.005  # seldom enough that the server has time for other things

Row = dict[str, Any]
Question = Callable[[], object]


def first_scan(namespace: Namespace, folder: Path) -> Row:
    """A tree comes into the home from outside: how long until every file in it is hashed and in the index."""
    megabytes = namespace.plant(folder) / 1e6
    before = _sha256sum(folder)
    database = Database(namespace.server.data / "index.db")
    begun = time.perf_counter()
    (folder / "tree").rename(namespace.home / "tree")
    _wait_for(lambda: _newest(database) >= namespace.files, 0.05)
    _wait_for(lambda: _hashed(database) == namespace.files, 0.05)
    seconds = time.perf_counter() - begun
    database.close()
    hashing = statistics.fmean([before, _sha256sum(namespace.home)])
    return {
        "files": namespace.files, "files_per_s": namespace.files / seconds, "MB_per_s": megabytes / seconds,
        "sha256sum_files_per_s": namespace.files / hashing, "sha256sum_MB_per_s": megabytes / hashing,
    }  # fmt: skip


def _sha256sum(folder: Path) -> float:
    """Seconds that `sha256sum` takes for every file of a folder."""
    begun = time.perf_counter()
    with subprocess.Popen(["find", folder, "-type", "f", "-print0"], stdout=subprocess.PIPE) as found:
        subprocess.run(["xargs", "-0", "sha256sum"], stdin=found.stdout, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def _newest(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.max(journal.c.number))) or 0


def _hashed(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.count()).where(resources.c.sha256.is_not(None))) or 0


def _wait_for(condition: Callable[[], bool], between: float) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(between)


def questions(namespace: Namespace) -> dict[str, Question]:
    """What a sync client asks, by what the answer is; each checks what it gets."""
    before = namespace.state(namespace.folders[0])[1]
    changed = sorted(list(namespace.paths())[:: namespace.files // CHANGES][:CHANGES])
    for path in changed:
        namespace.put(path, b"changed")
    now, etag = namespace.state(namespace.folders[0])[1], namespace.root_etag()

    def changes_none() -> None:
        assert namespace.changes(now) == []

    def report_none() -> None:
        assert namespace.report(now).count(b"<D:response>") == 0

    def propfind_none() -> None:
        assert namespace.root_etag() == etag

    def changes_some() -> None:
        assert [change["path"] for change in namespace.changes(before)] == [f"/{path}" for path in changed]

    def report_some() -> None:
        assert namespace.report(before).count(b"<D:response>") == CHANGES

    def folder() -> None:
        assert namespace.state(namespace.folders[-1])[0] == EACH

    return {
        "nothing changed: GET changes": changes_none,
        "nothing changed: REPORT": report_none,
        "nothing changed: PROPFIND": propfind_none,
        "10 changes: GET changes": changes_some,
        "10 changes: REPORT": report_some,
        "state of a folder of 100 files": folder,
    }


def flat(namespaces: Sequence[Namespace], rounds: int) -> list[Row]:
    """The same questions in each namespace: milliseconds at the median."""
    chance = random.Random(SEED)
    asked = [questions(namespace) for namespace in namespaces]
    seconds: dict[str, list[list[float]]] = {what: [[] for _ in namespaces] for what in asked[0]}
    for what, found in seconds.items():
        for _ in range(rounds):
            for number in chance.sample(range(len(namespaces)), len(namespaces)):
                begun = time.perf_counter()
                asked[number][what]()
                found[number].append(time.perf_counter() - begun)
    return [_row(what, namespaces, found) for what, found in seconds.items()]


def _row(what: str, namespaces: Sequence[Namespace], seconds: Sequence[Sequence[float]]) -> Row:
    medians = [statistics.median(found) * 1000 for found in seconds]
    sizes = {f"{namespace.files:,}": median for namespace, median in zip(namespaces, medians, strict=True)}
    return {"milliseconds for": what, **sizes, "most/least": max(medians) / min(medians)}


def noticing(namespaces: Sequence[Namespace], rounds: int) -> list[Row]:
    """A file is written on the disk: how long until the entity-tag of the root is another."""
    seconds: list[list[float]] = [[] for _ in namespaces]
    for number in range(rounds):
        for namespace, found in zip(namespaces, seconds, strict=True):
            etag = namespace.root_etag()
            folder = namespace.home / namespace.folders[number % len(namespace.folders)]
            (folder / "outside").write_bytes(b"%d" % number)
            begun = time.perf_counter()
            while namespace.root_etag() == etag:
                assert time.perf_counter() < begun + _PATIENCE
                time.sleep(_POLL_SECONDS)
            found.append(time.perf_counter() - begun)
    return [_row("an outside edit to be noticed", namespaces, seconds)]


def states(namespaces: Sequence[Namespace], rounds: int) -> list[Row]:
    """The state of the whole namespace, in pages of 1,000."""
    rows = []
    for namespace in namespaces:
        seconds = []
        for _ in range(rounds):
            begun = time.perf_counter()
            assert namespace.state()[0] == namespace.files
            seconds.append(time.perf_counter() - begun)
        median = statistics.median(seconds)
        rows.append({"files": namespace.files, "seconds": median, "files_per_s": namespace.files / median})
    return rows


def main(arguments: list[str]) -> int:
    asked = asked_for(__doc__, arguments)
    with contextlib.ExitStack() as stack:
        namespaces, scans = [], []
        for files in QUICK_SIZES if asked.quick else SIZES:
            namespace = Namespace(stack.enter_context(serving(asked.durability, users=1)), files)
            namespaces.append(namespace)
            with tempfile.TemporaryDirectory(dir=namespace.server.data) as folder:
                scans.append(first_scan(namespace, Path(folder)))
        results = {
            "first scan": scans,
            "flat": flat(namespaces, 5 if asked.quick else 200),
            "state": states(namespaces, 1 if asked.quick else 3),
            "outside": noticing(namespaces, 2 if asked.quick else 20),
        }
    for title, rows in results.items():
        table(title, rows)
    save("sync", asked.results, results, {"durability": asked.durability, "quick": asked.quick})
    steep = [row["milliseconds for"] for row in results["flat"] if row["most/least"] > FLAT]
    if steep and not asked.quick:  # small namespaces say nothing about growth
        console.print(f"more than {FLAT} times as expensive in one namespace as in another: {', '.join(steep)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
