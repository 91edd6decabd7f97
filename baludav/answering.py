"""What every answer has, whichever room gives it: fields for browsers, where it was asked, its part in the figures."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from baludav import cors, metrics
from baludav.accounts.address import client_address, is_of_proxy
from baludav.config import Config, Settings
from baludav.origin import Origin, coming_from

Headers = list[tuple[str, str]]
StartResponse = Callable[..., Any]

_FAILURES = ("500", "503", "507")  # of the server; 501 and 502 are what the client has asked for
ORIGIN = "baludav.origin"  # where the environment carries it, for the server


def guards_with(guards: Headers, config: Config) -> Headers:
    """Fields that guard every answer in a browser, and what the configuration adds to them (RFC 6797 §6.1)."""
    days = config.settings.hsts_days if config.is_encrypted else 0
    return [*guards, ("Strict-Transport-Security", f"max-age={days * 86_400}")] if days else guards


@contextlib.contextmanager
def answering(
    environ: dict[str, Any], start_response: StartResponse, guards: Headers, settings: Settings
) -> Iterator[StartResponse]:
    """Inside, a request is answered, by the `start_response` that this gives.

    Args:
        guards: fields to add, except those that the answer has itself.
    """
    begun = time.monotonic()
    status = "500"
    asked = environ[ORIGIN] = _origin(environ, settings.trusted_proxies)

    def start(line: str, headers: Headers, exc_info: Any = None) -> Any:
        nonlocal status
        status = line
        own = {name for name, _ in headers}
        if line[:3] in _FAILURES:  # what the client can tell to who reads the log
            headers = [*headers, ("X-Request-Id", asked.request_id)]
        added = [guard for guard in guards if guard[0] not in own]
        return start_response(line, headers + added + cors.headers(environ, settings.cors_origins), exc_info)

    try:
        with coming_from(asked):
            yield start
    finally:
        metrics.request(environ["REQUEST_METHOD"], int(status[:3]), time.monotonic() - begun)


def _origin(environ: dict[str, Any], trusted: tuple[str, ...]) -> Origin:
    given = environ.get("HTTP_X_REQUEST_ID")
    return Origin(
        client_address(environ, trusted), environ.get("HTTP_USER_AGENT", ""), is_request=True,
        given=given, is_trusted=given is not None and is_of_proxy(environ, trusted),
    )  # fmt: skip
