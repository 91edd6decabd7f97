"""What runs by itself in one process: changes made outside come into the index, and old things go."""

import itertools
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from baludav.errors import DiskFull, Forbidden, TokenExpired
from baludav.tree.disk import kernel
from baludav.tree.disk.storage import Stat
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from baludav.tree.truth import hashing, rounds
from baludav.tree.truth.checking import check
from baludav.tree.truth.rounds import Pace, Rounds, Stop
from baludav.tree.truth.watching import Watcher
from baludav.tree.upkeep.keeping import Keeper
from providers.house import House
from tests.crash.installation import path, put
from tests.serving import wait_for

QUICK = Pace(meeting=0.05, told=3600, untold=3600)
DAY_NS = 86_400_000_000_000
Keep = Callable[..., Keeper]


@pytest.fixture
def keep(house: House) -> Iterator[Keep]:
    keepers = []

    def keep(pace: Pace = QUICK, **how: object) -> Keeper:
        keepers.append(Keeper(house.tree, pace, **how))  # type: ignore[arg-type]
        keepers[-1].start()
        return keepers[-1]

    yield keep
    for keeper in keepers:
        keeper.stop()


class Following:
    """What a client that follows the changes believes is there; it looks at no path."""

    def __init__(self, user: UserTree) -> None:
        self._user = user
        self.token = user.token()
        self.files = {resource.path for resource in user.listing(most=10_000).resources}

    def sees(self, *names: str, seconds: float = 10) -> None:
        """Wait until just these names are there, beside those that were."""
        expected = self.files | {path(name) for name in names}
        now = set(self.files)

        def follow() -> bool:
            for change in (page := self._user.changes(self.token, most=10_000)).changes:
                if change.resource is None:
                    now.difference_update({name for name in now if name[: len(change.path)] == change.path})
                else:
                    now.add(change.path)
            self.token = page.token
            return now == expected

        wait_for(follow, seconds, f"{names} beside what was there")
        self.files = now


def test_at_start_and_from_then_on(house: House, user: UserTree, home: Path, keep: Keep) -> None:
    follow = Following(user)
    (home / "before").write_bytes(b"1")
    keep()
    follow.sees("before")
    (home / "e/after").write_bytes(b"2")
    follow.sees("e/after")
    shutil.copytree(home / "d", home / "e/copied")
    follow.sees("e/copied", "e/copied/x", "e/copied/sub", "e/copied/sub/y")
    wait_for(lambda: check(house.tree, lambda done, total: None) == [], 5, "index and disk agree")


