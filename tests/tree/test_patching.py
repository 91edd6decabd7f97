"""Updates of parts of files, below HTTP: what comes in between, and a full disk at each step."""

from collections.abc import Callable
from pathlib import Path

import pytest

from baludav.errors import Conflict, DiskFull, NotFound
from baludav.tree import patching
from baludav.tree.disk.temporary import TemporaryFile
from baludav.tree.http.updates import Update
from baludav.tree.patching import Patch
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from providers.house import House
from tests.crash.installation import put

APPEND = Update(None)


@pytest.fixture
def house(empty: House) -> House:
    return empty


@pytest.fixture
def user(user: UserTree) -> UserTree:
    put(user, "f", b"old")
    return user


@pytest.fixture
def file(house: House) -> Path:
    return house.config.folder / "files/alice/f"


def _patch(user: UserTree, body: bytes) -> None:
    with user.open_patch(("f",), NO_TERMS, APPEND) as patch:
        patch.write(body)
        patch.commit()


def _before_the_end(monkeypatch: pytest.MonkeyPatch, happens: Callable[[int], None]) -> None:
    """Let something happen each time an updated copy is ready to be put in place."""
    count = 0

    def reached(step: str) -> None:
        nonlocal count
        if step == "synced":
            count += 1
            with monkeypatch.context() as quiet:
                quiet.setattr(patching, "reached", lambda step: None)
                happens(count)

    monkeypatch.setattr(patching, "reached", reached)


def test_another_write_is_faster(user: UserTree, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The update is made of what is there then, and the other bytes are a version."""

    def write(count: int) -> None:
        if count == 1:
            put(user, "f", b"newer")

    _before_the_end(monkeypatch, write)
    _patch(user, b"+")
    assert file.read_bytes() == b"newer+"
    assert [version.size for version in user.versions(("f",))] == [5, 3]


def test_a_change_outside_is_faster(user: UserTree, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for one that does not come through the server."""

    def write(count: int) -> None:
        if count == 1:
            with file.open("ab") as opened:
                opened.write(b" outside")

    _before_the_end(monkeypatch, write)
    _patch(user, b"+")
    assert file.read_bytes() == b"old outside+"


def test_the_file_goes_meanwhile(user: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """404, and it does not come back."""
    _before_the_end(monkeypatch, lambda count: user.delete(("f",), NO_TERMS))
    with pytest.raises(NotFound):
        _patch(user, b"+")
    with pytest.raises(NotFound):
        user.look(("f",))


def test_there_is_an_end_to_trying(user: UserTree, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """409 when something writes each time; nothing of the update is there, and no copy is left."""
    _before_the_end(monkeypatch, lambda count: put(user, "f", b"x" * count))
    with pytest.raises(Conflict):
        _patch(user, b"+")
    assert set(file.read_bytes()) == {ord("x")}
    assert list((file.parent / ".baludav/tmp").iterdir()) == []


def _full(*_: object, **__: object) -> None:
    raise DiskFull


@pytest.mark.parametrize("step", ["write", "copy_from", "copy_range", "finish"])
def test_a_full_disk(user: UserTree, file: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """507, the old bytes stay, and nothing is left of the attempt."""
    with monkeypatch.context() as patch:
        patch.setattr(TemporaryFile, step, _full)
        with pytest.raises(DiskFull):
            _patch(user, b"+")
    assert file.read_bytes() == b"old"
    assert user.versions(("f",)) == []
    assert list((file.parent / ".baludav/tmp").iterdir()) == []
    _patch(user, b"+")
    assert file.read_bytes() == b"old+"


def test_what_is_not_committed_is_nowhere(user: UserTree, file: Path) -> None:
    patch: Patch
    with user.open_patch(("f",), NO_TERMS, APPEND) as patch:
        patch.write(b"+")
    assert file.read_bytes() == b"old"
    assert list((file.parent / ".baludav/tmp").iterdir()) == []
