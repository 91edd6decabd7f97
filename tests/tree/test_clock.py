"""The clock is set a day back or forward while the server runs: nothing is lost, or taken for what it is not."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from baludav.errors import Locked
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from baludav.tree.upkeep.expiry import expire_all
from providers.house import House
from tests.crash.installation import agreed, path, put, user_of

DAY = 86_400
SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(house: House, monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets every clock that the tree reads, to so many seconds from the real time."""
    real, real_ns = time.time, time.time_ns

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(seconds * 1_000_000_000))
        monkeypatch.setattr(house.tree.locks, "_clock", lambda: real() + seconds)

    return set_clock


@pytest.mark.parametrize("seconds", [-DAY, DAY])
def test_a_day_off(seconds: int, house: House, user: UserTree, set_clock: SetClock, tmp_path: Path) -> None:
    """Locks, history and journal stay; each change gets a new token, which a client can follow over the jump."""
    user.lock(path("kept"), NO_TERMS, is_exclusive=True, is_infinite=False, owner_xml="", client="", timeout=2 * DAY)
    put(user, "file", b"newer bytes")
    user.delete(path("other"), NO_TERMS)
    first = user.token()
    set_clock(seconds)
    expire_all(house.tree, time.time_ns)
    with pytest.raises(Locked):
        put(user_of(house), "kept", b"stolen")
    ((lock, _),) = user.locks_on(user.look(path("kept")))
    assert 0 < house.tree.locks.seconds_left(lock) <= 2 * DAY
    assert [version.size for version in user.versions(path("file"))] == [len(b"old bytes")]
    assert [entry.path for entry in user.trash()] == [("other",)]
    tokens = [first, user.token()]
    before = time.time()
    put(user, "file", b"newest bytes")
    tokens.append(user.token())
    set_clock(0)
    put(user, "new", b"and on")
    tokens.append(user.token())
    assert len(set(tokens)) == 3, "a token was handed out twice"
    changed = [change.path for change in user.changes(first, most=9).changes]
    assert sorted(changed) == [("file",), ("new",)]
    assert abs(user.look(path("file")).modified_ns / 1e9 - (before - seconds)) < 600, "as the disk says"
    assert agreed(house, tmp_path)["file"] == b"newest bytes"


def test_what_was_deleted_tomorrow_was_not_a_moment_ago(user: UserTree, set_clock: SetClock) -> None:
    """A file that is written anew where one was deleted before the clock was set back is another file."""
    before = user.look(path("file")).id
    set_clock(DAY)
    user.delete(path("file"), NO_TERMS)
    set_clock(0)
    put(user, "file", b"another")
    assert user.look(path("file")).id != before
    assert [entry.path for entry in user.trash()] == [("file",)]