def test_more_than_can_be_told(
    house: House, user: UserTree, home: Path, keep: Keep, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything is compared again; the log says so once."""
    follow = Following(user)
    keep(make_watcher=lambda: Watcher(most_names=2))
    (home / "seen").write_bytes(b"1")
    follow.sees("seen")
    for turn in range(3):
        for name in ("d", "e", "d/sub", "."):
            (home / name / f"new {turn}").write_bytes(b"1")
        follow.sees(f"d/new {turn}", f"e/new {turn}", f"d/sub/new {turn}", f"new {turn}")
    assert sum("too much" in record.message for record in caplog.records) == 1


def test_out_of_watches(user: UserTree, home: Path, keep: Keep) -> None:
    """What is not watched is found by reading it now and then."""
    follow = Following(user)
    keep(QUICK._replace(untold=0.1, share=1.0), make_watcher=lambda: Watcher(most_watches=2))
    for name in ("d", "e", "d/sub", "."):
        (home / name / "new").write_bytes(b"1")
    follow.sees("d/new", "e/new", "d/sub/new", "new")


def _no_watcher() -> Watcher:
    raise OSError(24, "Too many open files")


@pytest.mark.parametrize("what", ["no inotify to spare", "a network file system"])
def test_without_watches(user: UserTree, home: Path, keep: Keep, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow = Following(user)
    pace = QUICK._replace(untold=0.1, share=1.0)
    if what == "a network file system":
        monkeypatch.setattr(kernel, "tells_changes", lambda fd: False)
        keep(pace)
    else:
        keep(pace, make_watcher=_no_watcher)
    (home / "d/new").write_bytes(b"1")
    follow.sees("d/new")
    (home / "d/new").rename(home / "e/moved")
    follow.files.remove(("d", "new"))
    follow.sees("e/moved")


def test_an_event_that_was_never_raised(
    user: UserTree, home: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a write through a memory map: the seldom round finds it."""
    follow = Following(user)
    monkeypatch.setattr(kernel, "events", lambda data: iter(()))
    keep(QUICK._replace(told=0.1, share=1.0))
    (home / "d/new").write_bytes(b"1")
    follow.sees("d/new")


def test_a_round_takes_its_share_of_the_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of a second each, a tenth of the time: one every ten seconds; the first round takes all of it."""
    clock = Clock()
    begun: list[float] = []

    def refresh(*args: object, **how: object) -> Iterator[int]:
        for _ in range(3):
            begun.append(clock.monotonic())
            clock.now += 1.0
            yield 1

    monkeypatch.setattr(rounds, "time", clock)
    monkeypatch.setattr(rounds, "refresh", refresh)
    monkeypatch.setattr(Rounds, "_wait", lambda self, until: setattr(clock, "now", max(clock.now, until)))
    monkeypatch.setattr(house.tree.roots, "everything", lambda: [house.tree.roots.home("alice")])
    turns = Rounds(
        house.tree, Pace(meeting=1000, told=5000, untold=5000, share=0.1), Stop(-1, lambda: False), _no_watcher
    )
    while clock.now < 8000:
        turns.turn(9000)
    assert begun == [0, 1, 2, 6000, 6010, 6020]


class Clock:
    """In place of the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.used = 0.0

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.used

    def thread_time(self) -> float:
        return 0.0


def test_requests_come_first(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While other threads of the process are at work, half of the time is left to them."""
    clock = Clock()
    begun: list[float] = []

    def refresh(*args: object, **how: object) -> Iterator[int]:
        while True:
            begun.append(clock.monotonic())
            clock.now += 1.0
            clock.used += 0.5 if len(begun) < 3 else 0.0
            yield 1

    monkeypatch.setattr(rounds, "time", clock)
    monkeypatch.setattr(rounds, "refresh", refresh)
    monkeypatch.setattr(Rounds, "_wait", lambda self, until: setattr(clock, "now", max(clock.now, until)))
    monkeypatch.setattr(house.tree.roots, "everything", lambda: [house.tree.roots.home("alice")])
    turns = Rounds(house.tree, Pace(meeting=1000), Stop(-1, lambda: False), _no_watcher)
    while len(begun) < 5:
        turns.turn(9000)
    assert begun == [0, 2, 4, 5, 6]


def test_another_process_takes_over(house: House, user: UserTree, home: Path, keep: Keep, tmp_path: Path) -> None:
    """When the one that keeps is killed; until then the others only wait."""
    code = (
        "import pathlib; from tests.crash.installation import open_installation\n"
        f"house = open_installation(pathlib.Path({str(tmp_path)!r}))\n"
        "house.tree.keep()\n"
        "input()\n"
    )
    follow = Following(user)
    top = Path(__file__).parents[2]
    other = subprocess.Popen([sys.executable, "-c", code], cwd=top, stdin=subprocess.PIPE)
    try:
        (home / "one").write_bytes(b"1")
        follow.sees("one")
        keep()
        (home / "two").write_bytes(b"2")
        follow.sees("two")
    finally:
        other.kill()
        other.wait()
    (home / "three").write_bytes(b"3")
    follow.sees("three")


def test_stops_at_once(house: House, home: Path, keep: Keep) -> None:
    """In the middle of hashing, at once or in the background, and while it waits for its turn."""
    with (home / "huge").open("wb") as file:
        file.truncate(1 << 40)  # takes no room, but an hour to hash
    with (home / "large").open("wb") as file:
        file.truncate(60 << 20)
    keeper, waiting = keep(), keep()
    wait_for(lambda: any(thread.name == "hashing" for thread in threading.enumerate()), 10, "it is being hashed")
    waiting.stop()
    keeper.stop()
    house.tree.scan.close()
    assert not any(thread.name in ("hashing", "keeping") for thread in threading.enumerate())


def test_old_history_and_old_changes_go_by_themselves(house: House, user: UserTree, keep: Keep) -> None:
    put(user, "file", b"second")
    user.delete(path("d"), NO_TERMS)
    token = user.token()
    put(user, "file", b"third")
    house_days = house.config.settings.history_days
    later = time.time_ns() + (house_days + 1) * DAY_NS
    assert user.versions(path("file"))
    keep(clock=lambda: later)
    wait_for(lambda: user.versions(path("file")) == [] and user.trash() == [], 10, "the history expires")
    user.check_token(token)


def test_a_token_older_than_the_journal_expires(house: House, user: UserTree, keep: Keep) -> None:
    token = user.token()
    put(user, "file", b"second")
    later = time.time_ns() + (house.config.settings.journal_days + 1) * DAY_NS
    keep(clock=lambda: later)

    def is_expired() -> bool:
        try:
            user.changes(token, most=9)
        except TokenExpired:
            return True
        return False

    wait_for(is_expired, 10, "changes are forgotten")
    assert user.changes(user.token(), most=9).changes == []


def test_a_storage_root_that_goes_and_comes(
    house: House, user: UserTree, home: Path, keep: Keep, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While its disk is not mounted nothing is taken for deleted; when it is back, changes are noticed again."""
    put(user, "pub/f", b"f")
    follow = Following(user)
    keep()
    (tmp_path / "share/g").write_bytes(b"g")
    follow.sees("pub/g")
    (tmp_path / "share").rename(tmp_path / "unmounted")
    (tmp_path / "share").mkdir()
    wait_for(lambda: "share pub: not mounted" in caplog.text, 10, "it is missed")
    (home / "meanwhile").write_bytes(b"1")
    follow.sees("meanwhile")
    (tmp_path / "unmounted/d").mkdir()
    (tmp_path / "unmounted/d/h").write_bytes(b"h")
    (tmp_path / "share").rmdir()
    (tmp_path / "unmounted").rename(tmp_path / "share")
    follow.sees("pub/d", "pub/d/h")
    (tmp_path / "share/d/i").write_bytes(b"i")
    follow.sees("pub/d/i")
    assert caplog.text.count("not mounted") == 1


def test_a_home_that_is_new(house: House, user: UserTree, home: Path, keep: Keep, tmp_path: Path) -> None:
    follow = Following(user)
    keep()
    (home / "f").write_bytes(b"f")
    follow.sees("f")
    house.accounts.add("bob", "bob's password")
    house.tree.create_home("bob")
    follow = Following(house.tree.of(house.accounts.get("bob")))
    (tmp_path / "data/files/bob/f").write_bytes(b"f")
    follow.sees("f")


def test_what_a_failure_interrupts_goes_on(
    user: UserTree, home: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = Following(user)
    original = rounds.refresh
    failures = iter([RuntimeError("once")])

    def refresh(*args: object, **how: object) -> Iterator[int]:
        for failure in failures:
            raise failure
        return original(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(rounds, "refresh", refresh)
    monkeypatch.setattr("baludav.tree.upkeep.keeping._AFTER_FAILURE_SECONDS", 0.1)
    keep()
    (home / "f2").write_bytes(b"f")
    follow.sees("f2")


def test_what_could_not_be_written_is_read_again(
    house: House, user: UserTree, home: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index had no room for a change: the next round is not far, though all folders are watched."""
    follow = Following(user)
    keep(QUICK._replace(untold=0.1))
    (home / "first").write_bytes(b"1")
    follow.sees("first")
    mend = house.tree.scan.mend
    failures = iter([DiskFull(), DiskFull()])

    def failing(*args: object) -> None:
        for failure in failures:
            raise failure
        mend(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(house.tree.scan, "mend", failing)
    (home / "d/new").write_bytes(b"1")
    follow.sees("d/new")
    assert next(failures, None) is None


def test_a_file_that_always_changes_is_not_always_hashed(
    house: House, user: UserTree, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, without an ETag; the background tries now and then."""
    ticks = itertools.count()
    hashed: list[float] = []
    stat_of, hash_descriptor = hashing._stat_of, hashing.hash_descriptor

    def changing(fd: int) -> Stat:
        return stat_of(fd)._replace(ctime_ns=next(ticks))

    def counting(fd: int, patience: hashing.Patience) -> str | None:
        hashed.append(time.monotonic())
        return hash_descriptor(fd, patience)

    monkeypatch.setattr(hashing, "_stat_of", changing)
    monkeypatch.setattr(hashing, "hash_descriptor", counting)
    (home / "busy").write_bytes(b"1")
    assert user.look(("busy",)).etag is None
    wait_for(lambda: len(hashed) > 9, 10, "it is tried again")
    assert hashed[9] - hashed[3] > 0.4


def test_a_file_that_cannot_be_read_is_left_alone(
    house: House, user: UserTree, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed, without an ETag; nothing is written for it at each look, and no thread tries again and again."""

    def forbidden(*args: object) -> int:
        raise Forbidden()

    (home / "secret").write_bytes(b"1")
    monkeypatch.setattr(house.tree.roots.home("alice").storage, "open", forbidden)
    assert user.look(("secret",)).etag is None
    commits: list[object] = []
    monkeypatch.setattr(house.database, "commit", commits.append)
    assert user.look(("secret",)).etag is None
    assert "secret" in {member.name for member in user.members(user.look(()))}
    assert commits == []
    assert not any(thread.name == "hashing" for thread in threading.enumerate())
