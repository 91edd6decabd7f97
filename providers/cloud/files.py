"""The tree under the paths of the sync clients: the same methods, which answer with the prefix they were asked by."""

from baludav.errors import NotFound, NotImplementedHere
from baludav.tree.paths import quote
from providers.cloud.call import Call
from providers.methods import METHODS
from providers.request import Answer, Request

PREFIX = "/remote.php/dav/files"


def files(call: Call) -> Answer:
    """Answer a request below `/remote.php/dav/files/USER`."""
    if not call.path:
        raise NotFound()
    if call.method != "OPTIONS":
        call.require_own(call.path[0])
    mount = call.base + quote(call.path[:1])
    return _answer(call, mount, 1)


def webdav(call: Call) -> Answer:
    """Answer a request below `/remote.php/webdav`."""
    return _answer(call, call.base, 0)


def _answer(call: Call, mount: str, depth: int) -> Answer:
    handle = METHODS.get(call.method)
    if handle is None:
        raise NotImplementedHere(f"{call.method} is not a method of this server")
    call.environ["baludav.mount"] = mount
    return handle(
        Request(
            call.environ,
            call.house,
            mount,
            call.path[depth:],
            names_collection=call.names_collection,
            is_cloud=True,
        )
    )
