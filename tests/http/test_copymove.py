"""COPY and MOVE (RFC 4918 §9.8, §9.9): what goes along, what is replaced, what is refused."""

import pytest

from tests.http.client import User, etag


@pytest.fixture
def tree(alice: User) -> User:
    """Alice's collection with a file, a collection with members, and properties on both."""
    alice.put("/f", b"file")
    alice("MKCOL", "/c")
    alice.put("/c/m", b"member")
    alice("MKCOL", "/c/d")
    alice.put("/c/d/deep", b"deep")
    for path in ("/f", "/c", "/c/m"):
        _colour(alice, path, "red " + path)
    return alice


def _colour(user: User, path: str, value: str) -> None:
    body = (
        f'<propertyupdate xmlns="DAV:"><set><prop><colour xmlns="urn:t">{value}</colour></prop></set></propertyupdate>'
    )
    assert "200 OK" in user("PROPPATCH", path, body).text


def _names(user: User, path: str = "/") -> set[str]:
    return set(user.propfind(path, depth="infinity")) - {path}


def test_copy_takes_bytes_and_properties_and_makes_a_new_resource(tree: User) -> None:
    """The copy has the dead properties and an id of its own; the source stays as it was."""
    answer = tree("COPY", "/f", Destination="/g")
    assert (answer.status_code, answer.headers["ETag"]) == (201, etag(b"file"))
    assert tree.get("/g").content == tree.get("/f").content == b"file"
    assert tree.prop("/g", "{urn:t}colour") == "red /f"
    assert tree.prop("/g", "{DAV:}resource-id") != tree.prop("/f", "{DAV:}resource-id")


def test_move_keeps_the_resource(tree: User) -> None:
    """Id, properties and creation time go along, for the collection and for its members."""
    names = ("{DAV:}resource-id", "{urn:t}colour", "{DAV:}creationdate")
    before = {path: [tree.prop(path, name) for name in names] for path in ("/c", "/c/m", "/c/d/deep")}
    assert tree("MOVE", "/c", Destination="/moved").status_code == 201
    assert _names(tree) == {"/f", "/moved", "/moved/m", "/moved/d", "/moved/d/deep"}
    for path, props in before.items():
        assert [tree.prop(path.replace("/c", "/moved", 1), name) for name in names] == props
    assert tree.get("/c/m").status_code == 404


def test_copy_of_a_collection(tree: User) -> None:
    """All of it, or with Depth 0 only the collection and its properties."""
    assert tree("COPY", "/c", Destination="/all").status_code == 201
    assert tree.get("/all/d/deep").content == b"deep"
    assert tree("COPY", "/c", Destination="/shell", Depth="0").status_code == 201
    assert _names(tree, "/shell") == set()
    assert tree.prop("/shell", "{urn:t}colour") == "red /c"
    assert tree("COPY", "/c", Destination="/x", Depth="1").status_code == 400
    assert tree("MOVE", "/c", Destination="/x", Depth="0").status_code == 400


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
@pytest.mark.parametrize(("source", "target"), [("/f", "/g"), ("/c", "/e"), ("/f", "/e"), ("/c", "/g")])
def test_what_is_there_is_replaced_wholly(tree: User, method: str, source: str, target: str) -> None:
    """Overwrite: T replaces, and merges nothing; Overwrite: F refuses; neither is the default T."""
    tree.put("/g", b"old")
    _colour(tree, "/g", "blue")
    tree("MKCOL", "/e")
    tree.put("/e/old", b"old")
    assert tree(method, source, Destination=target, Overwrite="F").status_code == 412
    assert tree.get("/g").content == b"old"
    assert tree.get("/e/old").content == b"old"
    expected = {path: path.replace(source, target, 1) for path in _names(tree, source)}
    assert tree(method, source, Destination=target).status_code == 204
    assert _names(tree, target) == set(expected.values())
    assert tree.prop(target, "{urn:t}colour") == "red " + source


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
@pytest.mark.parametrize(
    ("source", "target", "status"),
    [
        ("/f", "/f", 403),
        ("/c", "/c", 403),
        ("/c", "/c/d/x", 403),
        ("/c/d", "/c", 403),
        ("/missing", "/x", 404),
        ("/f", "/missing/x", 409),
        ("/f", "/f/x", 403),
        ("/c/m", "/f/x", 409),
        ("/f/", "/x", 404),
        ("/f", "http://other.example/dav/x", 502),
        ("/f", "/../../etc/x", 400),
    ],
)
def test_refusals_change_nothing(tree: User, method: str, source: str, target: str, status: int) -> None:
    before = tree("PROPFIND", "/", Depth="infinity").text
    assert tree(method, source, Destination=target).status_code == status
    assert tree("PROPFIND", "/", Depth="infinity").text == before


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_broken_fields(tree: User, method: str) -> None:
    assert tree(method, "/f").status_code == 400
    assert tree(method, "/f", Destination="").status_code == 400
    assert tree(method, "/f", Destination="/x", Overwrite="maybe").status_code == 400
    assert tree.get("/x").status_code == 404


