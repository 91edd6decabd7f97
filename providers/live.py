"""Live properties (RFC 4918 §15 and others): what the server knows about a resource, as XML."""

import functools
import mimetypes
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from email.utils import formatdate

from baludav.tree.paths import Path
from baludav.tree.reading import Resource
from baludav.tree.records.locks import Lock
from providers import xml
from providers.cloud import properties as cloud
from providers.request import Request

_TYPES = mimetypes.MimeTypes(())  # what Python knows, not what this machine happens to have installed

_SUPPORTED_LOCK = "<D:supportedlock>{}</D:supportedlock>".format(
    "".join(
        f"<D:lockentry><D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
        for scope in ("exclusive", "shared")
    )
)
_COLLECTION = "<D:resourcetype><D:collection/></D:resourcetype>"
_REPORTS = (
    "<D:supported-report-set><D:supported-report><D:report><D:sync-collection/></D:report></D:supported-report>"
    "</D:supported-report-set>"
)
SYNC_URN = "urn:baludav:sync:"  # what makes a URI of a change token


@functools.lru_cache(maxsize=1024)
def content_type(name: str) -> str:
    """The media type that a name implies (RFC 9110 §8.3)."""
    return _TYPES.guess_type(f"x{name}")[0] or "application/octet-stream"


@functools.lru_cache(maxsize=8192)
def http_date(seconds: int) -> str:
    """RFC 9110 §5.6.7, from seconds since the epoch."""
    return formatdate(seconds, usegmt=True)


