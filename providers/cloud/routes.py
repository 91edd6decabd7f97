"""Which room answers which of the paths that Nextcloud and ownCloud clients know."""

from collections.abc import Callable
from typing import Any

from baludav.errors import NotFound
from baludav.tree.paths import Path, quote
from providers.cloud import bulk, files, login, ocs, status, trash, uploads, versions
from providers.cloud.call import Call
from providers.house import House
from providers.request import Answer

ROOMS: dict[Path, Callable[[Call], Answer]] = {
    ("status.php",): status.status,
    ("index.php", "204"): status.connectivity,
    ("index.php", "login", "v2"): login.second,
    ("index.php", "login", "flow"): login.first,
    ("ocs",): ocs.ocs,
    ("remote.php", "webdav"): files.webdav,
    ("remote.php", "dav", "files"): files.files,
    ("remote.php", "dav", "uploads"): uploads.uploads,
    ("remote.php", "dav", "bulk"): bulk.bulk,
    ("remote.php", "dav", "trashbin"): trash.trashbin,
    ("remote.php", "dav", "versions"): versions.versions,
}
_DEEPEST = max(map(len, ROOMS))


def answer(environ: dict[str, Any], house: House, path: Path, *, names_collection: bool) -> Answer:
    """Answer a request on a path outside the mounts of the configuration.

    Raises:
        NotFound: no client asks for it, or it is another user's.
    """
    for depth in range(min(len(path), _DEEPEST), 0, -1):
        room = ROOMS.get(path[:depth])
        if room is not None:
            return room(Call(environ, house, quote(path[:depth]), path[depth:], names_collection))
    raise NotFound()
