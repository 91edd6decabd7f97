"""What a call of the API is: a function with types, and where it is reached.

The types say it all: what the query and the body hold is read by them, the answer is written by them, and the
OpenAPI document is made of them.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from baludav.accounts.accounts import Principal
from baludav.accounts.devices import Devices
from baludav.accounts.rates import Rates
from baludav.accounts.signin import SignIn
from baludav.accounts.trail import Trail
from baludav.config import Config
from baludav.errors import Failure
from baludav.tree.tree import Tree, UserTree
from sync_ext.listeners import Listeners
from sync_ext.types import Body

BASE = "/api/sync"  # where the API is
JSON = "application/json"
SMALL_BODY = 64 * 1024  # bytes


@dataclass(frozen=True)
class Ground:
    """What the API stands on, in one process."""

    config: Config
    tree: Tree
    devices: Devices
    sign_in: SignIn
    trail: Trail
    listeners: Listeners
    rates: Rates | None


class Call:
    """One request of a signed-in user.

    Attributes:
        environ: of WSGI.
        headers: fields to send with the answer.
        later: the body to send in place of the answer, as the call waits for one; None if it does not.
    """

    def __init__(self, ground: Ground, principal: Principal, environ: Mapping[str, Any]) -> None:
        self.ground = ground
        self.principal = principal
        self.environ = environ
        self.headers: list[tuple[str, str]] = []
        self.later: Iterable[bytes] | None = None

    @property
    def has_body(self) -> bool:
        """False for HEAD: there is nothing to wait for."""
        return bool(self.environ["REQUEST_METHOD"] != "HEAD")

    @cached_property
    def user(self) -> UserTree:
        """The tree as the user who asks sees it; what is changed through it is changed by their device."""
        return self.ground.tree.of(self.principal)


@dataclass(frozen=True)
class Endpoint:
    """One call.

    Attributes:
        template: path below the API, with the path parameters in braces.
        status: of an answer that is no failure.
        failures: that this call may meet beside those that any may.
        media_type: of the answer; what is not JSON is sent as the iterable of bytes that it is.
        most_bytes: of the body.
        query, body, answer: the types; None where there are no parameters, or is no body.
        names: of the path parameters.
    """

    method: str
    template: str
    handle: Callable[..., Any]
    status: int
    failures: tuple[type[Failure], ...]
    media_type: str
    most_bytes: int
    query: type[Body] | None
    body: type[Body] | None
    answer: type | None
    names: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"


def endpoint(
    method: str,
    template: str,
    *,
    status: int = 200,
    failures: tuple[type[Failure], ...] = (),
    media_type: str = JSON,
    most_bytes: int = SMALL_BODY,
) -> Callable[[Callable[..., Any]], Endpoint]:
    """Make a call of a function.

    The function takes a `Call`, its path parameters by name, and `query` and `body` if it has any, each with the
    type that it is read by. Without a result it answers 204. Its docstring is its description.
    """

    def declare(handle: Callable[..., Any]) -> Endpoint:
        types = get_type_hints(handle)
        answer = types.pop("return")
        names = [name for name in list(inspect.signature(handle).parameters)[1:] if name not in ("query", "body")]
        assert all(f"{{{name}}}" in template for name in names), template
        is_empty = answer is type(None)
        return Endpoint(
            method, template, handle, 204 if is_empty else status, failures, media_type, most_bytes,
            query=types.get("query"), body=types.get("body"), answer=None if is_empty else answer,
            names=tuple(names),
        )  # fmt: skip

    return declare
