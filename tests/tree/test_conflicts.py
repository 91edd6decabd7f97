"""The register of conflicts: one open for each path of a device, nobody else's, over when nothing is left of it."""

import hashlib
import sqlite3
from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update

from baludav.accounts.accounts import Principal
from baludav.db.tables import conflicts as table
from baludav.errors import AlreadyResolved, Failure, NotFound, PreconditionFailed, Unavailable
from baludav.tree.http.preconditions import Conditions
from baludav.tree.reading import NO_TERMS, Terms
from baludav.tree.records import conflicts
from baludav.tree.records.conflicts import Conflict, Found, Kind
from baludav.tree.tree import UserTree
from providers.house import House
from tests.crash.installation import path

OLD, NEW = (hashlib.sha256(body).hexdigest() for body in (b"old bytes", b"new bytes"))
OUTDATED = "0" * 64
FILE = Found(("file",), Kind.BOTH_EDITED, "b" * 64, "1" * 64, "5" * 64)


@pytest.fixture
def house(house: House) -> House:
    house.accounts.add("bob", "bob's password")
    house.tree.create_home("bob")
    return house


def _user(house: House, name: str, device: str | None = None) -> UserTree:
    """A user, or a new device of theirs."""
    account = house.accounts.get(name)
    device_id = None if device is None else house.devices.add(account.id, device, "desktop", "token")[0].id
    principal = Principal(account.id, name, False, frozenset(), None, account.revision, device_id=device_id)
    return house.tree.of(principal)


def _id(user: UserTree) -> int:
    assert user.principal.device_id is not None
    return user.principal.device_id


@pytest.fixture
def laptop(house: House) -> UserTree:
    return _user(house, "alice", "laptop")


@pytest.fixture
def phone(house: House) -> UserTree:
    return _user(house, "alice", "phone")


@pytest.fixture
def bob(house: House) -> UserTree:
    return _user(house, "bob", "bob's")


def _terms(**headers: str) -> Terms:
    return Terms(Conditions.parse({f"HTTP_{name}": value for name, value in headers.items()}), lambda tag: None)


def _if_match(etag: str) -> Terms:
    return _terms(IF_MATCH=f'"{etag}"')


def _put(user: UserTree, name: str, body: bytes, terms: Terms = NO_TERMS) -> None:
    with user.open_write(path(name), terms, length=len(body)) as upload:
        upload.write(body)
        upload.commit()


def _plan(user: UserTree, *found: Found, undecided: str = "") -> list[Conflict]:
    return user.record_conflicts(_id(user), found, {path(name) for name in undecided.split()})


def _rows(house: House) -> int:
    with house.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


# From plans


def test_what_a_plan_shows_is_open(laptop: UserTree, phone: UserTree) -> None:
    collision = Found(("d", "Ä"), Kind.NAME_COLLISION, None, "1" * 64, "5" * 64, ("d", "ä"))
    _plan(laptop, FILE, collision)
    first, second = laptop.conflicts()
    assert (first.found, second.found) == (collision, FILE)
    assert (first.device_name, first.resolution) == ("laptop", None)
    assert len(first.public_id) == 32
    assert first.public_id != second.public_id
    assert phone.conflicts() == laptop.conflicts(), "every device of the user may look"
    assert laptop.conflicts(_id(phone)) == []


def test_found_again_it_stays_the_same_conflict(laptop: UserTree) -> None:
    (before,) = _plan(laptop, FILE)
    changed = FILE._replace(server_sha256="6" * 64, kind=Kind.FILE_AND_COLLECTION)
    (after,) = _plan(laptop, changed)
    assert after == before._replace(found=changed), "its name and that of its copy do not change"


