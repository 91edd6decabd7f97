"""Saves that replace a file, below HTTP: what becomes a version, what counts as stored, and how long a save takes."""

from collections.abc import Callable

import pytest

from baludav.tree.reading import NO_TERMS
from baludav.tree.records import saves
from baludav.tree.tree import UserTree
from providers.house import House


@pytest.fixture
def house(empty: House) -> House:
    return empty


@pytest.fixture
def user(user: UserTree) -> UserTree:
    _put(user, "doc", b"first")
    _put(user, "doc", b"second")
    return user


def _put(user: UserTree, name: str, body: bytes) -> None:
    user.replace((name,), NO_TERMS, body)


def _move(user: UserTree, source: str, target: str) -> None:
    user.move((source,), (target,), NO_TERMS, overwrite=True)


def _delete(user: UserTree, name: str) -> None:
    user.delete((name,), NO_TERMS)


SAVES: dict[str, Callable[[UserTree], object]] = {
    "over": lambda user: (_put(user, "t", b"third!"), _move(user, "t", "doc")),
    "delete, write": lambda user: (_delete(user, "doc"), _put(user, "doc", b"third!")),
    "delete, move": lambda user: (_put(user, "t", b"third!"), _delete(user, "doc"), _move(user, "t", "doc")),
    "two renames": lambda user: (
        _put(user, "t", b"third!"), _move(user, "doc", "o"), _move(user, "t", "doc"), _delete(user, "o"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAVES)
def test_history_goes_on_and_the_quota_is_right(house: House, user: UserTree, name: str) -> None:
    """All earlier bytes are versions of the file, the trash is empty, and only the file counts as stored."""
    before = user.look(("doc",)).id
    SAVES[name](user)
    resource = user.look(("doc",))
    assert (resource.id, resource.size) == (before, 6)
    assert [version.size for version in user.versions(("doc",))] == [6, 5]
    assert list(user.trash()) == []
    used, _ = user.quota(user.look(())) or (-1, 0)
    assert used == 6
    assert not house.tree.roots.home("alice").storage.sweep(older_than_ns=1 << 62)


@pytest.mark.parametrize("name", SAVES)
def test_what_takes_longer_is_no_save(user: UserTree, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file has come to the name: it has another id, and all earlier bytes are still somewhere."""
    monkeypatch.setattr(saves, "WINDOW_NS", 0)
    before = user.look(("doc",)).id
    SAVES[name](user)
    assert user.look(("doc",)).id != before
    kept = len(user.versions(("doc",))) + sum(1 for _ in user.trash())
    assert kept >= 1
    used, _ = user.quota(user.look(())) or (-1, 0)
    assert used == 6
