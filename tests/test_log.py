"""The log: each event is a line that nothing from a client can imitate, names its request, and holds no secret."""

import io
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from baludav import metrics
from baludav.answering import answering
from baludav.errors import Unavailable
from baludav.log import access, setup
from baludav.log.access import Answered
from baludav.log.text import masked, one_line
from baludav.origin import NOWHERE, Origin, coming_from, current, request_id

SETTINGS = SimpleNamespace(trusted_proxies=("10.0.0.1",), cors_origins=())
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \d+"

Configure = Callable[[str], io.StringIO]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """What is logged from now on, in a format."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def configure(format: str) -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        setup.configure("info", format)
        return stream

    yield configure
    root.handlers[:], root.level = handlers, level
    access.configure("text")


def answered(**changes: object) -> Answered:
    usual = Answered("id-1", "192.0.2.1", "anna", "my laptop", "GET", "/dav/x?y=1", 200, 17, 3, 0.0)
    return usual._replace(**changes)  # type: ignore[arg-type]


# Text


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/dav/a%20b?c=d", "/dav/a%20b?c=d"),
        ("/index.php/login/v2/flow/" + "x" * 43, "/index.php/login/v2/flow/***"),
        ("/index.php/login/v2/flow/xyz?user=anna", "/index.php/login/v2/flow/***?user=anna"),
        ("/index.php/login/v2/poll", "/index.php/login/v2/poll"),
        ("http://anna:geheim@nas/dav/x", "http://***@nas/dav/x"),
        ("/dav/x?token=abc&depth=1", "/dav/x?token=***&depth=1"),
        ("/dav/x?depth=1&app_password=abc;Secret=d", "/dav/x?depth=1&app_password=***;Secret=***"),
        ("/dav/x?monkey=1&passage=2", "/dav/x?monkey=1&passage=2"),
        ("/dav/" + "x" * 1000, "/dav/" + "x" * 495),
    ],
)
def test_targets_without_secrets(target: str, shown: str) -> None:
    assert masked(target) == shown


def test_text_of_one_line() -> None:
    assert one_line("a\nb\x1b[31m\x85\u2028é") == r"a\nb\x1b[31m\x85\u2028é"


# Records


def test_nothing_passes_for_another_record(written: Configure) -> None:
    """Neither what is said, nor what an exception says."""
    log = written("text")
    forged = "x\n2026-05-06 07:08:09,123 1 INFO baludav.accounts.signin: forged\u2028\x85\r"
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("room").exception("about %s", forged)
    first, *rest = log.getvalue().splitlines()
    assert re.match(rf"{STAMP} ERROR room: about x\\n2026", first)
    assert "Traceback" in rest[0]
    assert all(line.startswith("  ") and line.isprintable() for line in rest)


def test_records_as_json(written: Configure) -> None:
    log = written("json")
    with coming_from(Origin("192.0.2.1", is_request=True)):
        name = current().request_id
        try:
            raise ValueError("one\ntwo")
        except ValueError:
            logging.getLogger("room").exception("about %s", "a\nb")
    logging.getLogger("room").info("by itself")
    failed, alone = map(json.loads, log.getvalue().splitlines())
    assert failed["message"] == r"about a\nb"
    assert (failed["level"], failed["logger"], failed["process"]) == ("error", "room", os.getpid())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", failed["time"])
    assert failed["request"] == name
    assert failed["traceback"].endswith("ValueError: one\ntwo")
    assert "request" not in alone


def test_a_failure_of_the_database_tells_no_parameters(written: Configure) -> None:
    from sqlalchemy.exc import DBAPIError

    log = written("text")
    cause = DBAPIError("SELECT ?", ("a hash",), Exception("database is locked"))
    failure = Unavailable()
    failure.__cause__ = cause
    setup.failed({"REQUEST_METHOD": "GET", "REQUEST_URI": "/x?token=geheim"}, failure)
    assert re.fullmatch(
        rf"{STAMP} WARNING baludav\.requests: GET /x\?token=\*\*\*: database is locked\n", log.getvalue()
    )


# Requests


def test_a_request_as_text(written: Configure) -> None:
    log = written("text")
    access.add(answered())
    access.add(answered(address="", user="", device="", target="/\u2028"))
    access._gathered.flush()
    lines = [line for line in log.getvalue().splitlines() if "id-1" in line]
    told = r" \[id-1\]: 192\.0\.2\.1 anna GET /dav/x\?y=1 200 3 B in 17 B out \d+ ms device my laptop"
    assert re.fullmatch(rf"{STAMP} INFO baludav\.access{told}", lines[0])
    assert re.fullmatch(
        rf"{STAMP} INFO baludav\.access \[id-1\]: - - GET /\\u2028 200 3 B in 17 B out \d+ ms", lines[1]
    )


def test_a_request_as_json(written: Configure) -> None:
    log = written("json")
    access.add(answered(target='/dav/"\\x\n'))
    access.add(answered(user="", device=""))
    access._gathered.flush()
    first, second = map(json.loads, log.getvalue().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first.pop("seconds") > 0
    assert first == {
        "level": "info", "logger": "baludav.access", "process": os.getpid(), "request": "id-1",
        "address": "192.0.2.1", "user": "anna", "device": "my laptop", "method": "GET", "path": '/dav/"\\x\n',
        "status": 200, "bytes": 17, "received": 3,
    }  # fmt: skip
    assert (second["user"], second["device"]) == (None, None)


def test_it_can_be_off(written: Configure) -> None:
    written("text")
    assert access.is_on()
    logging.getLogger().setLevel("WARNING")
    assert not access.is_on()


def test_failures_are_counted(written: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the server, as the log tells of them."""
    counted: list[str] = []
    monkeypatch.setattr(metrics, "count", counted.append)
    written("text")
    logging.getLogger().addHandler(metrics.Errors())
    logging.getLogger("room").warning("not this")
    logging.getLogger("room").error("but this")
    assert counted == ["errors"]


