"""The innermost room of the stack: finds the provider of a path, and answers for the server's own root."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote as quote_bytes
from urllib.parse import urlsplit

from baludav.errors import BadRequest, MethodNotAllowed, status_line
from baludav.tree.paths import Path, parse
from providers import tus, xml
from providers.cloud import routes
from providers.house import KEY
from providers.methods.options import ALLOWED_AT_ROOT, DAV_HEADERS
from providers.provider import TreeProvider
from providers.request import Answer
from providers.signin import Application

_UPLOADS = parse(tus.PREFIX)[0]
_ROOT_PAGE = b"""This is a baludav server. Your files are at /dav/: mount that address as a network drive.
"""


class Resolver:
    """Middleware in WsgiDAV's manner; it must be the last."""

    def __init__(self, wsgidav_app: Any, next_app: Application, config: dict[str, Any]) -> None:
        self._app = wsgidav_app
        self._config = config

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        target = _target(environ)
        if target == "*":
            return _send(start_response, _root(environ, self._mounts()))
        path, names_collection = parse(target)
        if path == ():
            return _send(start_response, _root(environ, self._mounts()))
        for mount, provider in self._mounts().items():
            if path[: len(mount)] == mount:
                environ["wsgidav.provider"] = provider
                environ["baludav.mount"] = provider.share_path.rstrip("/")
                environ["baludav.path"] = (path[len(mount) :], names_collection)
                answered: Iterable[bytes] = provider.custom_request_handler(environ, start_response, None)
                return answered
        house = self._config[KEY]
        if path[:1] == _UPLOADS:
            # Where uploads go and what locks them is meant in the tree.
            environ["baludav.mount"] = next(iter(self._mounts().values())).share_path.rstrip("/")
            return _send(start_response, tus.answer(environ, house, path[1:]))
        return _send(start_response, routes.answer(environ, house, path, names_collection=names_collection))

    def _mounts(self) -> dict[Path, TreeProvider]:
        return {parse(share)[0]: provider for share, provider in self._app.provider_map.items()}


def _target(environ: dict[str, Any]) -> str:
    """The target as it was sent: what is encoded twice must be decoded only once."""
    target = environ.get("REQUEST_URI")
    if target is None:
        path = (environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]).encode("latin-1")
        target = quote_bytes(path)
    if not target.startswith("/") and target != "*":
        try:
            target = urlsplit(target).path or "/"  # the absolute form (RFC 9112 §3.2.2)
        except ValueError as error:
            raise BadRequest("The request target is malformed") from error
    return str(target)


def _root(environ: dict[str, Any], mounts: dict[Path, TreeProvider]) -> Answer:
    """`/` itself: Windows asks here first, whatever it is told to mount."""
    method = environ["REQUEST_METHOD"]
    if method == "OPTIONS":
        return Answer(200, [*DAV_HEADERS, ("Allow", ALLOWED_AT_ROOT), ("Content-Length", "0")])
    if method in ("GET", "HEAD"):
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(_ROOT_PAGE)))]
        return Answer(200, headers, [] if method == "HEAD" else [_ROOT_PAGE])
    if method != "PROPFIND":
        raise MethodNotAllowed(headers=(("Allow", ALLOWED_AT_ROOT),))
    depth = environ.get("HTTP_DEPTH", "1")
    collection = ["<D:resourcetype><D:collection/></D:resourcetype>"]
    answer = xml.Multistatus([xml.response("/", [(200, collection)])])
    if depth != "0":
        for provider in mounts.values():
            answer.response(provider.share_path.rstrip("/") + "/", [(200, collection)])
    body = answer.close()
    return Answer(207, [("Content-Type", xml.CONTENT_TYPE), ("Content-Length", str(len(body)))], [body])


def _send(start_response: Callable[..., Any], answer: Answer) -> Iterable[bytes]:
    start_response(status_line(answer.status), answer.headers)
    return answer.body
