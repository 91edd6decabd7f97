"""What real clients ask for when they list a collection.

Recorded from the programs themselves on Debian 12: gio with gvfs 1.50.3, davfs2 1.6.1, rclone 1.60.1 (vendor
owncloud, as the README recommends). Windows' redirector sends no body, which asks for all properties (RFC 4918
§9.1); the properties of macOS and Cyberduck are those in their sources (Apple's webdavfs; Cyberduck's
DAVAttributesFinderFeature with its Sardine library).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """The body of a PROPFIND."""

    client: str
    body: bytes
    content_type: str = "application/xml"

    def headers(self, depth: str) -> dict[str, str]:
        return {"Depth": depth, **({"Content-Type": self.content_type} if self.body else {})}


def _properties(*names: str, namespaces: str = "") -> bytes:
    """The body that asks for these properties; those without a prefix are WebDAV's own."""
    elements = "".join(f"<{name if ':' in name else f'D:{name}'}/>" for name in names)
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:"{namespaces}><D:prop>{elements}'
    return f"{text}</D:prop></D:propfind>".encode()


PLAIN = Question("plain", _properties("resourcetype", "getcontentlength", "getlastmodified", "getetag"))

CLIENTS = (
    Question("Windows", b""),
    Question(
        "macOS",
        b'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:getlastmodified/>\n'
        b"<D:getcontentlength/>\n<D:creationdate/>\n<D:resourcetype/>\n</D:prop>\n</D:propfind>\n",
        "text/xml",
    ),
    Question(
        "gvfs",
        b'<?xml version="1.0" encoding="utf-8" ?>\n <D:propfind xmlns:D="DAV:">\n  <D:prop>\n<D:creationdate/>\n'
        b"<D:displayname/>\n<D:getcontentlength/>\n<D:getcontenttype/>\n<D:getetag/>\n<D:getlastmodified/>\n"
        b"<D:resourcetype/>\n  </D:prop>\n </D:propfind>",
    ),
    Question(
        "davfs2",
        b'<?xml version="1.0" encoding="utf-8"?>\n<propfind xmlns="DAV:"><prop>\n<resourcetype xmlns="DAV:"/>\n'
        b'<getcontentlength xmlns="DAV:"/>\n<getetag xmlns="DAV:"/>\n<getlastmodified xmlns="DAV:"/>\n'
        b'<executable xmlns="http://apache.org/dav/props/"/>\n</prop></propfind>\n',
    ),
    Question(
        "rclone",
        b'<?xml version="1.0"?>\n<d:propfind  xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" '
        b'xmlns:nc="http://nextcloud.org/ns">\n <d:prop>\n  <d:displayname />\n  <d:getlastmodified />\n'
        b"  <d:getcontentlength />\n  <d:resourcetype />\n  <d:getcontenttype />\n  <oc:checksums />\n </d:prop>\n"
        b"</d:propfind>\n",
    ),
    Question(
        "Cyberduck",
        _properties(
            "creationdate", "displayname", "getcontentlength", "getcontenttype", "getetag", "getlastmodified",
            "lockdiscovery", "resourcetype", "s:lastmodified", "s:lastmodified_server",
            namespaces=' xmlns:s="SAR:"',
        ),
    ),
)  # fmt: skip