def test_what_a_plan_does_not_show_any_more_is_over(house: House, laptop: UserTree, phone: UserTree) -> None:
    others = [FILE._replace(path=("other",)), FILE._replace(path=("d", "x"))]
    (gone, *_) = [one for one in _plan(laptop, FILE, *others) if one.found.path == ("file",)]
    _plan(phone, FILE)
    assert [one.found.path for one in _plan(laptop, others[0], undecided="d/x")] == [("d", "x"), ("other",)]
    assert _plan(laptop) == []
    assert len(phone.conflicts()) == 1
    assert _rows(house) == 1
    with pytest.raises(NotFound):
        laptop.conflict(gone.public_id)


def test_a_conflict_is_resolved_once(laptop: UserTree) -> None:
    (conflict,) = _plan(laptop, FILE)
    assert laptop.conflict(conflict.public_id) == conflict
    laptop.resolve_conflict(conflict, "keep_both")
    assert laptop.conflicts() == []
    with pytest.raises(AlreadyResolved):
        laptop.resolve_conflict(conflict, "keep_local")
    with pytest.raises(AlreadyResolved, match="keep_both"):
        laptop.conflict(conflict.public_id)


def test_the_same_conflict_again_is_a_new_one(house: House, laptop: UserTree) -> None:
    (old,) = _plan(laptop, FILE)
    laptop.resolve_conflict(old, "keep_both")
    (new,) = _plan(laptop, FILE)
    assert new.public_id != old.public_id
    assert _rows(house) == 2


def test_resolved_ones_are_forgotten_after_a_month(house: House, laptop: UserTree) -> None:
    (old,) = _plan(laptop, FILE)
    laptop.resolve_conflict(old, "keep_both")
    long_ago = update(table).values(resolved_at=table.c.resolved_at - 31 * 86_400)
    house.database.commit(lambda connection: connection.execute(long_ago))
    _plan(laptop, FILE)
    assert _rows(house) == 1
    with pytest.raises(NotFound):
        laptop.conflict(old.public_id)


def test_nobody_learns_of_others(laptop: UserTree, bob: UserTree) -> None:
    (conflict,) = _plan(laptop, FILE)
    assert bob.conflicts() == []
    assert bob.conflicts(_id(laptop)) == []
    with pytest.raises(NotFound):
        bob.conflict(conflict.public_id)
    assert bob.record_conflicts(_id(laptop), [FILE._replace(path=("bob's",))], set()) == []
    assert [one.found.path for one in laptop.conflicts()] == [("file",)]


def test_a_device_takes_its_conflicts_along(house: House, laptop: UserTree) -> None:
    _plan(laptop, FILE)
    house.devices.remove(laptop.principal.id, house.devices.of(laptop.principal.id)[0].public_id)
    assert laptop.conflicts() == []
    assert _plan(laptop, FILE) == [], "it was removed while its plan was made"
    with pytest.raises(PreconditionFailed):
        _put(laptop, "file", b"new bytes", _if_match(OUTDATED))
    assert _rows(house) == 0


def test_the_copy_has_its_name_from_path_time_and_device(laptop: UserTree) -> None:
    _plan(laptop, FILE._replace(path=("d", "a.tar.gz")))
    (conflict,) = [one._replace(detected_at=0.5) for one in laptop.conflicts()]
    assert conflict.copy == ("d", "a (conflict 1970-01-01 000000 laptop).tar.gz")
    assert conflict.may_copy
    again = conflict._replace(found=FILE._replace(path=conflict.copy))
    assert not again.may_copy


# From requests that were refused


