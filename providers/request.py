"""One DAV request: what every method asks of it before it does its own work."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from lxml import etree

from baludav.accounts.address import client_scheme
from baludav.errors import BadRequest, Failure, NotFound, NotSignedIn, TooLarge
from baludav.tree.http.preconditions import Conditions
from baludav.tree.paths import Path, parse_destination, quote
from baludav.tree.reading import NO_TERMS, Resource, Terms
from baludav.tree.tree import UserTree
from providers import bodies
from providers.house import House

Headers = list[tuple[str, str]]
StartResponse = Callable[..., Any]


class Answer(NamedTuple):
    """Status, header fields and body of an answer."""

    status: int
    headers: Headers
    body: Iterable[bytes] = ()


class Request:
    """A request on a path of the signed-in user's tree.

    Attributes:
        mount: the URL path under which the tree appears, percent-encoded, without a slash at its end.
        path: below the mount.
        names_collection: the path was written with a trailing slash.
        is_cloud: it came by the paths of the Nextcloud and ownCloud clients, which look for more in the answers.
            They keep a copy of all they see, so an admin does not see the homes of others there.
    """

    def __init__(
        self,
        environ: dict[str, Any],
        house: House,
        mount: str,
        path: Path,
        *,
        names_collection: bool,
        is_cloud: bool = False,
    ) -> None:
        self.environ = environ
        self.house = house
        self.mount = mount
        self.path = path
        self.names_collection = names_collection
        self.is_cloud = is_cloud
        self.method: str = environ["REQUEST_METHOD"]

    @cached_property
    def user(self) -> UserTree:
        """The tree as the user who asks sees it."""
        principal = self.environ.get("baludav.principal")
        if principal is None:
            raise NotSignedIn()
        return self.house.tree.of(principal, with_homes=not self.is_cloud)

    @cached_property
    def terms(self) -> Terms:
        """The conditions of the request."""
        return Terms(Conditions.parse(self.environ), self._resource_of_tag)

    @property
    def instance(self) -> UUID | None:
        """What names this installation in the ids that sync clients know; None for others, who are told no ids."""
        return self.house.instance if self.is_cloud else None

    def header(self, name: str) -> str | None:
        """A header field by its name, None if it is not there."""
        value: str | None = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return value

    @cached_property
    def submitted(self) -> Terms:
        """The lock tokens of the request without its conditions, for a second step after they held."""
        lists = self.terms.conditions.lists
        return Terms(Conditions(lists=lists), self.terms.resolve) if self.terms.tokens else NO_TERMS

    def look(self) -> Resource:
        """The resource of the request.

        Raises:
            NotFound: nothing there, or a file whose path was written as that of a collection.
        """
        resource = self.user.look(self.path)
        if self.names_collection and not resource.is_collection:
            raise NotFound()
        return resource

    def require_collection_name(self) -> None:
        """A path with a trailing slash names a collection; it is not that of a file."""
        if self.names_collection:
            self.look()

    def href(self, path: Path, *, is_collection: bool) -> str:
        """The URL path of a resource, percent-encoded."""
        return self.mount + quote(path, is_collection)

    def depth(self, default: str, allowed: tuple[str, ...]) -> str:
        """The Depth header (RFC 4918 §10.2): `0`, `1` or `infinity`."""
        depth = (self.header("Depth") or default).strip().lower()
        if depth not in allowed:
            raise BadRequest(f"Depth must be {' or '.join(allowed)} here")
        return depth

    @property
    def overwrites(self) -> bool:
        """The Overwrite header (RFC 4918 §10.6)."""
        value = (self.header("Overwrite") or "T").strip().upper()
        if value not in ("T", "F"):
            raise BadRequest("Overwrite must be T or F")
        return value == "T"

    def destination(self) -> Path:
        """The Destination header (RFC 4918 §10.3), as a path below the mount."""
        header = self.header("Destination")
        if header is None:
            raise BadRequest("The Destination header is missing")
        return self._parse_uri(header)[0]

    def body(self) -> etree._Element | None:
        """The XML body; None if there is none."""
        try:
            raw = bodies.read_body(self.environ, self.house.config.settings.limits.xml_body)
        except TooLarge as failure:
            failure.at("xml_body")
            raise
        return bodies.parse_body(raw)

    def about(self, resource: Resource) -> Headers:
        """Header fields that tell what a resource is now."""
        return etag_headers(resource, self.instance)

    def _parse_uri(self, uri: str) -> tuple[Path, bool]:
        return parse_destination(
            uri,
            scheme=client_scheme(self.environ, self.house.config.settings.trusted_proxies),
            host=self.environ.get("HTTP_HOST") or self.environ.get("SERVER_NAME") or "",
            mount=self.mount,
        )

    def _resource_of_tag(self, tag: str) -> Path | None:
        try:
            return self._parse_uri(tag)[0]
        except Failure:
            return None


def etag_headers(resource: Resource, instance: UUID | None = None) -> Headers:
    """The ETag field of an answer about a resource, if it has one.

    Args:
        instance: of this installation, to add what sync clients look for: the ETag again, where no proxy alters
            it, the id and the hash.
    """
    headers = [("ETag", f'"{resource.etag}"')] if resource.etag else []
    if instance is not None:
        headers += [("OC-" + name, value) for name, value in headers]
        headers.append(("OC-FileId", file_id(resource.id, instance)))
        if resource.sha256 is not None:
            headers.append(("OC-Checksum", f"SHA256:{resource.sha256}"))
    return headers


def file_id(number: int | None, instance: UUID) -> str:
    """The id of a resource as sync clients know it: the number, and which installation counted it."""
    return f"{number or 0:08d}oc{instance.hex[:10]}"


def parse_mtime(environ: Mapping[str, Any]) -> int | None:
    """`X-OC-Mtime`: the modification time the client wants kept, in seconds; here in nanoseconds.

    What makes no sense as the time of a file (before 1970, after the year 2200) is not taken over.
    """
    try:
        seconds = float(environ.get("HTTP_X_OC_MTIME") or "")
    except ValueError:
        return None
    return int(seconds * 1_000_000_000) if 0 < seconds < 7_258_118_400 else None
