"""Uploads: chunks, Expect, size, buffers, and how long a request may take."""

import json
import os
import time
from collections.abc import Iterator
from urllib.parse import quote

from baludav.doctor.finding import Ill, Lacking
from baludav.doctor.visit import Visit
from baludav.doctor.wire import Broken

_MB = 1_000_000
_SIZES = (2 * _MB, 20 * _MB, 60 * _MB, 150 * _MB, 600 * _MB, 2200 * _MB, 4400 * _MB)
_LIMIT = {
    "nginx": "client_max_body_size 0;",
    "apache": "LimitRequestBody 0",
    "caddy": "take out `request_body { max_size ... }`",
}


def chunks(visit: Visit) -> str:
    """A body without a length, in chunks (RFC 9112 §7.1), as macOS sends them."""
    body = os.urandom(300_000)
    answer = visit.client(
        "PUT", visit.folder.target("chunked.bin"), _pieces(body), X_Expected_Entity_Length=str(len(body))
    )
    if answer.status not in (201, 204):
        raise Ill(f"refused ({answer.status}): macOS Finder saves nothing, or empty files", *visit.proxy.streaming())
    if _size(visit, "chunked.bin") != len(body):
        raise Ill(
            f"{len(body)} bytes became {_size(visit, 'chunked.bin')}: macOS Finder loses files",
            *visit.proxy.streaming(),
        )
    return "arrive whole"


def expect(visit: Visit) -> str:
    """`Expect: 100-continue` (RFC 9110 §10.1.1): curl, davfs2 and Cyberduck ask before they send."""
    body = b"asked for"
    fields = {"Expect": "100-continue", "Content-Length": str(len(body))}
    with visit.client.begin("PUT", visit.folder.target("expect.txt"), **fields) as begun:
        interim = begun.status(5)
        if interim is not None and interim != 100:
            raise Ill(
                f"a client that asks before it sends gets {interim}: curl, davfs2 and Cyberduck fail",
                *visit.proxy.lines(apache="ProxyPass ... ping=0  or  RequestHeader unset Expect early"),
            )
        final = begun.send(body).status()
        if final == 100:
            final = begun.status()
    if final not in (201, 204) or _size(visit, "expect.txt") != len(body):
        raise Ill(
            f"a client that asks before it sends ends with {final}, and {_size(visit, 'expect.txt')} bytes are there"
        )
    if interim is None:
        raise Lacking("a client that asks before it sends gets no answer until it has waited long enough (curl: 1 s)")
    return "a client that asks before it sends is answered"


def size(visit: Visit) -> str:
    """Large uploads are let in. They are only announced: the answer to `Expect` says it."""
    for size in _SIZES:
        status = _announced(visit, size)
        if status == 413:
            least = _SIZES[_SIZES.index(size) - 1] if size != _SIZES[0] else 0
            between = f"somewhere from {_shown(least)} to {_shown(size)}" if least else f"below {_shown(size)}"
            raise Ill(f"uploads are limited, {between}: larger files are refused (413)", *visit.proxy.lines(**_LIMIT))
        if status == 507:
            return f"no limit but the room: {_shown(size)} would be too much"
        if status is not None and status not in (100, 201, 204):
            raise Lacking(f"could not be seen: an upload of {_shown(size)} is answered {status} before it is sent")
    return f"{_shown(_SIZES[-1])} are let in"


def straight(visit: Visit) -> str:
    """An upload reaches the server while it is sent, and is not kept by a proxy until it is whole."""
    visit.put("straight.txt")
    half = bytes(400_000)  # below what a proxy takes without being told, above what the server waits for
    fields = {"If-None-Match": "*", "Content-Length": str(2 * len(half))}
    with visit.client.begin("PUT", visit.folder.target("straight.txt"), **fields) as begun:
        status = begun.send(half).status(3)
        if status != 412:
            raise Lacking(
                "a proxy keeps uploads until they are whole: large ones take twice as long, and may be broken off",
                *visit.proxy.lines(
                    "proxy_request_buffering off;",
                    "take out mod_buffer and `SetEnv proxy-sendcl`",
                    "take out `request_buffers`",
                ),
            )
    return "reach the server while they are sent"


def at_once(visit: Visit) -> str:
    """What the server says reaches the client at once, and is not kept until there is more."""
    with visit.client.begin("GET", "/api/sync/events") as begun:
        status = begun.status(5)
        if status == 200 and begun.has_more(b"data: ", 5):
            return "come as soon as they are made"
    if status is not None and status != 200:
        raise Ill(f"/api/sync/events is answered {status}: apps do not hear of changes", *visit.proxy.everything())
    raise Ill(
        "a proxy keeps answers until there is more: apps do not hear of changes, and large listings come late",
        *visit.proxy.lines(
            "proxy_buffering off;  and take out `proxy_ignore_headers`", "ProxyPass ... flushpackets=on",
            "flush_interval -1",
        ),
    )  # fmt: skip


def patience(visit: Visit) -> str:
    """An answer that takes long is waited for: large files are put together and copied in one request."""
    if not visit.patience:
        return "not tried, as --patience 0 asks"
    state = visit.client("GET", "/api/sync/state?limit=1")
    if state.status != 200:
        raise Ill(f"/api/sync is answered {state.status}: apps that sync cannot work", *visit.proxy.everything())
    token = _token(state.body)
    begun = time.monotonic()
    try:
        answer = visit.client("GET", f"/api/sync/changes?since={token}&wait={visit.patience}")
        status = answer.status
    except Broken:
        status = 0
    waited = time.monotonic() - begun
    if status != 200:
        raise Ill(
            f"an answer that takes {visit.patience} s is broken off after {waited:.0f} s ({status or 'closed'}): large "
            "files and folders end in errors",
            *visit.proxy.lines("proxy_read_timeout 600s;", "ProxyTimeout 600", "transport http { read_timeout 600s }"),
        )
    return f"answers may take {waited:.0f} s"


def _announced(visit: Visit, size: int) -> int | None:
    """What is said to a PUT of this size before any of it is sent."""
    fields = {"Expect": "100-continue", "Content-Length": str(size)}
    with visit.client.begin("PUT", visit.folder.target("announced.bin"), **fields) as begun:
        return begun.status(3)


def _token(body: bytes) -> str:
    return quote(str(json.loads(body)["change_token"]), safe="")


def _size(visit: Visit, name: str) -> int:
    return len(visit("GET", name).body)


def _pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


def _shown(size: int) -> str:
    return f"{size / 1_000_000_000:g} GB" if size >= 1_000_000_000 else f"{size // _MB} MB"