def _attempts() -> dict[str, tuple[Callable[[UserTree], object], Found | None]]:
    """Requests with conditions that do not hold, and the conflict each is."""
    tags, outdated, new = _terms(IF_MATCH=f'"{OUTDATED}", "{OLD}x"'), _if_match(OUTDATED), _terms(IF_NONE_MATCH="*")
    edited = Found(("file",), Kind.BOTH_EDITED, OUTDATED, None, OLD)
    gone = Found(("gone",), Kind.DELETED_THERE, OUTDATED, None, None)
    removed = Found(("file",), Kind.DELETED_HERE, OUTDATED, None, OLD)
    folder = Found(("d",), Kind.FILE_AND_COLLECTION, OUTDATED, None, None)
    return {
        "PUT": (lambda user: _put(user, "file", b"new", outdated), edited),
        "PUT with the digest announced": (
            lambda user: _put(user, "file", b"new", Terms(outdated.conditions, outdated.resolve, NEW)),
            edited._replace(local_sha256=NEW),
        ),
        "PUT where nothing is any more": (lambda user: _put(user, "gone", b"new", outdated), gone),
        "PUT on any": (
            lambda user: _put(user, "gone", b"new", _terms(IF_MATCH="*")),
            gone._replace(base_sha256=None),
        ),
        "PUT with several tags": (lambda user: _put(user, "file", b"new", tags), edited._replace(base_sha256=None)),
        "PUT where a collection is": (lambda user: _put(user, "d", b"new", outdated), folder),
        "PUT of a new file where one is": (
            lambda user: _put(user, "file", b"new", new),
            Found(("file",), Kind.BOTH_CREATED, None, None, OLD),
        ),
        "PUT of a new file where a collection is": (
            lambda user: _put(user, "d", b"new", new),
            folder._replace(base_sha256=None),
        ),
        "PUT of what must not be this": (lambda user: _put(user, "file", b"n", _terms(IF_NONE_MATCH=f'"{OLD}"')), None),
        "PUT without the lock": (lambda user: _put(user, "file", b"n", _terms(IF="(<urn:x>)")), None),
        "PUT of what was modified": (
            lambda user: _put(user, "file", b"n", _terms(IF_UNMODIFIED_SINCE="Sun, 06 Nov 1994 08:49:37 GMT")),
            None,
        ),
        "DELETE": (lambda user: user.delete(path("file"), outdated), removed),
        "DELETE of a collection": (
            lambda user: user.delete(path("d"), outdated),
            Found(("d",), Kind.DELETED_HERE, OUTDATED, None, None),
        ),
        "DELETE of something new": (lambda user: user.delete(path("file"), new), None),
        "MOVE": (lambda user: user.move(path("file"), path("new"), outdated, overwrite=True), removed),
        "MOVE onto another": (lambda user: user.move(path("file"), path("other"), NO_TERMS, overwrite=False), None),
        "COPY": (
            lambda user: user.copy(path("file"), path("new"), outdated, overwrite=True, is_infinite=True),
            edited,
        ),
        "COPY of something new": (
            lambda user: user.copy(path("file"), path("new"), new, overwrite=True, is_infinite=True),
            None,
        ),
        "MKCOL": (lambda user: user.make_collection(path("file"), new), None),
        "PROPPATCH": (lambda user: user.patch(path("file"), outdated, {}), None),
    }


ATTEMPTS = _attempts()


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_refused_request_of_a_device_is_a_conflict(house: House, laptop: UserTree, attempt: str) -> None:
    do, found = ATTEMPTS[attempt]
    with pytest.raises(PreconditionFailed):
        do(laptop)
    assert [one.found for one in laptop.conflicts(_id(laptop))] == ([] if found is None else [found])
    with pytest.raises(PreconditionFailed):
        do(_user(house, "alice"))
    assert len(laptop.conflicts()) == (0 if found is None else 1), "without a device, nobody is in conflict"


def test_what_comes_to_light_only_at_the_end_of_an_upload(laptop: UserTree, house: House) -> None:
    with laptop.open_write(path("file"), _if_match(OLD)) as upload:
        upload.write(b"new bytes")
        _put(_user(house, "alice"), "file", b"was quicker")
        with pytest.raises(PreconditionFailed):
            upload.commit()
    (conflict,) = laptop.conflicts()
    server = hashlib.sha256(b"was quicker").hexdigest()
    assert conflict.found == Found(("file",), Kind.BOTH_EDITED, OLD, NEW, server)