# Names of requests


def test_each_request_has_a_name_of_its_own() -> None:
    """Also in another process; nobody needs one where there is no request."""
    names = {request_id(None, is_trusted=False) for _ in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch("[0-9a-f]{8}-[0-9a-f]+", name) for name in names)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write, request_id(None, is_trusted=False).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 100).decode().partition("-")[0] not in {name.partition("-")[0] for name in names}
    os.close(read)
    os.close(write)
    assert NOWHERE.request_id == Origin(client="baludav user add").request_id == ""


@pytest.mark.parametrize("given", ["", "a b", "a\nb", "x" * 65, "-x", "ü", '"'])
def test_a_malformed_name_is_not_taken(given: str) -> None:
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]+", request_id(given, is_trusted=True))


@pytest.mark.parametrize(("peer", "name"), [("10.0.0.1", "given-1"), ("192.0.2.1", r"[0-9a-f]{8}-[0-9a-f]+:given-1")])
def test_who_may_name_a_request(peer: str, name: str) -> None:
    """A trusted proxy may; what a client calls it stands behind our own name, so that either is found."""
    environ = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": peer, "HTTP_X_REQUEST_ID": "given-1"}
    with answering(environ, lambda *_: None, [], SETTINGS):  # type: ignore[arg-type]
        assert re.fullmatch(name, current().request_id)
    assert current() is NOWHERE


@pytest.mark.parametrize(
    "status", ["200 OK", "404 Not Found", "500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"]
)
def test_the_client_is_told_when_the_server_fails(status: str) -> None:
    """The very name that is in the log."""
    told: list[tuple[str, str]] = []
    environ = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "192.0.2.1"}
    with answering(environ, lambda line, headers, _: told.extend(headers), [], SETTINGS) as start:  # type: ignore[arg-type]
        start(status, [])
        name = current().request_id
    assert [value for field, value in told if field == "X-Request-Id"] == [name] * (status[:3] in ("500", "503"))
