"""What every answer has, whichever room gives it: fields for browsers, a line in the log, its part in the figures."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from baludav import cors, log, metrics
from baludav.accounts.address import client_address
from baludav.config import Settings
from baludav.origin import Origin, coming_from

Headers = list[tuple[str, str]]
StartResponse = Callable[..., Any]


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

    def start(line: str, headers: Headers, exc_info: Any = None) -> Any:
        nonlocal status
        status = line
        own = {name for name, _ in headers}
        added = [guard for guard in guards if guard[0] not in own]
        return start_response(line, headers + added + cors.headers(environ, settings.cors_origins), exc_info)

    address = client_address(environ, settings.trusted_proxies)
    try:
        with coming_from(Origin(address, environ.get("HTTP_USER_AGENT", ""))):
            yield start
    finally:
        metrics.request(environ["REQUEST_METHOD"], int(status[:3]), time.monotonic() - begun)
        log.access(environ, status, begun)
