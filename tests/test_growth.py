"""What a request costs the index does not grow with what else is in it: files, changes, history, locks, users.

Counted are the steps of SQLite, so it does not matter how fast the machine is.
"""

import base64
import hashlib
import io
import itertools
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from baludav import config
from baludav.app import make_app
from baludav.tree.tree import Tree
from baludav.tree.truth.refreshing import refresh

PASSWORD = "the same for all"
SECOND = hashlib.sha256(b"second").hexdigest()
FEW, MANY = 12, 400  # of everything else
EACH = 10  # files of a folder, which has as many in both installations
SLACK = 1.02  # times

_LOCK = b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'
_PROPFIND = b'<propfind xmlns="DAV:"><allprop/></propfind>'
_PROPPATCH = b'<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:x">1</a></prop></set></propertyupdate>'
_REPORT = (
    '<sync-collection xmlns="DAV:"><sync-token>{}</sync-token><sync-level>infinite</sync-level>'
    "<prop><getetag/></prop></sync-collection>"
)

# Asks whether there are any dead properties at all, and stops at the first.
_ANY = "SELECT properties.resource_id \nFROM properties\n LIMIT ? OFFSET ?"
_WORDS = re.compile("SELECT|INSERT|UPDATE|DELETE|WITH")
_FROM_MEMORY = {"GET", "HEAD"}  # the disk says whether what is remembered of a file is right still
_LARGE = {"resources", "journal", "versions", "trash", "locks", "properties", "devices"}


class Watched(sqlite3.Connection):
    """A connection that tells what it is asked and counts its steps."""

    asked: "dict[str, Any]" = {}
    steps = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.set_progress_handler(self._step, 1)

    def execute(self, text: str, parameters: Any = ()) -> sqlite3.Cursor:
        Watched.asked[text] = parameters
        return super().execute(text, parameters)

    def cursor(self, *_: Any) -> sqlite3.Cursor:
        return super().cursor(_Cursor)

    @staticmethod
    def _step() -> int:
        Watched.steps += 1
        return 0


class _Cursor(sqlite3.Cursor):
    def execute(self, text: str, parameters: Any = ()) -> sqlite3.Cursor:
        Watched.asked[text] = parameters
        return super().execute(text, parameters)


