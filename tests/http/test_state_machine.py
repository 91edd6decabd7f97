"""Random requests of several users against a model in memory: bytes, ETags, listings and properties must agree."""

import hashlib
import itertools
import posixpath
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

import hypothesis.strategies as st
import requests
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.serving import Server

NAMES = ["a", "b.txt", "Ä ö", "%41", "#?&;+", "\"<>'", ".dot", "日本🎌", "a" * 200, "b"]
USERS = ["alice", "bob"]
_runs = itertools.count()

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
users = st.sampled_from(USERS)
bodies = st.binary(max_size=200) | st.sampled_from([b"", b"x" * 70_000])

Path = tuple[str, ...]


class Model:
    """What a namespace must hold: bytes for a file, None for a collection; and dead properties.

    Attributes:
        had: the properties that files at a path ever had. A save that replaces a file keeps them, and all that is done
            here follows so quickly that it may be one.
        may_inherit: the files of which the last request may have made such a replacement.
    """

    def __init__(self) -> None:
        self.content: dict[Path, bytes | None] = {(): None}
        self.properties: dict[Path, str] = {}
        self.had: dict[Path, set[str | None]] = {}
        self.may_inherit: set[Path] = set()

    def below(self, path: Path) -> list[Path]:
        return [p for p in self.content if p[: len(path)] == path]

    def has_parent(self, path: Path) -> bool:
        return path[:-1] in self.content and self.content[path[:-1]] is None

    def drop(self, path: Path) -> None:
        for p in self.below(path):
            del self.content[p]
            self.properties.pop(p, None)

    def copy(self, source: Path, target: Path) -> None:
        content = {p: self.content[p] for p in self.below(source)}
        properties = {p: self.properties[p] for p in content if p in self.properties}
        self.drop(target)
        for p, body in content.items():
            self.content[target + p[len(source) :]] = body
        for p, value in properties.items():
            self.properties[target + p[len(source) :]] = value

    def transfer_status(self, source: Path, target: Path, overwrite: bool) -> int:
        """What COPY and MOVE must answer (RFC 4918 §9.8.5, §9.9.4)."""
        if source not in self.content:
            return 404
        shorter = min(len(source), len(target))
        if source[:shorter] == target[:shorter]:
            return 403
        if not self.has_parent(target):
            return 409
        if target in self.content:
            return 204 if overwrite else 412
        return 201