def test_the_tree_itself_stays(alice: User) -> None:
    """Nobody moves or deletes their whole tree, or copies something over it."""
    root = User(alice.server, "alice")
    assert root("DELETE", "/").status_code == 403
    assert root("MOVE", "/", Destination=alice.top + "/x").status_code == 403
    assert alice("MOVE", "", Destination=alice.server.dav("alice")).status_code == 403


def test_destinations_as_clients_write_them(tree: User) -> None:
    """An absolute path, an absolute URI with another case of host, percent-encoding that was not needed."""
    path = tree.url("/by-path").removeprefix(tree.server.url)
    assert tree.session.request("COPY", tree.url("/f"), headers={"Destination": path}, timeout=30).status_code == 201
    shouted = tree.url("/by-uri").replace("http://127", "HTTP://127")
    assert tree.session.request("COPY", tree.url("/f"), headers={"Destination": shouted}, timeout=30).status_code == 201
    encoded = tree.url("/") + "%62%79-%63ode%20%26"
    assert tree.session.request("COPY", tree.url("/f"), headers={"Destination": encoded}, timeout=30).status_code == 201
    assert {"/by-path", "/by-uri", "/by-code &"} <= _names(tree)


def test_conditions_speak_of_the_source(tree: User) -> None:
    tag = tree.get("/f").headers["ETag"]
    assert tree("MOVE", "/f", Destination="/g", If_Match='"other"').status_code == 412
    assert tree("MOVE", "/f", Destination="/g", If_Match=tag).status_code == 201


def test_mkcol(alice: User) -> None:
    """RFC 4918 §9.3: 201, 405 where something is, 409 without a parent, 415 for a body that is not understood."""
    made = alice("MKCOL", "/c")
    assert made.status_code == 201
    assert alice("MKCOL", "/c").status_code == 405
    alice.put("/f")
    assert alice("MKCOL", "/f").status_code == 405
    assert alice("MKCOL", "/missing/c").status_code == 409
    assert alice("MKCOL", "/f/c").status_code == 409
    assert alice("MKCOL", "/x", b"hello", Content_Type="text/plain").status_code == 415
    assert alice("MKCOL", "/d/").status_code == 201


def test_extended_mkcol(alice: User) -> None:
    """RFC 5689: the properties are there from the beginning, or nothing is made."""
    body = (
        '<mkcol xmlns="DAV:"><set><prop><resourcetype><collection/></resourcetype>'
        '<colour xmlns="urn:t">red</colour></prop></set></mkcol>'
    )
    assert alice("MKCOL", "/c", body, Content_Type="application/xml").status_code == 201
    assert alice.prop("/c", "{urn:t}colour") == "red"
    calendar = body.replace("<collection/>", '<collection/><calendar xmlns="urn:ietf:params:xml:ns:caldav"/>')
    assert alice("MKCOL", "/d", calendar, Content_Type="application/xml").status_code == 403
    assert alice.get("/d").status_code == 404


def test_delete(tree: User) -> None:
    """All of it. What is made in the place of a collection starts anew (of a file see the tests of saves)."""
    assert tree("DELETE", "/f").status_code == 204
    assert tree("DELETE", "/f").status_code == 404
    tree.put("/f", b"again")
    old = tree.prop("/c", "{DAV:}resource-id")
    assert tree("DELETE", "/c", Depth="1").status_code == 400
    assert tree("DELETE", "/c").status_code == 204
    assert _names(tree) == {"/f"}
    assert tree("MKCOL", "/c").status_code == 201
    assert tree.prop("/c", "{DAV:}resource-id") != old
