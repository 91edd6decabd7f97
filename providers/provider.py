"""The WsgiDAV provider: one tree for all users, each seeing their own namespace in it.

WsgiDAV's way for a provider to answer a method itself is `custom_request_handler`; all methods go through it, each
to a room of its own in `providers.methods`. To everything else in WsgiDAV the provider offers plain resources.
"""

from collections.abc import Callable, Iterable
from typing import Any

from wsgidav.dav_provider import DAVProvider

from baludav.config import build
from baludav.errors import NotFound, NotImplementedHere, status_line
from baludav.tree.paths import parse
from providers.house import KEY, House, open_house
from providers.methods import METHODS
from providers.request import Request
from providers.resource import TreeCollection, TreeFile, resource_of


class TreeProvider(DAVProvider):
    """Serves the tree below one path of a WsgiDAV application.

    Args:
        application: the WsgiDAVApp; its configuration carries the house, or the settings to open one with.
    """

    def __init__(self, application: Any) -> None:
        super().__init__()
        if KEY not in application.config:  # stock WsgiDAV: nobody has opened it
            house = application.config[KEY] = open_house(build(application.config))
            house.tree.keep()
        self._config = application.config

    @property
    def house(self) -> House:
        house: House = self._config[KEY]
        return house

    def get_resource_inst(self, path: str, environ: dict[str, Any]) -> TreeCollection | TreeFile | None:
        """WsgiDAV's view of one resource; None if there is none for the signed-in user."""
        names = tuple(name for name in path.split("/") if name)
        try:
            return resource_of(path, environ, self.house.tree.of(environ["baludav.principal"]).look(names))
        except NotFound:
            return None

    def custom_request_handler(
        self, environ: dict[str, Any], start_response: Callable[..., Any], default_handler: Any
    ) -> Iterable[bytes]:
        """Answer a request on a path below the mount."""
        path, names_collection = environ.get("baludav.path") or parse(environ["PATH_INFO"])
        handle = METHODS.get(environ["REQUEST_METHOD"])
        if handle is None:
            raise NotImplementedHere(f"{environ['REQUEST_METHOD']} is not a method of this server")
        request = Request(environ, self.house, self.share_path.rstrip("/"), path, names_collection=names_collection)
        answer = handle(request)
        start_response(status_line(answer.status), answer.headers)
        return answer.body
