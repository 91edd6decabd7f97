"""A picture of a namespace that is built only of pages of its state and of its changes is the namespace."""

import random
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from unicodedata import normalize

import pytest
from sqlalchemy import update

from baludav.db.tables import journal
from baludav.errors import Failure, NotFound, TokenExpired
from baludav.tree.feed import Change
from baludav.tree.paths import Path
from baludav.tree.reading import NO_TERMS
from baludav.tree.tokens import Token
from baludav.tree.tree import UserTree
from baludav.tree.upkeep import expiry
from providers.house import House
from tests.crash.installation import path, put

Picture = dict[Path, str | None]  # entity-tags of files; None for a collection


@pytest.fixture
def house(house: House) -> House:
    for name in ("bob", "root"):
        house.accounts.add(name, "password", is_admin=name == "root")
        house.tree.create_home(name)
    return house


def _user(house: House, name: str) -> UserTree:
    return house.tree.of(house.accounts.get(name))


class Mirror:
    """What a client knows that reads the state and then follows the changes, in pages of some size."""

    def __init__(self, user: UserTree, most: int, under: Path = (), *, is_deep: bool = True) -> None:
        self.user, self.most, self.under, self.is_deep = user, most, under, is_deep
        self.picture: Picture = {}
        self.token = Token("", "", 0)

    def read(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Read the whole state; `meanwhile` is called after each page."""
        after, first = None, True
        while after is not None or first:
            page = self.user.listing(most=self.most, path=self.under, after=after, is_deep=self.is_deep)
            assert len(page.resources) <= self.most
            assert first or page.token == self.token, "the token of the first page counts"
            self.token, after, first = page.token, page.next, False
            for resource in page.resources:
                self.picture[resource.path] = None if resource.is_collection else resource.etag
            meanwhile()
        self.follow()

    def follow(self) -> list[Change]:
        """Take over what changed; all of it."""
        found, has_more = [], True
        while has_more:
            page = self.user.changes(self.token, most=self.most, path=self.under, is_deep=self.is_deep)
            assert page.token.number >= self.token.number
            self.token, has_more = page.token, page.has_more
            for change in page.changes:
                self._take_over(change)
            found += page.changes
        return found

    def _take_over(self, change: Change) -> None:
        if change.resource is None or not change.is_collection or self.picture.get(change.path) is not None:
            self.picture = {p: e for p, e in self.picture.items() if p[: len(change.path)] != change.path}
        if change.resource is not None:
            assert change.resource.path == change.path
            assert change.path[:-1] == self.under or change.path[:-1] in self.picture, "a parent comes first"
            self.picture[change.path] = None if change.is_collection else change.resource.etag

    def truth(self) -> Picture:
        found: Picture = {}
        left = [self.user.look(self.under)]
        while left:
            for member in self.user.members(left.pop()):
                found[member.path] = None if member.is_collection else member.etag
                if member.is_collection and self.is_deep:
                    left.append(member)
        return found


def _change_something(chance: random.Random, users: list[UserTree], tops: list[Path]) -> None:
    """One random change by one of the users, most of which succeed."""
    user, top = chance.choice(users), chance.choice(tops)
    names = [(*top, *(chance.choice("abc") for _ in range(chance.randint(1, 3)))) for _ in range(2)]
    try:
        match chance.randrange(6):
            case 0 | 1:
                with user.open_write(names[0], NO_TERMS) as upload:
                    upload.write(chance.randbytes(4))
                    upload.commit()
            case 2:
                user.make_collection(names[0], NO_TERMS)
            case 3:
                user.delete(names[0], NO_TERMS)
            case 4:
                user.move(names[0], names[1], NO_TERMS, overwrite=True)
            case 5:
                user.copy(names[0], names[1], NO_TERMS, overwrite=True, is_infinite=True)
    except Failure:
        pass  # the parent is not there, or the like


@pytest.mark.parametrize("most", [1, 2, 5, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_pages_under_writes_are_the_namespace(house: House, most: int, seed: int) -> None:
    """For a user with a share and for an admin, who sees the own home and the share more than once."""
    chance = random.Random(seed)
    alice, root = _user(house, "alice"), _user(house, "root")
    alice.look(("pub",))
    tops: list[Path] = [(), (), ("pub",)]

    def write() -> None:
        for _ in range(3):
            _change_something(chance, [alice, alice, root], tops)

    mirrors = [
        Mirror(alice, most), Mirror(root, most), Mirror(alice, most, ("pub",)), Mirror(alice, most, ("d",)),
        Mirror(alice, most, is_deep=False), Mirror(root, most, ("homes",), is_deep=False),
        Mirror(root, most, is_deep=False),
    ]  # fmt: skip
    for mirror in mirrors:
        mirror.read(write)
    for _ in range(40):
        _change_something(chance, [alice, alice, root], tops)
        if chance.random() < 0.1:
            chance.choice(mirrors).follow()
    for mirror in mirrors:
        mirror.follow()
        assert mirror.picture == mirror.truth()
        assert mirror.follow() == []


def test_a_move_says_where_from(house: House) -> None:
    """Unless something else is there now, or the client never had it there."""
    user = _user(house, "alice")
    mirror = Mirror(user, 100)
    mirror.read()

    def move(*names: str) -> dict[str, tuple[str, str | None]]:
        for source, target in pairwise(names):
            user.move(path(source), path(target), NO_TERMS, overwrite=True)
        return {
            "/".join(change.path): (change.action, "/".join(change.moved_from) if change.moved_from else None)
            for change in mirror.follow()
        }

    assert move("file", "renamed") == {"file": ("deleted", None), "renamed": ("created", "file")}
    found = move("renamed", "e/1", "e/2")
    assert (found["renamed"], found["e/2"]) == (("deleted", None), ("created", "renamed"))
    found = move("d", "e/d")
    assert {name: found[name] for name in ("e/d", "e/d/x", "e/d/sub/y")} == {
        "e/d": ("created", "d"), "e/d/x": ("created", "d/x"), "e/d/sub/y": ("created", "d/sub/y"),
    }  # fmt: skip
    assert move("other", "swap", "other") == {"other": ("modified", None), "swap": ("deleted", None)}
    put(user, "new", b"new")
    assert move("new", "newer") == {"new": ("deleted", None), "newer": ("created", None)}
    user.move(path("newer"), path("newest"), NO_TERMS, overwrite=True)
    put(user, "newer", b"another")
    assert {(change.action, change.moved_from) for change in mirror.follow()} == {("modified", None), ("created", None)}


def test_a_page_may_end_within_a_move(house: House) -> None:
    """The resource is deleted on one page and created on the next, which says where from all the same."""
    user = _user(house, "alice")
    mirror = Mirror(user, 1)
    mirror.read()
    user.move(path("d"), path("e/d"), NO_TERMS, overwrite=True)
    user.move(path("e/d/x"), path("e/d/y"), NO_TERMS, overwrite=True)
    assert [("/".join(c.path), c.action, "/".join(c.moved_from or ())) for c in mirror.follow()] == [
        ("d", "deleted", ""), ("d/sub", "deleted", ""), ("d/sub/y", "deleted", ""), ("d/x", "deleted", ""),
        ("e/d", "created", "d"), ("e/d/sub", "created", "d/sub"), ("e/d/sub/y", "created", "d/sub/y"),
        ("e/d/x", "deleted", ""), ("e/d/x", "deleted", ""), ("e/d/y", "created", "e/d/x"),
    ]  # fmt: skip
    assert mirror.picture == mirror.truth()


def test_what_came_with_its_collection_has_changed_there(house: House) -> None:
    """A collection that was moved or restored along is news to whoever follows the one that was there before."""
    user = _user(house, "alice")
    user.make_collection(("x",), NO_TERMS)
    user.make_collection(path("x/sub"), NO_TERMS)
    put(user, "x/sub/old", b"old")
    mirror = Mirror(user, 9, path("d/sub"))
    mirror.read()
    user.delete(path("d"), NO_TERMS)
    user.move(path("x"), path("d"), NO_TERMS, overwrite=True)
    mirror.follow()
    assert mirror.picture == mirror.truth() == {path("d/sub/old"): sha256(b"old").hexdigest()}
    user.move(path("d"), path("x"), NO_TERMS, overwrite=True)
    (entry,) = [entry for entry in user.trash() if entry.path == ("d",)]
    user.restore_deleted(entry.deleted.resource_id)
    mirror.follow()
    assert mirror.picture == mirror.truth() == {path("d/sub/y"): sha256(b"y").hexdigest()}


def test_a_token_of_the_future_is_none(house: House) -> None:
    user = _user(house, "alice")
    token = user.token()
    with pytest.raises(TokenExpired):
        user.changes(token._replace(number=token.number + 1), most=9)
    put(_user(house, "root"), "f", b"of another user")
    with pytest.raises(TokenExpired):
        user.changes(token._replace(number=token.number + 1), most=9)


def test_a_hint_names_only_what_the_user_sees(house: House) -> None:
    """Not what a share hides, and not what lies outside of the collection in question."""
    user = _user(house, "alice")
    mirror = Mirror(user, 9, ("e",))
    mirror.read()
    user.move(path("file"), path("e/file"), NO_TERMS, overwrite=True)
    assert [(change.path, change.moved_from) for change in mirror.follow()] == [(("e", "file"), None)]


def test_what_replaces_a_moved_resource_did_not_come_from_there(house: House) -> None:
    user = _user(house, "alice")
    mirror = Mirror(user, 9)
    mirror.read()
    user.move(path("file"), path("moved"), NO_TERMS, overwrite=True)
    user.delete(path("moved"), NO_TERMS)
    put(user, "moved", b"something else")
    assert [(change.path, change.moved_from) for change in mirror.follow()] == [(("file",), None), (("moved",), None)]


def test_a_collection_is_found_by_either_spelling(house: House) -> None:
    """What macOS calls it, and what is on the disk (see `paths.spellings`)."""
    user = _user(house, "alice")
    user.make_collection(("é",), NO_TERMS)
    put(user, "é/f", b"f")
    (resource,) = user.listing(most=9, path=(normalize("NFD", "é"),)).resources
    assert resource.path == ("é", "f")


@pytest.mark.parametrize("most", [1, 3])
def test_pages_end_at_any_name(house: House, most: int) -> None:
    """Names that come before and after the slash and the dot, and those of more than one byte."""
    user = _user(house, "alice")
    for name in ("a", "a!", "a0", "a.b", "ä", "\U0001f600", "\uff21", "\uffee", " ", "%", "x" * 255):
        user.make_collection((name,), NO_TERMS)
        put(user, f"{name}/{name}", b"1")
    mirror = Mirror(user, most)
    mirror.read()
    assert mirror.picture == mirror.truth()


def test_a_page_goes_on_where_the_last_one_ended(house: House) -> None:
    """Also when that, or the collection that held it, is not there any more."""
    user = _user(house, "alice")
    for names in (("e/z",), ("e/z", "e"), ("d/sub",), ("d",)):
        mirror = Mirror(user, 1)
        last, gone = names[0], names[-1]
        page = user.listing(most=1)
        while page.resources[-1].path != path(last):
            assert page.next is not None
            page = user.listing(most=1, after=page.next)
        user.move(path(gone), ("elsewhere",), NO_TERMS, overwrite=True)
        following = user.listing(most=1, after=page.next).resources[0].path
        assert following > path(last), "in the order of the names"
        user.move(("elsewhere",), path(gone), NO_TERMS, overwrite=True)
        mirror.read()
        assert mirror.picture == mirror.truth()


def test_a_page_goes_on_in_the_same_collection(house: House) -> None:
    user = _user(house, "alice")
    page = user.listing(most=1, path=path("d"))
    assert page.next is not None
    assert user.listing(most=9, path=path("d"), after=page.next).next is None
    with pytest.raises(TokenExpired):
        user.listing(most=9, path=path("e"), after=page.next)


def test_only_a_collection_has_members(house: House) -> None:
    user = _user(house, "alice")
    for name in ("file", "nothing"):
        with pytest.raises(NotFound):
            user.listing(most=9, path=path(name))
        with pytest.raises(NotFound):
            user.changes(user.token(), most=9, path=path(name))


def test_pending_are_the_paths_that_others_changed(house: House) -> None:
    user = _user(house, "alice")
    since = user.token()
    assert user.pending(since, 7) == 0
    put(user, "file", b"1")
    put(user, "file", b"2")
    put(user, "another", b"3")
    assert user.pending(since, 7) == 2
    assert user.pending(user.token(), 7) == 0
    with house.database.snapshot() as connection:
        number = max(connection.scalars(journal.select().with_only_columns(journal.c.number)))
    house.database.commit(lambda c: c.execute(update(journal).where(journal.c.number == number).values(device_id=7)))
    assert user.pending(since, 7) == 1
    assert user.pending(since._replace(epoch="another"), 7) is None


def test_changes_are_forgotten_by_age(house: House) -> None:
    """A token from before what is forgotten expires; one from after it, and those of other storage roots, do not."""
    user, other = _user(house, "alice"), _user(house, "bob")
    put(other, "f", b"of bob")
    before, of_other = user.token(), other.token()
    put(user, "file", b"1")
    between = user.token()
    house.database.commit(lambda c: c.execute(update(journal).values(at_ns=1)))
    put(user, "file", b"2")
    assert expiry.expire_all(house.tree) == 0
    with pytest.raises(TokenExpired):
        user.changes(before, most=9)
    with pytest.raises(TokenExpired):
        user.check_token(before)
    assert user.pending(before, None) is None
    assert [change.path for change in user.changes(between, most=9).changes] == [("file",)]
    assert other.changes(of_other, most=9).changes == []
    assert user.token().number > between.number


def test_what_comes_into_sight_ends_the_token(house: House) -> None:
    """A new home in an admin's namespace was never journalled in it."""
    root = _user(house, "root")
    token = root.token()
    house.accounts.add("carol", "password")
    house.tree.create_home("carol")
    with pytest.raises(TokenExpired):
        root.changes(token, most=9)


def test_a_quiet_collection_in_a_busy_home(house: House) -> None:
    """What is forgotten of the home concerns no token from after the last change below the collection."""
    user = _user(house, "alice")
    quiet = user.token(("d",))
    for number in range(3):
        put(user, "file", b"%d" % number)
    house.database.commit(lambda c: c.execute(update(journal).values(at_ns=1)))
    expiry.expire_all(house.tree)
    assert user.changes(quiet, most=9, path=("d",)).changes == []
    put(user, "d/x", b"new")
    with pytest.raises(TokenExpired):
        user.changes(quiet, most=9, path=("d",))
    fresh = user.token(("d",))
    put(user, "d/x", b"newer")
    assert [change.path for change in user.changes(fresh, most=9, path=("d",)).changes] == [("d", "x")]
