"""What the Nextcloud and ownCloud clients, and rclone, ask of a resource beside the properties of DAV.

Elements use the prefixes `oc:` and `nc:`, which every multistatus declares.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from baludav.db.restored import FINGERPRINT
from baludav.tree.reading import Resource
from providers import xml
from providers.request import file_id

if TYPE_CHECKING:
    from providers.live import Live


def permissions(resource: Resource) -> str:
    """What may be done: G read, W write, CK create files and collections inside, D delete, NV rename and move.

    S marks what is shared. Letters that are missing forbid: a client undoes at its side what it may not send.
    """
    place = resource.place
    letters = "SG" if place.root is not None and place.root.kind == "share" else "G"
    if not place.can_write:
        return letters
    return letters + ("" if place.is_mount else "DNV") + ("CK" if resource.is_collection else "W")


def _id(live: "Live", resource: Resource) -> str:
    return f"<oc:id>{file_id(resource.id, live.instance)}</oc:id>"


def _number(live: "Live", resource: Resource) -> str:
    return f"<oc:fileid>{resource.id or 0}</oc:fileid>"


def _permissions(live: "Live", resource: Resource) -> str:
    return f"<oc:permissions>{permissions(resource)}</oc:permissions>"


def _size(live: "Live", resource: Resource) -> str:
    return f"<oc:size>{live.size(resource)}</oc:size>"


def _checksums(live: "Live", resource: Resource) -> str | None:
    found = " ".join(f"{name.upper()}:{value}" for name, value in live.checksums(resource).items())
    return f"<oc:checksums><oc:checksum>{found}</oc:checksum></oc:checksums>" if found else None


def _fingerprint(live: "Live", resource: Resource) -> str | None:
    """At the root only. A client that sees another one than before sends what is missing instead of deleting it."""
    return None if resource.path else f"<oc:data-fingerprint>{live.note(FINGERPRINT)}</oc:data-fingerprint>"


def _owner(live: "Live", resource: Resource) -> str | None:
    root = resource.place.root
    return None if root is None or root.kind != "home" else f"<oc:owner-id>{xml.text(root.name)}</oc:owner-id>"


def _owner_name(live: "Live", resource: Resource) -> str | None:
    found = _owner(live, resource)
    return None if found is None else found.replace("oc:owner-id>", "oc:owner-display-name>")


def _created(live: "Live", resource: Resource) -> str:
    return f"<nc:creation_time>{max(0, resource.created_ns // 1_000_000_000)}</nc:creation_time>"


def _always(element: str) -> "Callable[[Live, Resource], str]":
    return lambda live, resource: element


PROPERTIES: "dict[str, Callable[[Live, Resource], str | None]]" = {
    xml.OC + "id": _id,
    xml.OC + "fileid": _number,
    xml.OC + "permissions": _permissions,
    xml.OC + "size": _size,
    xml.OC + "checksums": _checksums,
    xml.OC + "data-fingerprint": _fingerprint,
    xml.OC + "owner-id": _owner,
    xml.OC + "owner-display-name": _owner_name,
    xml.OC + "favorite": _always("<oc:favorite>0</oc:favorite>"),
    xml.OC + "share-types": _always("<oc:share-types/>"),
    xml.OC + "comments-unread": _always("<oc:comments-unread>0</oc:comments-unread>"),
    xml.NC + "creation_time": _created,
    xml.NC + "has-preview": _always("<nc:has-preview>false</nc:has-preview>"),
    xml.NC + "is-encrypted": _always("<nc:is-encrypted>0</nc:is-encrypted>"),
}
SETTABLE = {xml.OC + "favorite"}
