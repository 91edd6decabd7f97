"""Where two changes in one tick of the clock get the same time: what is hashed again, and what need not be."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from baludav.tree.disk.staging import Staging
from baludav.tree.disk.storage import Stat
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from baludav.tree.truth import scan
from providers.house import House
from tests.crash.installation import open_installation, path, prepare, put, user_of

TICK = 20_000_000  # nanoseconds
LONG_AGO = 1_000_000_000_000_000_000


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """An installation on a file system with coarse times."""
    monkeypatch.setattr(Staging, "_measure_granularity", lambda storage, folder: TICK)
    prepare(tmp_path)
    house = open_installation(tmp_path)
    put(user_of(house), "first", b"by this the times are found to be coarse")
    yield house
    house.close()


@pytest.fixture
def user(house: House) -> UserTree:
    return user_of(house)


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was looked at more closely."""
    found: list[object] = []
    mend = scan.Scan.mend

    def noting(self: scan.Scan, root: object, wanted: object, patience: object) -> None:
        found.append(wanted)
        mend(self, root, wanted, patience)  # type: ignore[arg-type]

    monkeypatch.setattr(scan.Scan, "mend", noting)
    return found


@pytest.mark.parametrize(
    ("changed_ns", "modified_ns", "is_settled"),
    [
        (-1000, -1000, False),
        (-1000, -2 * TICK, True),  # a client said when it was last changed, or it was moved
        (-2 * TICK, -1000, True),
        (-1000, 2 * TICK, True),  # the clock of its camera is wrong
        (-2 * TICK, -2 * TICK, True),
    ],
)
def test_a_later_change_would_show_in_one_of_the_times(
    house: House, changed_ns: int, modified_ns: int, is_settled: bool
) -> None:
    now = time.time_ns()
    root = house.tree.roots.home("alice")
    folder = root.storage.stat(())
    assert folder is not None
    stat = Stat(False, folder.device, 1, 5, now + modified_ns, now + changed_ns)
    assert house.tree.scan.is_settled(root, ("f",), stat, now) == is_settled


@pytest.mark.parametrize("modified_ns", [None, LONG_AGO, 4 * LONG_AGO])
def test_what_was_put_a_moment_ago_is_not_hashed_again(
    user: UserTree, mended: list[object], modified_ns: int | None
) -> None:
    written = user.replace(path("f"), NO_TERMS, b"bytes", modified_ns=modified_ns)
    assert user.look(path("f")) == written.resource
    user.move(path("f"), path("g"), NO_TERMS, overwrite=False)
    assert user.look(path("g")).sha256 == written.resource.sha256
    user.copy(path("g"), path("h"), NO_TERMS, overwrite=False, is_infinite=True)
    assert user.look(path("h")).sha256 == written.resource.sha256
    user.patch(path("h"), NO_TERMS, {}, modified_ns=LONG_AGO)
    assert user.look(path("h")).sha256 == written.resource.sha256
    assert mended == []


def test_it_says_that_it_was_changed_a_tick_ago(user: UserTree) -> None:
    before = time.time_ns()
    put(user, "f", b"bytes")
    assert before - TICK <= user.look(path("f")).modified_ns <= time.time_ns() - TICK
