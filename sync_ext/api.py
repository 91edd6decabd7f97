"""Assembles the REST API: the one room that knows all others of it."""

import functools
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import falcon
import msgspec

from baludav.accounts.authorization import BASIC, BEARER, require_own_site, signed_in
from baludav.accounts.rates import Rates
from baludav.answering import answering, guards_with
from baludav.errors import Failure, MethodNotAllowed, NotFound, NotImplementedHere, Unexpected
from baludav.limits.reached import note
from baludav.log.setup import failed
from sync_ext import changes, conflicts, devices, events, files, history, locks, openapi, plan, problems, reading
from sync_ext.endpoints import BASE, JSON, Call, Endpoint, Ground

DOCUMENT = "/api/openapi.json"

ENDPOINTS = [
    devices.register,
    devices.everything,
    devices.one,
    devices.acknowledge,
    devices.remove,
    changes.state,
    changes.changes,
    plan.plan,
    files.write,
    conflicts.conflicts,
    conflicts.resolve,
    history.versions,
    history.restore_version,
    history.trash,
    history.restore_deleted,
    locks.locks,
    locks.end,
    events.events,
]

# Answers are for the one who asked, and for programs: no cache keeps them, and no browser shows them as a page.
_GUARDS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
]


@functools.cache
def _described() -> bytes:
    """The OpenAPI document; made when it is first asked for, which in most workers is never."""
    return msgspec.json.encode(openapi.document(ENDPOINTS))


class _Gate:
    """Falcon's middleware that counts each request, whatever it asks for."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        self._rates.admit(request.env)


class Api:
    """The WSGI application of the API."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._guards = guards_with(_GUARDS, ground.config)
        self._falcon = falcon.App(middleware=[_Gate(ground.rates)] if ground.rates is not None else [])
        self._falcon.add_error_handler(Exception, self._fail)
        self._falcon.add_error_handler(falcon.HTTPError, self._fail)
        for template in dict.fromkeys(one.template for one in ENDPOINTS):
            responders = {one.method: self._responder(one) for one in ENDPOINTS if one.template == template}
            self._route(BASE + template, responders)
        self._route(DOCUMENT, {"GET": lambda request, response: _send(response, 200, _described(), JSON)})

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with answering(environ, start_response, self._guards, self._ground.config.settings) as start:
            answered: Iterable[bytes] = self._falcon(environ, start)
            return answered

    def _route(self, template: str, responders: dict[str, Callable[..., None]]) -> None:
        if "GET" in responders:
            responders["HEAD"] = responders["GET"]
        allowed = ", ".join(sorted({*responders, "OPTIONS"}))
        responders["OPTIONS"] = lambda request, response, **values: _options(response, allowed)
        resource = SimpleNamespace(**{f"on_{method.lower()}": respond for method, respond in responders.items()})
        self._falcon.add_route(template, resource)

    def _responder(self, one: Endpoint) -> Callable[..., None]:
        def respond(request: falcon.Request, response: falcon.Response, **values: Any) -> None:
            environ = request.env
            proxies = self._ground.config.settings.trusted_proxies
            principal = signed_in(environ, self._ground.sign_in, proxies, challenge=f"{BASIC}, {BEARER}")
            environ["baludav.principal"] = principal
            if self._ground.rates is not None:
                self._ground.rates.admit_principal(environ, principal)
            if one.changes:
                require_own_site(environ, self._ground.config.settings.cors_origins)
            query = reading.read_query(request.params, one.query or reading.NoQuery)
            if one.query is not None:
                values["query"] = query
            if one.body is not None:
                values["body"] = reading.read_body(environ, one.body, one.most_bytes)
            call = Call(self._ground, principal, environ)
            answer = one.handle(call, **values)
            for name, value in call.headers:
                response.set_header(name, value)
            stream = call.later if one.media_type == JSON else answer
            if one.answer is None:
                response.status = one.status
            elif stream is None:
                _send(response, one.status, msgspec.json.encode(answer), JSON)
            else:
                response.status, response.content_type, response.stream = one.status, one.media_type, stream

        return respond

    def _fail(
        self, request: falcon.Request, response: falcon.Response, error: Exception, values: dict[str, Any]
    ) -> None:
        failure = _named(error)
        environ = request.env
        failed(environ, failure if isinstance(error, falcon.HTTPError) else error)
        note(environ, failure)
        principal, method = environ.get("baludav.principal"), environ["REQUEST_METHOD"]
        self._ground.trail.refused(principal, failure, method, environ["PATH_INFO"])
        problem = problems.problem_of(failure)
        _send(response, problem.status, msgspec.json.encode(problem), problems.MEDIA_TYPE)
        for name, value in problems.headers_of(failure):
            response.set_header(name, value)


def _send(response: falcon.Response, status: int, body: bytes, media_type: str) -> None:
    response.status, response.data, response.content_type = status, body, media_type


def _options(response: falcon.Response, allowed: str) -> None:
    response.status = 204
    response.set_header("Allow", allowed)


def _named(error: Exception) -> Failure:
    """A failure of ours for what falcon, or nobody, has named."""
    match error:
        case Failure():
            return error
        case falcon.HTTPMethodNotAllowed():
            return MethodNotAllowed(headers=tuple((error.headers or {}).items()))  # type: ignore[union-attr]
        case falcon.HTTPNotFound():
            return NotFound("There is no such call")
        case falcon.HTTPError():  # a method that it has never heard of
            return NotImplementedHere()
    return Unexpected()