class Installation:
    """One process's application, asked without a network; everything else in it is there so many times."""

    def __init__(self, folder: Path, many: int) -> None:
        self.app = make_app(config.build({"baludav": {"data": str(folder / "data"), "durability": "fast"}}, {}))
        self.house = self.app.house
        for name in ("alice", "root"):
            self.house.accounts.add(name, PASSWORD, is_admin=name == "root")
            self.house.tree.create_home(name)
        for number in range(many // 10):
            self.house.tree.create_home(f"user{number}")
        home = folder / "data" / "files" / "alice"
        for number in range(many):
            (home / "tree" / str(number)).mkdir(parents=True)
            for name in range(EACH):
                (home / "tree" / str(number) / str(name)).write_bytes(b"%d" % number)
        for _ in refresh(self.house.tree, self.house.tree.roots.home("alice")):
            pass
        self.numbers = itertools.count()
        for number in range(many):
            self._use(f"/tree/{number}")
        for path in ("/w", "/w/d"):
            self.dav("MKCOL", path, status=201)
        for name in range(EACH):
            self.dav("PUT", f"/w/{name}", b"first", status=201)
        self.before = self.token()
        for name in range(EACH):
            self.dav("PUT", f"/w/{name}", b"second", status=204)
        self.device = json.loads(self.api("POST", "/devices", b'{"name": "d", "device_type": "server"}', status=201))
        self.now = self.token()

    def dav(self, method: str, path: str, body: bytes = b"", *, status: int = 200, **fields: str) -> bytes:
        return self._ask(method, f"/dav{path}", body, status, fields)[1]

    def api(self, method: str, path: str, body: bytes = b"", *, status: int = 200) -> bytes:
        return self._ask(method, f"/api/sync{path}", body, status, {"CONTENT_TYPE": "application/json"})[1]

    def token(self) -> str:
        token: str = json.loads(self.api("GET", "/state?path=/w/d"))["change_token"]
        return token

    def _use(self, folder: str) -> None:
        """Leave something behind in every table."""
        self.dav("PUT", f"{folder}/0", b"another", status=204)
        self.dav("DELETE", f"{folder}/1", status=204)
        self.dav("PROPPATCH", f"{folder}/2", _PROPPATCH, status=207)
        self.lock(f"/homes/alice{folder}/3", "root")  # there is a limit to those of one user

    def lock(self, path: str, user: str = "alice") -> str:
        """LOCK; its token, as the field Lock-Token has it."""
        return self._ask("LOCK", f"/dav{path}", _LOCK, 200, {}, user)[0]["Lock-Token"]

    def new(self) -> str:
        return str(next(self.numbers))

    def _ask(
        self, method: str, target: str, body: bytes, status: int, fields: Mapping[str, str], user: str = "alice"
    ) -> tuple[dict[str, str], bytes]:
        answered: list[Any] = []
        path, _, query = target.partition("?")
        environ = {
            "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query,
            "REQUEST_URI": target, "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1", "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
            "HTTP_AUTHORIZATION": "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode(), **fields,
        }  # fmt: skip
        found = b"".join(self.app(environ, lambda line, headers, _=None: answered.append((line, headers))))
        line, headers = answered[-1]
        assert line.startswith(str(status)), f"{line} {found[:500]!r}"
        return dict(headers), found


Request = Callable[[Installation], object]


def _new(there: Installation) -> str:
    """A resource that no request has been about so far."""
    path = f"/w/{there.new()}-new"
    there.dav("PUT", path, b"new", status=201)
    return path


def _report(there: Installation, since: str) -> None:
    there.dav("REPORT", "/w", _REPORT.format(f"urn:baludav:sync:{since}").encode(), status=207)


def _lock_and_unlock(there: Installation) -> None:
    token = there.lock("/w/0")
    there.dav("PUT", "/w/0", b"locked", status=204, HTTP_IF=f"({token})")
    there.dav("UNLOCK", "/w/0", status=204, HTTP_LOCK_TOKEN=token)


def _known(there: Installation) -> None:
    body = {"path": "/w/8", "sha256": SECOND, "size": len(b"second"), "base_sha256": SECOND}
    there.api("POST", "/files", json.dumps(body).encode())


# Without those about a whole collection, which cost what is in it and a look at each lock of its storage root.
REQUESTS: dict[str, Request] = {
    "GET": lambda there: there.dav("GET", "/w/1"),
    "HEAD": lambda there: there.dav("HEAD", "/w/1"),
    "PROPFIND of a file": lambda there: there.dav("PROPFIND", "/w/1", _PROPFIND, status=207, HTTP_DEPTH="0"),
    "PROPFIND of the root": lambda there: there.dav("PROPFIND", "/", _PROPFIND, status=207, HTTP_DEPTH="0"),
    "PROPFIND of members": lambda there: there.dav("PROPFIND", "/tree/0", _PROPFIND, status=207, HTTP_DEPTH="1"),
    "PUT of a new file": lambda there: _new(there),
    "PUT": lambda there: there.dav("PUT", "/w/2", there.new().encode(), status=204),
    "MKCOL": lambda there: there.dav("MKCOL", f"/w/d/{there.new()}", status=201),
    "PROPPATCH": lambda there: there.dav("PROPPATCH", "/w/3", _PROPPATCH, status=207),
    "DELETE": lambda there: there.dav("DELETE", _new(there), status=204),
    "MOVE": lambda there: there.dav("MOVE", _new(there), status=201, HTTP_DESTINATION=f"/dav/w/{there.new()}-moved"),
    "COPY": lambda there: there.dav("COPY", "/w/4", status=201, HTTP_DESTINATION=f"/dav/w/{there.new()}-copied"),
    "LOCK, PUT and UNLOCK": _lock_and_unlock,
    "REPORT of nothing": lambda there: _report(there, there.now),
    "REPORT": lambda there: _report(there, there.before),
    "changes of nothing": lambda there: there.api("GET", f"/changes?since={there.now}"),
    "changes": lambda there: there.api("GET", f"/changes?since={there.before}"),
    "state of a collection": lambda there: there.api("GET", "/state?path=/tree/0"),
    "first page of the state": lambda there: there.api("GET", "/state?limit=10"),
    "writing known bytes": lambda there: _known(there),
    "devices": lambda there: there.api("GET", "/devices"),
    "conflicts": lambda there: there.api("GET", "/conflicts"),
    "history": lambda there: there.api("GET", "/history?path=/w/5"),
    "first page of the trash": lambda there: there.api("GET", "/trash?limit=4"),
}


@pytest.fixture(scope="module")
def installations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Installation]]:
    with pytest.MonkeyPatch.context() as patch:
        connect = sqlite3.dbapi2.connect
        patch.setattr(sqlite3.dbapi2, "connect", lambda *args, **options: connect(*args, factory=Watched, **options))
        patch.setattr(Tree, "keep", lambda tree: None)
        both = tuple(Installation(tmp_path_factory.mktemp("growth"), many) for many in (FEW, MANY))
        yield both  # type: ignore[misc]  # two
        for one in both:
            one.app.close()


def _steps(there: Installation, request: Request) -> int:
    """Steps of a request that was made before, without what is looked at again only now and then."""
    request(there)
    counted = []
    for _ in range(3):
        before = Watched.steps
        request(there)
        counted.append(Watched.steps - before)
    return min(counted)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_takes_as_many_steps(installations: tuple[Installation, Installation], name: str) -> None:
    few, many = (_steps(there, REQUESTS[name]) for there in installations)
    assert (few > 0) == (name not in _FROM_MEMORY)
    assert many <= SLACK * few, f"{many} instead of {few} steps; see what EXPLAIN QUERY PLAN says"


def test_no_statement_reads_a_whole_table(installations: tuple[Installation, Installation]) -> None:
    """Nor all of a storage root. The plan is that of the parameters that were given."""
    Watched.asked.clear()
    for request in REQUESTS.values():
        request(installations[0])
    asked = {text: given for text, given in Watched.asked.items() if _WORDS.match(text)}
    assert all(any(table in text for text in asked) for table in _LARGE)
    explaining = sqlite3.connect(installations[0].house.database.file)
    found = []
    for text, given in asked.items():
        plan = [row[3] for row in explaining.execute(f"EXPLAIN QUERY PLAN {text}", given)]
        found += [f"{line}: {text}" for line in plan if _reads_all(line) and text != _ANY]
    explaining.close()
    assert not found, "\n\n".join(found)


def _reads_all(line: str) -> bool:
    is_whole = line.startswith("SCAN ") or (line.endswith("(root_id=?)") and "uq_resources_top" not in line)
    return is_whole and line.split()[1] in _LARGE
