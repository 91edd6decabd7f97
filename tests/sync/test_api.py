"""The application itself, without a server: what it answers when something breaks behind it."""

import io
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from baludav.accounts.accounts import Principal
from baludav.errors import DiskFull, Unavailable
from sync_ext.api import Api
from tests.http.client import basic

BOB = Principal(1, "bob", False, frozenset(), None, 1)


class Broken:
    """Devices of which nothing can be learned."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def of(self, user_id: int) -> list[Any]:
        raise self.error


def _get(error: Exception) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Status line, header fields and problem document of a GET of the devices."""
    config = SimpleNamespace(settings=SimpleNamespace(trusted_proxies=(), cors_origins=()), is_encrypted=False)
    sign_in = SimpleNamespace(check=lambda name, password, address: BOB)
    trail = SimpleNamespace(refused=lambda principal, failure, method, path: None)
    api = Api(SimpleNamespace(config=config, devices=Broken(error), sign_in=sign_in, trail=trail, rates=None))  # type: ignore[arg-type]
    answers: list[tuple[str, list[tuple[str, str]]]] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/api/sync/devices",
        "HTTP_AUTHORIZATION": basic("bob", "secret"),
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    body = b"".join(api(environ, lambda line, headers, exc_info=None: answers.append((line, headers))))
    ((line, headers),) = answers
    return line, {name.title(): value for name, value in headers}, json.loads(body)


def test_what_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    """500 without a word of it to the client; the log has all."""
    line, headers, problem = _get(RuntimeError("a secret"))
    assert line.startswith("500 ")
    assert headers["Content-Type"] == "application/problem+json"
    assert problem["type"] == "urn:baludav:problem:unexpected"
    assert "secret" not in str(problem)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "GET /api/sync/devices failed" in record.getMessage()
    assert record.exc_info is not None
    assert "a secret" in str(record.exc_info[1])


def test_what_will_pass(caplog: pytest.LogCaptureFixture) -> None:
    """503 says when to come again, and the log what the disk said."""
    error = Unavailable("Not mounted")
    error.__cause__ = OSError("the disk said this")
    line, headers, problem = _get(error)
    assert line.startswith("503 ")
    assert (headers["Retry-After"], problem["detail"]) == ("30", "Not mounted")
    assert "the disk said this" in caplog.text


def test_a_full_disk() -> None:
    line, _, problem = _get(DiskFull())
    assert line.startswith("507 ")
    assert problem["type"] == "urn:baludav:problem:disk-full"
