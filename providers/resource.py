"""Resources as WsgiDAV knows them, for its components that ask a provider instead of sending a request."""

import io
from typing import Any

from wsgidav.dav_provider import DAVCollection, DAVNonCollection

from baludav.tree.reading import Resource
from providers.live import content_type


class TreeFile(DAVNonCollection):
    """A file of the tree."""

    def __init__(self, path: str, environ: dict[str, Any], resource: Resource) -> None:
        super().__init__(path, environ)
        self.resource = resource

    def get_content_length(self) -> int:
        return self.resource.size

    def get_content_type(self) -> str:
        return content_type(self.name)

    def get_etag(self) -> str | None:
        """Bare, as WsgiDAV wants it."""
        return self.resource.etag

    def support_etag(self) -> bool:
        return True

    def get_last_modified(self) -> int:
        return self.resource.modified

    def get_creation_date(self) -> int:
        return self.resource.created_ns // 1_000_000_000

    def get_display_name(self) -> str:
        return self.resource.name

    def get_content(self) -> io.BufferedIOBase:
        opened = self.provider.house.tree.of(self.environ["baludav.principal"]).open(self.resource.path)
        return open(opened.fd, "rb")


class TreeCollection(DAVCollection):
    """A collection of the tree."""

    def __init__(self, path: str, environ: dict[str, Any], resource: Resource) -> None:
        super().__init__(path, environ)
        self.resource = resource

    def get_member_names(self) -> list[str]:
        user = self.provider.house.tree.of(self.environ["baludav.principal"])
        return [member.name for member in user.members(self.resource)]

    def get_member(self, name: str) -> "TreeCollection | TreeFile | None":
        found: TreeCollection | TreeFile | None = self.provider.get_resource_inst(
            f"{self.path.rstrip('/')}/{name}", self.environ
        )
        return found

    def get_etag(self) -> str | None:
        """Bare; it changes with any change below."""
        return self.resource.etag

    def get_last_modified(self) -> int:
        return self.resource.modified

    def get_creation_date(self) -> int:
        return self.resource.created_ns // 1_000_000_000


def resource_of(path: str, environ: dict[str, Any], resource: Resource) -> TreeCollection | TreeFile:
    """The WsgiDAV resource for one of the tree."""
    return (TreeCollection if resource.is_collection else TreeFile)(path, environ, resource)
