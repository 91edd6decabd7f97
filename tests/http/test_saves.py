"""Saves that replace a file by another one: id, versions and dead properties of the name stay."""

import pytest

from tests.http.client import User, etag
from tests.serving import Server

ID = "{DAV:}resource-id"
COLOUR = "{urn:t}colour"


def _colour(user: User, path: str, value: str) -> None:
    prop = f'<prop><colour xmlns="urn:t">{value}</colour></prop>'
    body = f'<propertyupdate xmlns="DAV:"><set>{prop}</set></propertyupdate>'
    assert "200 OK" in user("PROPPATCH", path, body).text


def _move(user: User, source: str, target: str) -> None:
    assert user("MOVE", source, Destination=target).status_code in (201, 204)


@pytest.fixture
def doc(alice: User) -> str | None:
    """A document with a property; its id."""
    alice.put("/doc", b"first")
    _colour(alice, "/doc", "red")
    return alice.prop("/doc", ID)


SAVES = {
    "temporary file moved over": lambda user: (user.put("/tmp1", b"new"), _move(user, "/tmp1", "/doc")),
    "from another collection": lambda user: (
        user("MKCOL", "/c"), user.put("/c/doc", b"new"), _move(user, "/c/doc", "/doc"),
    ),
    "deleted and written": lambda user: (user("DELETE", "/doc"), user.put("/doc", b"new")),
    "deleted and moved in": lambda user: (
        user.put("/tmp1", b"new"), user("DELETE", "/doc"), _move(user, "/tmp1", "/doc"),
    ),
    "two renames, then deleted": lambda user: (
        user.put("/tmp1", b"new"), _move(user, "/doc", "/old"), _move(user, "/tmp1", "/doc"), user("DELETE", "/old"),
    ),
    "moved away, written, deleted": lambda user: (
        _move(user, "/doc", "/doc~"), user.put("/doc", b"new"), user("DELETE", "/doc~"),
    ),
    "in a collection that is deleted": lambda user: (
        user("MKCOL", "/doc.sb-1"), user.put("/doc.sb-1/doc", b"new"), _move(user, "/doc", "/doc.sb-1/old"),
        _move(user, "/doc.sb-1/doc", "/doc"), user("DELETE", "/doc.sb-1"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAVES)
def test_what_belongs_to_the_name_stays(alice: User, doc: str | None, name: str) -> None:
    """However a program saves: the same id, the same property, one file with the new bytes, and nothing in its way."""
    SAVES[name](alice)
    assert alice.get("/doc").content == b"new"
    for _ in range(4):  # both workers say the same
        assert alice.prop("/doc", ID) == doc
        assert alice.prop("/doc", COLOUR) == "red"
        assert alice.prop("/doc", "{DAV:}getetag") == etag(b"new")
    assert set(alice.propfind("/", depth="1")) <= {"/", "/doc", "/c"}


def test_the_properties_of_the_new_file_win(alice: User, doc: str | None) -> None:
    """A MOVE takes the properties of a resource along (RFC 4918 §9.9.1)."""
    alice.put("/tmp1", b"new")
    _colour(alice, "/tmp1", "blue")
    _move(alice, "/tmp1", "/doc")
    assert (alice.prop("/doc", ID), alice.prop("/doc", COLOUR)) == (doc, "blue")


def test_an_old_file_stays_itself(server: Server, alice: User, doc: str | None) -> None:
    """What was there before the one that it is moved over is a file in its own right, which is renamed."""
    _move(alice, "/doc", "/renamed")
    alice.put("/younger", b"younger")
    _move(alice, "/renamed", "/younger")
    assert (alice.prop("/younger", ID), alice.prop("/younger", COLOUR)) == (doc, "red")


def test_a_rename_with_a_new_file_in_its_place(alice: User, doc: str | None) -> None:
    """As long as the old file is not deleted, it is the one with the id."""
    _move(alice, "/doc", "/kept")
    alice.put("/doc", b"another")
    assert alice.prop("/kept", ID) == doc
    assert alice.prop("/doc", ID) != doc
    assert alice.prop("/doc", COLOUR) is None


def test_a_lock_lasts_over_the_save(alice: User, doc: str | None) -> None:
    """An editor holds it while it saves, and nobody else gets in between."""
    token = alice.lock("/doc")
    alice.put("/tmp1", b"new")
    assert alice("MOVE", "/tmp1", Destination="/doc", If=f"<{alice.url('/doc')}> (<{token}>)").status_code == 204
    assert alice.put("/doc", b"without the token").status_code == 423
    assert alice.put("/doc", b"with it", If=f"(<{token}>)").status_code == 204
