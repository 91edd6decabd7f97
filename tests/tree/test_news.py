"""A look at what is new finds every change once, by storage root, whichever process made it."""

from pathlib import Path as DiskPath

import pytest

from baludav.tree.reading import NO_TERMS
from baludav.tree.records.news import News
from baludav.tree.tree import UserTree
from providers.house import House
from tests.crash.installation import open_installation, path, put, user_of


@pytest.fixture
def news(house: House) -> News:
    news = News(house.database)
    news.skip()
    return news


def _root(user: UserTree, name: str) -> int:
    root = user.look(path(name)).place.root
    assert root is not None
    return root.id


def test_each_change_is_seen_once(house: House, news: News) -> None:
    """With the number that the token of its namespace then has."""
    user = user_of(house)
    assert news.look() == ({}, False)
    put(user, "file", b"new bytes")
    put(user, "file", b"newer bytes")
    assert news.look() == ({_root(user, "file"): user.token().number}, False)
    assert news.look() == ({}, False)


def test_storage_roots_are_told_apart(house: House, news: News) -> None:
    user = user_of(house)
    put(user, "pub/a", b"a")
    home, share = _root(user, "file"), _root(user, "pub")
    assert set(news.look().numbers) == {share}
    user.move(path("pub/a"), path("a"), NO_TERMS, overwrite=False)
    assert set(news.look().numbers) == {home, share}


def test_what_is_no_change_is_not_seen(house: House, news: News) -> None:
    """Accounts, locks and properties are committed to the same database."""
    house.accounts.set_password("alice", "another password")
    assert news.look() == ({}, False)


def test_a_change_of_another_process_is_seen(house: House, news: News, tmp_path: DiskPath) -> None:
    """The command, or another worker."""
    other = open_installation(tmp_path)
    put(user_of(other), "file", b"new bytes")
    other.close()
    assert set(news.look().numbers) == {_root(user_of(house), "file")}


def test_a_storage_root_that_comes_or_goes_is_seen(house: House, news: News) -> None:
    """An admin sees the homes of all."""
    house.tree.create_home("bob")
    assert news.look().roots_changed
    assert not news.look().roots_changed
    house.tree.delete_home("bob", files=True)
    assert news.look().roots_changed


def test_what_was_skipped_is_not_seen(house: House, news: News) -> None:
    put(user_of(house), "file", b"new bytes")
    house.tree.create_home("bob")
    news.skip()
    assert news.look() == ({}, False)


@pytest.mark.parametrize("name", ["file", "d", "pub/a"])
def test_a_moment_is_that_of_the_tree(house: House, name: str) -> None:
    """The token that the index gives without a look at the disk is the token."""
    user = user_of(house)
    put(user, f"{name}-new", b"new bytes")
    user.delete(path(f"{name}-new"), NO_TERMS)
    token, roots = user.now()
    assert token == user.token()
    assert roots == {_root(user, "file"), _root(user, "pub")}