class Namespaces(RuleBasedStateMachine):
    server: Server

    @initialize()
    def begin(self) -> None:
        top = f"run{next(_runs)}"
        self.models = {user: Model() for user in USERS}
        self.tops = {user: self.server.dav(user).rstrip("/") + "/" + top for user in USERS}
        self.sessions = {}
        for user in USERS:
            self.sessions[user] = requests.Session()
            self.sessions[user].auth = self.server.auth(user)
            assert self.request(user, "MKCOL", ()).status_code == 201

    def url(self, user: str, path: Path) -> str:
        return "/".join((self.tops[user], *(quote(name, safe="") for name in path)))

    def request(self, user: str, method: str, path: Path, **options: object) -> requests.Response:
        return self.sessions[user].request(method, self.url(user, path), timeout=30, **options)

    @rule(user=users, path=paths, body=bodies)
    def put(self, user: str, path: Path, body: bytes) -> None:
        model = self.models[user]
        answer = self.request(user, "PUT", path, data=body)
        if not model.has_parent(path):
            assert answer.status_code == 409
        elif path in model.content and model.content[path] is None:
            assert answer.status_code == 405
        else:
            assert answer.status_code == (204 if path in model.content else 201)
            assert answer.headers["ETag"] == etag(body)
            if path not in model.content:
                model.may_inherit = {path}
            model.content[path] = body

    @rule(user=users, path=paths, body=bodies, is_current=st.booleans())
    def put_if_match(self, user: str, path: Path, body: bytes, is_current: bool) -> None:
        model = self.models[user]
        old = model.content.get(path)
        expected = etag(old if is_current and old is not None else b"never stored anywhere")
        answer = self.request(user, "PUT", path, data=body, headers={"If-Match": expected})
        if old is not None and is_current:
            assert answer.status_code == 204
            model.content[path] = body
        else:
            assert answer.status_code in (405, 409, 412)

    @rule(user=users, path=paths)
    def make_collection(self, user: str, path: Path) -> None:
        model = self.models[user]
        answer = self.request(user, "MKCOL", path)
        if path in model.content:
            assert answer.status_code == 405
        elif not model.has_parent(path):
            assert answer.status_code == 409
        else:
            assert answer.status_code == 201
            model.content[path] = None

    @rule(user=users, path=paths)
    def delete(self, user: str, path: Path) -> None:
        model = self.models[user]
        answer = self.request(user, "DELETE", path)
        assert answer.status_code == (204 if path in model.content else 404)
        model.drop(path)
        model.may_inherit = set(model.content)  # it may have been the old file of any of them

    @rule(user=users, source=paths, goal=paths, overwrite=st.booleans(), is_move=st.booleans())
    def transfer(self, user: str, source: Path, goal: Path, overwrite: bool, is_move: bool) -> None:
        model = self.models[user]
        headers = {"Destination": self.url(user, goal), "Overwrite": "T" if overwrite else "F"}
        answer = self.request(user, "MOVE" if is_move else "COPY", source, headers=headers)
        expected = model.transfer_status(source, goal, overwrite)
        if expected in (201, 204):
            assert answer.status_code == expected
            model.copy(source, goal)
            model.may_inherit = set(model.below(goal))
            if is_move:
                model.drop(source)
        else:
            assert answer.status_code in (403, 404, 409, 412), answer.text
            assert answer.status_code == expected or source not in model.content or not model.has_parent(goal)

    @rule(user=users, path=paths, value=st.text(alphabet="abc<&é ", min_size=1, max_size=5).map(str.strip))
    def set_property(self, user: str, path: Path, value: str) -> None:
        model = self.models[user]
        update = ElementTree.Element("{DAV:}propertyupdate")
        prop = ElementTree.SubElement(ElementTree.SubElement(update, "{DAV:}set"), "{DAV:}prop")
        ElementTree.SubElement(prop, "{urn:test}colour").text = value
        answer = self.request(user, "PROPPATCH", path, data=ElementTree.tostring(update, "utf-8"))
        if path in model.content:
            assert answer.status_code == 207
            assert "200 OK" in answer.text
            model.properties[path] = value
            model.had.setdefault(path, set()).add(value)
        else:
            assert answer.status_code in (404, 409)

    @rule(user=users, path=paths)
    def get(self, user: str, path: Path) -> None:
        body = self.models[user].content.get(path)
        answer = self.request(user, "GET", path)
        if path not in self.models[user].content:
            assert answer.status_code == 404
        elif body is not None:
            assert (answer.status_code, answer.content, answer.headers["ETag"]) == (200, body, etag(body))

    @invariant()
    def listings_agree(self) -> None:
        for user, model in getattr(self, "models", {}).items():
            found = self.listing(user)
            for path in model.may_inherit & found.keys():
                self.inherit(model, path, found[path][1])
            model.may_inherit = set()
            assert found == {
                path: (None if body is None else etag(body), model.properties.get(path))
                for path, body in model.content.items()
            }
            for path, value in model.properties.items():
                model.had.setdefault(path, set()).add(value)

    @staticmethod
    def inherit(model: Model, path: Path, value: str | None) -> None:
        """A file may have the property that another had at its path before."""
        if model.content.get(path) is not None and value in model.had.get(path, ()):
            assert value is not None
            model.properties[path] = value

    def listing(self, user: str) -> dict[Path, tuple[str | None, str | None]]:
        """ETag (None for a collection) and dead property of everything, from one PROPFIND."""
        body = b'<propfind xmlns="DAV:"><prop><getetag/><resourcetype/><c:colour xmlns:c="urn:test"/></prop></propfind>'
        answer = self.request(user, "PROPFIND", (), data=body, headers={"Depth": "infinity"})
        assert answer.status_code == 207
        top = urlsplit(self.tops[user]).path
        found = {}
        for response in ElementTree.fromstring(answer.content).iter("{DAV:}response"):  # noqa: S314 - our own server's
            href = posixpath.relpath(response.findtext("{DAV:}href", ""), top)
            path = () if href == "." else tuple(unquote(name) for name in href.split("/"))
            is_collection = response.find(".//{DAV:}collection") is not None
            tag = None if is_collection else response.findtext(".//{DAV:}getetag")
            found[path] = (tag, response.findtext(".//{urn:test}colour") or None)
        return found

    def teardown(self) -> None:
        for user, session in getattr(self, "sessions", {}).items():
            assert self.request(user, "DELETE", ()).status_code == 204
            session.close()


def etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()}"'


def test_requests_of_several_users_agree_with_the_model(server: Server) -> None:
    """Whatever several users do, each namespace holds just what its own user put there."""
    Namespaces.server = server
    machine = Namespaces.TestCase
    machine.settings = settings(
        max_examples=25,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    machine("runTest").runTest()