def test_what_somebody_else_has_just_deleted_too(laptop: UserTree, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = laptop.look(path("file"))
    laptop.delete(path("file"), NO_TERMS)
    monkeypatch.setattr(laptop, "look", lambda path: resource)  # it was still there a moment ago
    with pytest.raises(PreconditionFailed):
        laptop.delete(path("file"), _if_match(OUTDATED))
    assert laptop.conflicts() == []


def test_an_upload_whose_answer_was_lost_is_no_conflict(laptop: UserTree) -> None:
    """The bytes are there, so the upload is done, however often it comes."""
    with laptop.open_write(path("file"), _if_match(OLD)) as again:
        again.write(b"new bytes")
        _put(laptop, "file", b"new bytes", _if_match(OLD))
        again.commit()
    laptop.replace(path("file"), _if_match(OLD), b"new bytes")
    assert laptop.conflicts() == []
    assert [version.sha256 for version in laptop.versions(path("file"))] == [OLD]


def test_a_refusal_keeps_what_a_plan_knew(laptop: UserTree) -> None:
    (planned,) = _plan(laptop, FILE)
    with pytest.raises(PreconditionFailed):
        _put(laptop, "file", b"new", _terms(IF_MATCH=f'"{"7" * 64}", "{"8" * 64}"'))
    (conflict,) = laptop.conflicts()
    assert conflict == planned._replace(found=FILE._replace(server_sha256=OLD))


def test_a_register_that_fails_does_not_change_the_refusal(
    laptop: UserTree, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise Unavailable() from sqlite3.OperationalError()

    monkeypatch.setattr(conflicts, "record", fail)
    monkeypatch.setattr(conflicts, "has_open", fail)
    with pytest.raises(PreconditionFailed):
        _put(laptop, "file", b"new", _if_match(OUTDATED))
    _put(laptop, "file", b"new", _if_match(OLD))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "a conflict could not be recorded",
        "a conflict could not be settled",
    ]


# Settled by what the device does itself


AGREEMENTS: dict[str, Callable[[UserTree], object]] = {
    "PUT": lambda user: _put(user, "d/x", b"merged"),
    "DELETE": lambda user: user.delete(path("d/x"), NO_TERMS),
    "DELETE of all": lambda user: user.delete(path("d"), NO_TERMS),
    "MOVE": lambda user: user.move(path("d/x"), path("new"), NO_TERMS, overwrite=True),
    "MOVE of all": lambda user: user.move(path("d"), path("new"), NO_TERMS, overwrite=True),
    "MOVE onto it": lambda user: user.move(path("file"), path("d/x"), NO_TERMS, overwrite=True),
}


@pytest.mark.parametrize("agreement", AGREEMENTS)
def test_what_a_device_does_itself_settles_its_conflict(laptop: UserTree, phone: UserTree, agreement: str) -> None:
    here, beside = FILE._replace(path=("d", "x")), FILE._replace(path=("d0",))
    for user in (laptop, phone):
        _plan(user, here, beside)
    AGREEMENTS[agreement](laptop)
    assert [one.found for one in laptop.conflicts(_id(laptop))] == [beside]
    assert [one.found for one in laptop.conflicts(_id(phone))] == [here, beside]


def test_what_somebody_else_does_settles_nothing(laptop: UserTree, house: House) -> None:
    _plan(laptop, FILE)
    _put(_user(house, "alice"), "file", b"from a browser")
    assert len(laptop.conflicts()) == 1


def test_what_fails_settles_nothing(laptop: UserTree) -> None:
    _plan(laptop, FILE)
    with pytest.raises(Failure):
        laptop.delete(path("nothing"), NO_TERMS)
    with pytest.raises(PreconditionFailed):
        laptop.delete(path("file"), _if_match(OUTDATED))
    assert len(laptop.conflicts()) == 1
