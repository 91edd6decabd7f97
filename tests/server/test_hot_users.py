"""What the hot lane knows of users and their targets is bounded, and goes with those who have gone."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from baludav import metrics
from baludav.accounts.signin import REMEMBER
from baludav.app import App, make_app
from baludav.config import build
from baludav.server import hot
from tests.http.client import basic

PASSWORD = "her password"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setattr(metrics, "start", lambda folder: None)  # it is for a whole process
    app = make_app(build({"baludav": {"data": str(tmp_path / "data"), "durability": "fast"}}, {}))
    app.house.accounts.add("alice", PASSWORD)
    app.house.tree.create_home("alice")
    yield app
    app.close()


def user_of(lane: hot.HotLane, app: App) -> Any:
    """Who asks, once they have signed in."""
    app.house.sign_in.check("alice", PASSWORD, "127.0.0.1")
    connection: Any = SimpleNamespace(credentials=(b"", b"", ""), remote_addr="127.0.0.1")
    request: Any = SimpleNamespace(fields={b"authorization": basic("alice", PASSWORD).encode()})
    user = lane._user(connection, request)
    assert user is not None
    return user


def test_who_signs_in_again_is_not_known_twice(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute each user is another one; with all that was known of the one before it would pile up."""
    lane = hot.HotLane(app)
    ahead, monotonic = 0.0, time.monotonic
    monkeypatch.setattr(hot.time, "monotonic", lambda: monotonic() + ahead)
    monkeypatch.setattr(app.house.sign_in, "_clock", lambda: time.time() + ahead)
    first = user_of(lane, app)
    assert user_of(lane, app) is first
    assert lane._entry(first, b"/dav/a") is not None
    for _ in range(3):
        ahead += REMEMBER + 1
        assert user_of(lane, app) is not first
        assert len(lane._users) == 1
    assert lane._entry_count == 0


def test_targets_of_all_users_are_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for many different targets takes no more memory than the bound."""
    monkeypatch.setattr(hot, "_MOST_ENTRIES", 10)
    lane = hot.HotLane(app)
    user = user_of(lane, app)
    for number in range(25):
        assert lane._entry(user, b"/dav/%d" % number) is not None
        assert 0 < len(user.entries) <= 10
    assert len(user.entries) == 5
