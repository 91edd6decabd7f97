"""Paths: from what a client sends to names, and back to what it is sent.

A path is a tuple of names below the root of a namespace. It is split first, then each name is decoded once,
so nothing in a name can act as a separator or be decoded a second time (RFC 3986 §2.4, §7.3). The request
target, `Destination` and the resource tags of `If` all come through here, and the names found on a disk are
shown only if they could come back.
"""

import re
from functools import lru_cache
from unicodedata import normalize
from urllib.parse import quote as percent_encode
from urllib.parse import unquote_to_bytes

from baludav.errors import BadRequest, OtherServer, PathTooLong

Path = tuple[str, ...]

RESERVED = ".baludav"
"""The name at the top of a storage root that belongs to the server."""

MAX_NAME = 255  # bytes of UTF-8, the limit of every common file system
MAX_PATH = 4096  # bytes, a slash before each name included: PATH_MAX
MAX_DEPTH = 200

# As sent, a byte takes three characters; a decomposed spelling has at most three times the bytes.
_MAX_TARGET = 3 * 3 * MAX_PATH

# C0 and DEL, which no name may hold (they would end up in header fields and logs), then what XML 1.0 §2.2
# cannot carry: lone surrogates (how an undecodable name of the disk appears in Python) and two noncharacters.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
# Names that need no second look: ASCII, not too long, and neither `.` nor `..`.
_PLAIN = re.compile(rf"(?:/(?!\.)[ -.0-~]{{1,{MAX_NAME}}}+){{1,{MAX_DEPTH}}}+")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")

# RFC 3986 §2.3 unreserved, and parentheses. All else is encoded, also what a segment could hold as it is:
# some clients read `+` as a space or stop at `;`. So no href ever needs escaping in XML, either.
_SAFE = "()"

_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?]*)(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::([0-9]{0,5}))?")
# KDE Frameworks 6 writes the scheme of its own address bar into Destination.
_DEFAULT_PORT = {"http": 80, "https": 443, "webdav": 80, "webdavs": 443}


def parse(target: str) -> tuple[Path, bool]:
    """Names of a request target in origin form (RFC 9112 §3.2.1), and whether it ends in a slash.

    The query is not part of the path and `;` is an ordinary character (RFC 3986 §3.3, §3.4); repeated slashes
    count as one. A segment `.` says nothing (§5.2.4): rclone writes one before a name with a colon, lest the name
    pass for a scheme (§4.2). No honest client sends `..`, which is refused, and so is either of them encoded.
    Names come back as sent; `spellings` says what to look for and `stored` what to create.

    Args:
        target: percent-encoded; characters above U+007F stand for bytes of UTF-8, as in WSGI (PEP 3333).
    Raises:
        BadRequest: no absolute path, a bad escape, no UTF-8, a fragment, or a name that cannot be: `..`, `.` if it
            was encoded, with a slash, a control character or a character that XML cannot carry (400).
        PathTooLong: a name, the path or its depth passes the limits of the disk (414).
    """
    raw = target.partition("?")[0]
    if not raw.startswith("/"):
        raise BadRequest("The path must begin with a slash")
    if len(raw) > _MAX_TARGET:
        raise PathTooLong
    if "#" in target:
        raise BadRequest("A path has no fragment; send # as %23")
    segments = [segment for segment in raw.split("/") if segment not in ("", ".")]
    if len(segments) > MAX_DEPTH:
        raise PathTooLong("There are too many names in this path")
    path = tuple(map(_name, segments))
    if 3 * len(raw) > MAX_NAME:  # composing, too, can make some rare names longer, up to three times
        _check_length(path)
    return path, raw.endswith(("/", "/."))


def parse_decoded(text: str) -> Path:
    """Names of a path that is not percent-encoded, as in JSON.

    Raises:
        BadRequest, PathTooLong: as for `parse`.
    """
    if _PLAIN.fullmatch(text) is not None and len(text) <= MAX_PATH:  # as nearly all are, in lists of 100,000
        return tuple(text[1:].split("/"))
    if not text.startswith("/"):
        raise BadRequest("The path must begin with a slash")
    segments = [segment for segment in text.split("/") if segment]
    if len(segments) > MAX_DEPTH:
        raise PathTooLong("There are too many names in this path")
    path = tuple(map(_checked, segments))
    _check_length(path)
    return path


def quote(path: Path, collection: bool = False) -> str:
    """The path as an absolute, percent-encoded reference for `DAV:href` (RFC 4918 §8.3).

    Args:
        collection: add the trailing slash (RFC 4918 §5.2). The root is `/` either way.
    """
    if not path:
        return "/"
    return f"/{'/'.join(map(_quoted, path))}/" if collection else f"/{'/'.join(map(_quoted, path))}"


