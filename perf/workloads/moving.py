"""Whole collections: MOVE, COPY and DELETE, in milliseconds."""

import time
from pathlib import Path

from perf.trees import MEMBERS, file_name, member_content
from perf.workload import Bench, Row, Workload, WrongAnswerError, expect


def move(bench: Bench) -> tuple[float, ...]:
    """MOVE of a large collection to another name and back."""
    count, name = bench.sizes.most, MEMBERS["most"]
    there = _timed(bench, "MOVE", name, "moved")
    _expect_collection(bench.peer.root / "moved", count)
    _expect_gone(bench, name)
    back = _timed(bench, "MOVE", "moved", name)
    _expect_collection(bench.peer.root / name, count)
    _expect_gone(bench, "moved")
    return ((there + back) / 2,)


def copy(bench: Bench) -> tuple[float, ...]:
    """COPY of a collection; the copy is deleted again."""
    milliseconds = _timed(bench, "COPY", MEMBERS["many"], "copied")
    _expect_collection(bench.peer.root / "copied", bench.sizes.many)
    _expect_collection(bench.peer.root / MEMBERS["many"], bench.sizes.many)
    _timed(bench, "DELETE", "copied")
    _expect_gone(bench, "copied")
    return (milliseconds,)


def delete(bench: Bench) -> tuple[float, ...]:
    """DELETE of the large collection."""
    name = MEMBERS["most"]
    _expect_collection(bench.peer.root / name, bench.sizes.most)
    milliseconds = _timed(bench, "DELETE", name)
    _expect_gone(bench, name)
    return (milliseconds,)


def _timed(bench: Bench, method: str, name: str, destination: str = "") -> float:
    headers = {"Destination": f"{bench.peer.url}{destination}/"} if destination else {}
    with bench.peer.connect() as connection:
        begun = time.perf_counter()
        answer = connection.request(method, bench.peer.path(f"{name}/"), headers=headers)
        milliseconds = (time.perf_counter() - begun) * 1000
    expect(answer, 200, 201, 204)
    return milliseconds


def _expect_collection(folder: Path, count: int) -> None:
    """Nothing, if exactly the members are on the disk, some of them compared by their bytes."""
    wanted = {file_name(number) for number in range(count)}
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found != wanted:
        raise WrongAnswerError(f"{folder.name}: {len(wanted - found):,} members are missing")
    for name in sorted(wanted)[:: max(1, count // 10)]:
        if (folder / name).read_bytes() != member_content(name):
            raise WrongAnswerError(f"{folder.name}/{name} has other bytes")


def _expect_gone(bench: Bench, name: str) -> None:
    if (bench.peer.root / name).exists():
        raise WrongAnswerError(f"{name} is still there")
    with bench.peer.connect() as connection:
        expect(connection.request("GET", bench.peer.path(f"{name}/{file_name(0)}")), 404)


def _row(key: str, title: str) -> tuple[Row]:
    return (Row(key, title, "ms", more_is_better=False),)


MOVING = (
    Workload("copy", _row("copy", "COPY of {many} members"), copy, writes=True),
    Workload("move", _row("move", "MOVE of {most} members"), move, writes=True),
    Workload("delete", _row("delete", "DELETE of {most} members"), delete, writes=True, once=True),
)
