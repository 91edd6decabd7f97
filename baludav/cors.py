"""Lets pages of other sites, those that the configuration names, use this server (Fetch Standard, CORS protocol).

Such a page sends a password of its own in `Authorization`. What a browser remembers for this server it never gets:
no answer allows credentials.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

Headers = list[tuple[str, str]]

VARY = ("Vary", "Origin")  # with every answer, so that no cache gives one page's to another

_METHODS = "OPTIONS, GET, HEAD, POST, PUT, PATCH, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK, REPORT"
_EXPOSED = (
    "ETag, Last-Modified, DAV, Allow, Location, Lock-Token, Content-Range, Accept-Ranges, Repr-Digest, Retry-After, "
    "OC-ETag, OC-FileId, OC-Checksum, X-OC-MTime, Content-Location, Tus-Resumable, Tus-Version, Tus-Extension, "
    "Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, Upload-Length, Upload-Expires, Upload-Metadata, Upload-Concat"
)
_FIELD_NAMES = re.compile(r"[A-Za-z0-9-]+(?:[ ]*,[ ]*[A-Za-z0-9-]+)*")


def headers(environ: Mapping[str, Any], origins: Collection[str]) -> Headers:
    """The fields to add to an answer.

    Args:
        environ: of WSGI.
        origins: whose pages may see it.
    """
    if not origins:
        return []
    origin = str(environ.get("HTTP_ORIGIN"))
    if origin not in origins:
        return [VARY]
    fields = [VARY, ("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", _EXPOSED)]
    if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
        fields += [("Access-Control-Allow-Methods", _METHODS), ("Access-Control-Max-Age", "3600")]
        wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").strip()
        if _FIELD_NAMES.fullmatch(wanted):
            fields.append(("Access-Control-Allow-Headers", wanted))
    return fields