def spellings(name: str) -> tuple[str, ...]:
    """How a name may be spelled on the disk, in the order to try: as sent, composed, decomposed.

    macOS sends decomposed names, everything else composed ones, and the disk compares bytes.
    """
    if name.isascii():
        return (name,)
    candidates = dict.fromkeys((name, normalize("NFC", name), normalize("NFD", name)))
    # A spelling too long for the disk is not there; asking for it would be an error instead of a "no".
    return tuple(spelling for spelling in candidates if _length(spelling) <= MAX_NAME) or (name,)


def stored(name: str) -> str:
    """The spelling a new name gets: composed (NFC)."""
    return normalize("NFC", name)


def is_reserved(name: str) -> bool:
    """Whether a name is the server's own, in any case: some disks do not tell cases apart."""
    return name.casefold() == RESERVED


def is_visible(name: str) -> bool:
    """Whether a name found on the disk is shown: `parse` would take it, and it is not the server's own."""
    if is_reserved(name) or _FORBIDDEN.search(name) is not None:
        return False
    return len(name) <= MAX_NAME if name.isascii() else _length(normalize("NFC", name)) <= MAX_NAME


def parse_destination(header: str, *, scheme: str, host: str, mount: str) -> tuple[Path, bool]:
    """Names of a `Destination` field (RFC 4918 §10.3), and whether it ends in a slash.

    An absolute URI must name this server: the same host, and the port that the `Host` field means under
    either scheme, since the client may have spoken https to a proxy in front of us.

    Args:
        header: the field value: a path, or an absolute URI; its user information is ignored.
        scheme: of this request, `http` or `https`.
        host: the `Host` field of this request.
        mount: where the DAV tree begins, as in `/dav`; empty or `/` for the whole server.
    Raises:
        BadRequest: empty or malformed, or with a fragment (400).
        PathTooLong: as for `parse` (414).
        OtherServer: another host, or this host outside the mount (502).
    """
    value = header.strip(" \t")
    if "#" in value:
        raise BadRequest("Destination has a fragment; send # as %23")
    target = value
    if absolute := _ABSOLUTE.fullmatch(value):
        their_scheme, authority, rest = absolute.groups()
        if not _is_this_server(their_scheme.lower(), authority, scheme, host):
            raise OtherServer
        target = rest if rest.startswith("/") else f"/{rest}"
    elif value.startswith("//") or not value.startswith("/"):
        # `//` begins an authority, and without a slash it is relative (RFC 3986 §4.2); RFC 4918 §8.3 allows
        # neither.
        raise BadRequest("Destination must be an absolute URI or an absolute path")
    path, has_trailing_slash = parse(target)
    base = tuple(name for name in mount.split("/") if name)
    if path[: len(base)] != base:
        raise OtherServer("The destination is outside this WebDAV tree")
    return path[len(base) :], has_trailing_slash


def _name(segment: str) -> str:
    if "%" in segment or not segment.isascii():
        segment = _decoded(segment)
    return _checked(segment)


def _checked(segment: str) -> str:
    if segment in (".", ".."):
        raise BadRequest("A path must not hold . or ..")
    if _FORBIDDEN.search(segment) is not None:
        raise BadRequest("A name holds a character that it must not hold")
    return segment


def _decoded(segment: str) -> str:
    if _BAD_ESCAPE.search(segment) is not None:
        raise BadRequest("The path holds a % that is not followed by two hexadecimal digits")
    try:
        name = unquote_to_bytes(segment.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise BadRequest("The path is not UTF-8") from None
    if "/" in name:
        raise BadRequest("A name must not hold a slash")
    return name


def _check_length(path: Path) -> None:
    lengths = [_length(stored(name)) for name in path]
    if max(lengths, default=0) > MAX_NAME or sum(lengths) + len(lengths) > MAX_PATH:
        raise PathTooLong


def _length(name: str) -> int:
    return len(name.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=16384)
def _quoted(name: str) -> str:
    # An undecodable name is not visible; should one get here, its bytes are encoded as they are.
    return percent_encode(name, safe=_SAFE, errors="surrogateescape")


def _is_this_server(their_scheme: str, authority: str, scheme: str, host: str) -> bool:
    theirs = _host_and_port(authority.rpartition("@")[2])
    if theirs is None:
        raise BadRequest("Destination names no host")
    ours = _host_and_port(host)  # None for an HTTP/1.0 request, which cannot say which server it means
    if ours is None or their_scheme not in _DEFAULT_PORT:
        return False
    their_default = _DEFAULT_PORT[their_scheme]
    our_ports = {their_default, _DEFAULT_PORT.get(scheme)} if ours[1] is None else {ours[1]}
    return theirs[0] == ours[0] and (their_default if theirs[1] is None else theirs[1]) in our_ports


def _host_and_port(authority: str) -> tuple[str, int | None] | None:
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return None
    name, port = found.groups()
    return name.lower(), int(port) if port else None