@functools.lru_cache(maxsize=8192)
def iso_date(seconds: int) -> str:
    """RFC 3339, from seconds since the epoch."""
    return datetime.fromtimestamp(max(0, seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Live:
    """The live properties of the resources of one answer; what they have in common is asked once."""

    def __init__(self, request: Request, asked: Collection[str] = ()) -> None:
        self._request = request
        # A client that knows files by their ids compares them by SHA-256; one that does not, as rclone, by others.
        self._needs_checksums = xml.OC + "checksums" in asked and xml.OC + "id" not in asked
        self._has_locks: dict[int, bool] = {}
        self._beside: list[Resource] = []
        self._sizes: dict[int, int] | None = None
        self._checksums: Mapping[str, Mapping[str, str]] | None = None
        self.instance = request.house.instance

    def begin(self, resources: list[Resource]) -> None:
        """Name the resources that are described next; what is costly for one is asked for all of them at once."""
        self._beside = resources
        self._sizes = self._checksums = None

    def locks(self, resource: Resource) -> list[tuple[Lock, Path]]:
        """Locks that cover a resource, with their roots."""
        root = resource.place.root
        if root is None:
            return []
        if root.id not in self._has_locks:
            tree = self._request.house.tree
            with tree.database.reading() as connection:
                self._has_locks[root.id] = tree.locks.has_any(connection, root.id)
        return self._request.user.locks_on(resource) if self._has_locks[root.id] else []

    def value(self, name: str, resource: Resource) -> str | None:
        """The property as an element; None if the resource has no such live property."""
        make = PROPERTIES.get(name)
        return None if make is None else make(self, resource)

    def size(self, resource: Resource) -> int:
        """Bytes, of a collection those of everything below it."""
        if not resource.is_collection or resource.id is None:
            return resource.size
        if self._sizes is None:
            self._sizes = self._request.user.sizes(self._beside)
        return self._sizes.get(resource.id, 0)

    def checksums(self, resource: Resource) -> dict[str, str]:
        """Hashes of a file that are known, by name."""
        if resource.sha256 is None:
            return {}
        if self._checksums is None:
            user = self._request.user
            self._checksums = user.checksums(self._beside, is_complete=self._needs_checksums)
        return {**self._checksums.get(resource.sha256, {}), "sha256": resource.sha256}

    def note(self, key: str) -> str:
        """What the index notes of itself; empty if nothing."""
        return self._request.house.database.note(key) or ""

    def display_name(self, resource: Resource) -> str:
        return f"<D:displayname>{xml.text(resource.name)}</D:displayname>"

    def resource_type(self, resource: Resource) -> str:
        return _COLLECTION if resource.is_collection else "<D:resourcetype/>"

    def content_length(self, resource: Resource) -> str | None:
        return None if resource.is_collection else f"<D:getcontentlength>{resource.size}</D:getcontentlength>"

    def media_type(self, resource: Resource) -> str | None:
        if resource.is_collection:
            return None
        return f"<D:getcontenttype>{content_type(resource.name)}</D:getcontenttype>"

    def etag(self, resource: Resource) -> str | None:
        return f'<D:getetag>"{resource.etag}"</D:getetag>' if resource.etag else None

    def ctag(self, resource: Resource) -> str | None:
        if not resource.is_collection:
            return None
        return f'<C:getctag xmlns:C="http://calendarserver.org/ns/">"{resource.etag}"</C:getctag>'

    def sync_token(self, resource: Resource) -> str | None:
        if not resource.is_collection:
            return None
        return f"<D:sync-token>{SYNC_URN}{self._request.user.token_of(resource)}</D:sync-token>"

    def supported_reports(self, resource: Resource) -> str:
        return _REPORTS if resource.is_collection else "<D:supported-report-set/>"

    def last_modified(self, resource: Resource) -> str:
        return f"<D:getlastmodified>{http_date(resource.modified)}</D:getlastmodified>"

    def created(self, resource: Resource) -> str:
        return f"<D:creationdate>{iso_date(resource.created_ns // 1_000_000_000)}</D:creationdate>"

    def supported_lock(self, resource: Resource) -> str:
        return _SUPPORTED_LOCK

    def lock_discovery(self, resource: Resource) -> str:
        found = "".join(self.active_lock(lock, root) for lock, root in self.locks(resource))
        return f"<D:lockdiscovery>{found}</D:lockdiscovery>"

    def active_lock(self, lock: Lock, root: Path) -> str:
        """One lock as RFC 4918 §14.1 has it."""
        seconds = self._request.house.tree.locks.seconds_left(lock)
        return (
            f"<D:activelock><D:locktype><D:write/></D:locktype>"
            f"<D:lockscope><D:{'exclusive' if lock.is_exclusive else 'shared'}/></D:lockscope>"
            f"<D:depth>{'infinity' if lock.is_infinite else '0'}</D:depth>{lock.owner_xml}"
            f"<D:timeout>Second-{seconds}</D:timeout><D:locktoken><D:href>{lock.token}</D:href></D:locktoken>"
            f"<D:lockroot><D:href>{self._request.href(root, is_collection=False)}</D:href></D:lockroot></D:activelock>"
        )

    def used(self, resource: Resource) -> str | None:
        quota = self._request.user.quota(resource) if resource.is_collection else None
        return None if quota is None else f"<D:quota-used-bytes>{quota[0]}</D:quota-used-bytes>"

    def available(self, resource: Resource) -> str | None:
        quota = self._request.user.quota(resource) if resource.is_collection else None
        return None if quota is None else f"<D:quota-available-bytes>{quota[1]}</D:quota-available-bytes>"

    def principal(self, resource: Resource) -> str:
        href = self._request.href((), is_collection=True)
        return f"<D:current-user-principal><D:href>{href}</D:href></D:current-user-principal>"

    def resource_id(self, resource: Resource) -> str | None:
        if resource.id is None:
            return None
        found = uuid.uuid5(self._request.house.instance, str(resource.id))
        return f"<D:resource-id><D:href>urn:uuid:{found}</D:href></D:resource-id>"


PROPERTIES: dict[str, Callable[[Live, Resource], str | None]] = {
    "{DAV:}creationdate": Live.created,
    "{DAV:}displayname": Live.display_name,
    "{DAV:}getcontentlength": Live.content_length,
    "{DAV:}getcontenttype": Live.media_type,
    "{DAV:}getetag": Live.etag,
    "{DAV:}getlastmodified": Live.last_modified,
    "{DAV:}resourcetype": Live.resource_type,
    "{DAV:}supportedlock": Live.supported_lock,
    "{DAV:}lockdiscovery": Live.lock_discovery,
    # Not in allprop (RFC 4331 §2, RFC 5397 §3, RFC 5842 §3.1, RFC 6578 §4, RFC 3253 §3.1.5):
    "{DAV:}quota-used-bytes": Live.used,
    "{DAV:}quota-available-bytes": Live.available,
    "{DAV:}current-user-principal": Live.principal,
    "{DAV:}resource-id": Live.resource_id,
    "{DAV:}sync-token": Live.sync_token,
    "{DAV:}supported-report-set": Live.supported_reports,
    "{http://calendarserver.org/ns/}getctag": Live.ctag,
    **cloud.PROPERTIES,
}
IN_ALLPROP = tuple(PROPERTIES)[:9]
SETTABLE = {"{DAV:}displayname", *cloud.SETTABLE}
"""Those that a client may set: its value is kept as that of a dead property."""
