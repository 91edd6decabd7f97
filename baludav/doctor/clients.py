"""What each client does first, and how it saves: its own requests in its own order, up to the first that fails."""

import json
from collections.abc import Callable
from urllib.parse import quote

from baludav.doctor.finding import Ill, Lacking
from baludav.doctor.multistatus import DAV, OC, asking, properties, refused, responses
from baludav.doctor.visit import Visit
from baludav.doctor.wire import Answer

_MADE = (200, 201, 204)
_WIN32 = (
    b'<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:">'
    b"<D:set><D:prop><Z:Win32CreationTime>Mon, 02 Jan 2012 03:04:05 GMT</Z:Win32CreationTime>"
    b"<Z:Win32LastAccessTime>Tue, 03 Jan 2012 10:00:00 GMT</Z:Win32LastAccessTime>"
    b"<Z:Win32LastModifiedTime>Thu, 05 Jul 2012 06:07:08 GMT</Z:Win32LastModifiedTime>"
    b"<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>"
)
_ENDED = "<opaquelocktoken:b4ed0c1e-0000-4000-8000-000000000000>"  # of a lock that is no more
_LAST_MODIFIED = (
    b'<?xml version="1.0" encoding="UTF-8"?><D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>'
    b'<S:lastmodified xmlns:S="SAR:">Thu, 05 Jul 2012 06:07:08 GMT</S:lastmodified></D:prop></D:set></D:propertyupdate>'
)
_QUOTA = asking(f"{DAV}quota-available-bytes", f"{DAV}quota-used-bytes", f"{DAV}quota", f"{DAV}quotaused")


def windows(visit: Visit) -> str:
    """Explorer: asks every folder from the root down, then PUT of nothing, LOCK without Depth, PROPPATCH of times."""
    said = {"User_Agent": "Microsoft-WebDAV-MiniRedir/10.0.22631", "Translate": "f"}
    client, path = visit.client, visit.client.address.path
    for target in dict.fromkeys(("/", path.rstrip("/") or "/", path)):
        _step(client("OPTIONS", target, **said), f"OPTIONS {target}", 200, 204)
        answer = client("PROPFIND", target, b"", Depth="0", **said)
        if answer.status not in (207, 301, 302, 307, 308):
            raise Ill(
                f"PROPFIND {target} is answered {answer.status}, so Explorer gives up before it comes to {path}",
                *visit.proxy.lines(
                    "pass on `/` too, and write `location` without a slash at the end", "pass on `/` too",
                    "pass on `/` too",
                ),
            )  # fmt: skip
    name = "windows.docx"
    _step(visit("PROPFIND", name, b"", Depth="0", **said), "PROPFIND of what is not there", 404)
    _step(visit.put(name, b"", **said), "PUT of an empty file", *_MADE)
    answer, token = visit.lock(name, **said)
    _step(answer, "LOCK without Depth", 200, 201)
    held = f"(<{token}>)"
    _set(visit("PROPPATCH", name, _WIN32, If=held, **said), "PROPPATCH of times")
    _step(visit.put(name, b"document" * 999, If=held, **said), "PUT under its lock", *_MADE)
    _set(visit("PROPPATCH", name, _WIN32, If=held, **said), "PROPPATCH of times")
    _step(visit.unlock(name, token), "UNLOCK", 204)
    _whole(visit, name, b"document" * 999)
    return "mounts, saves and keeps times"


def office(visit: Visit) -> str:
    """Word and Excel on a web address: LOCK, HEAD, PUT, UNLOCK; no dot in the path."""
    name = "office.docx"
    if "." in visit.client.address.path:
        raise Lacking("opens documents read-only, as there is a dot in the path of the address")
    said = {"User_Agent": "Microsoft Office Word 2014"}
    visit.put(name, b"old")
    answer, token = visit.lock(name, **said)
    _step(answer, "LOCK", 200)
    _step(visit("HEAD", name, **said), "HEAD", 200)
    _step(visit.put(name, b"new document", If=f"(<{token}>)", **said), "PUT under its lock", *_MADE)
    refreshed = visit("LOCK", name, If=f"(<{token}>)", Timeout="Second-3600", **said)
    _step(refreshed, "LOCK that asks for more time", 200)
    _step(visit.unlock(name, token), "UNLOCK", 204)
    _whole(visit, name, b"new document")
    return "opens, locks and saves"


def finder(visit: Visit) -> str:
    """macOS: class 2; a file is made empty, locked, and sent in chunks."""
    said = {"User_Agent": "WebDAVFS/3.0.0 (03008000) Darwin/24.4.0 (arm64)"}
    if "2" not in visit.dav:
        raise Lacking("mounts read-only, as the server has no locks")
    name, body = "finder.pages", b"what is written on a Mac" * 5000
    _step(visit("PROPFIND", "._.", b"", Depth="0", **said), "PROPFIND of `._.`", 404)
    for response in responses(visit("PROPFIND", "", _QUOTA, Depth="0", **said)):
        if f"{DAV}quota-available-bytes" in properties(response):
            raise Lacking(
                "macOS 15.4 and later may wait a minute at mounting, as the quota is told where old names ask too"
            )
    _step(visit.put(name, b"", **said), "PUT of an empty file", *_MADE)
    answer, token = visit.lock(name, Depth="0", **said)
    _step(answer, "LOCK", 200)
    target = visit.folder.target(name)
    pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    sent = visit.client("PUT", target, pieces, If=f"(<{token}>)", X_Expected_Entity_Length=str(len(body)), **said)
    _step(sent, "PUT in chunks under its lock", *_MADE)
    _step(visit.unlock(name, token), "UNLOCK", 204)
    _whole(visit, name, body)
    return "mounts writable, and saves"


def gnome(visit: Visit) -> str:
    """Files: OPTIONS, whole uploads, MOVE that must not overwrite."""
    said = {"User_Agent": "gvfs/1.50.3"}
    _step(visit("OPTIONS", "", **said), "OPTIONS", 200, 204)
    visit.put("gnome 1.txt", b"1", **said)
    visit.put("gnome 2.txt", b"2", **said)
    taken = visit("MOVE", "gnome 1.txt", Destination=visit.folder.url("gnome 2.txt"), Overwrite="F", **said)
    _step(taken, "MOVE onto a name that is taken", 412)
    _step(visit("MKCOL", "gnome 2.txt", **said), "MKCOL of a name that is taken", 405)
    _whole(visit, "gnome 2.txt", b"2")
    return "mounts, saves, and does not overwrite"


def davfs2(visit: Visit) -> str:
    """A folder of Linux: LOCK of a new name, PUT under it, by which the next one is protected."""
    said = {"User_Agent": "davfs2/1.6.1 neon/0.32.2"}
    if "2" not in visit.dav:
        raise Lacking("has to be told `use_locks 0`, as the server has no locks")
    name = "davfs2.txt"
    answer, token = visit.lock(name, Depth="0", **said)
    _step(answer, "LOCK of a name that is not there", 200, 201)
    for body in (b"first", b"second"):
        _step(visit.put(name, body, If=f"(<{token}>)", **said), "PUT under its lock", *_MADE)
    _step(visit.unlock(name, token), "UNLOCK", 204)
    _whole(visit, name, b"second")
    return "locks, saves and saves again"


def cyberduck(visit: Visit) -> str:
    """Uploads, then sets the time by a property of its own."""
    said = {"User_Agent": "Cyberduck/9.1.0.42000 (Mac OS X/15.4) (aarch64)"}
    visit.put("cyberduck.txt", b"bytes", **said)
    try:
        _set(visit("PROPPATCH", "cyberduck.txt", _LAST_MODIFIED, **said), "PROPPATCH of the time")
    except Ill as ill:  # it goes on without
        raise (Ill if visit.is_baludav else Lacking)(f"keeps no times: {ill.said}") from ill
    _step(
        visit("UNLOCK", "cyberduck.txt", Lock_Token=_ENDED, **said),
        "UNLOCK",
        204,
        400,
        409,
        412,
    )
    return "uploads and keeps times"


def rclone(visit: Visit) -> str:
    """Vendor `owncloud`: times and hashes."""
    said = {"User_Agent": "rclone/v1.75.2"}
    answer = visit.put("rclone.txt", b"bytes", X_OC_Mtime="1341468428", **said)
    _step(answer, "PUT", *_MADE)
    sums = visit.ask("rclone.txt", f"{OC}checksums").get(f"{OC}checksums", "")
    if answer.field("X-OC-MTime") != "accepted" or not sums:
        lost = " and ".join(
            what
            for what, is_lost in (("times", answer.field("X-OC-MTime") != "accepted"), ("hashes", not sums))
            if is_lost
        )
        if visit.is_baludav:
            raise Ill(
                f"has no {lost}: a field or property is lost on its way",
                *visit.proxy.answered("X-OC-MTime"),
            )
        raise Lacking(f"has no {lost}: a change that keeps the size is not seen (choose vendor=other)")
    return "sees times and hashes"


def nextcloud(visit: Visit) -> str:
    """The desktop client: status.php, capabilities, user, its tree, and an upload in chunks that are put together."""
    said = {"User_Agent": "Mozilla/5.0 (Linux) mirall/3.7.3git (Nextcloud)"}
    client = visit.client
    status = client.stranger("GET", "/status.php", **said)
    if status.status != 200:
        if visit.is_baludav:
            raise Ill(f"/status.php is answered {status.status}", *visit.proxy.everything())
        raise Lacking("its clients and those of ownCloud cannot use this server")
    capabilities = client("GET", "/ocs/v1.php/cloud/capabilities?format=json", OCS_APIREQUEST="true", **said)
    _step(capabilities, "/ocs/v1.php/cloud/capabilities", 200)
    signed_in = client("GET", "/ocs/v1.php/cloud/user?format=json", OCS_APIREQUEST="true", **said)
    _step(signed_in, "/ocs/v1.php/cloud/user", 200)
    user = quote(str(json.loads(signed_in.body)["ocs"]["data"]["id"]), safe="")
    top = f"/remote.php/dav/files/{user}"
    listed = client("PROPFIND", f"{top}/", asking(f"{DAV}getetag", f"{OC}id", f"{OC}permissions"), Depth="0", **said)
    _step(listed, f"PROPFIND of {top}/", 207)
    if listed.field("Content-Type") != "application/xml; charset=utf-8":
        raise Ill(f"listings come as {listed.field('Content-Type')!r} instead of 'application/xml; charset=utf-8'")
    for response in responses(listed):
        if {f"{DAV}getetag", f"{OC}id", f"{OC}permissions"} - properties(response).keys():
            raise Ill("listings are without entity-tag, id or permissions")
    _in_chunks(visit, f"/remote.php/dav/uploads/{user}/{visit.folder.name}", top, said)
    return "connects, lists and uploads in chunks"


def _in_chunks(visit: Visit, upload: str, top: str, said: dict[str, str]) -> None:
    client = visit.client
    address = client.address.path
    inside = address.removeprefix("/dav").removeprefix(top).lstrip("/") if address.startswith(("/dav/", top)) else ""
    final = f"{top}/{inside}{visit.folder.name}/nextcloud.txt"
    try:
        _step(client("MKCOL", upload, OC_Total_Length="10", **said), "MKCOL of an upload", 201)
        for number, piece in enumerate((b"chunk", b"chunk")):
            _step(client("PUT", f"{upload}/{number:016}", piece, **said), "PUT of a chunk", 201, 204)
        made = client(
            "MOVE", f"{upload}/.file", Destination=final, OC_Total_Length="10", X_OC_Mtime="1341468428", **said
        )
        _step(made, "MOVE that puts the chunks together", 201, 204)
    except BaseException:
        client("DELETE", upload)
        raise
    if not (made.field("ETag") or made.field("OC-ETag")) or not made.field("OC-FileId"):
        raise Ill(
            "the fields ETag and OC-FileId are lost on their way: uploads count as failed",
            *visit.proxy.answered("OC-FileId"),
        )


CLIENTS: tuple[tuple[str, Callable[[Visit], str]], ...] = (
    ("Windows Explorer", windows),
    ("Microsoft Office", office),
    ("macOS Finder", finder),
    ("GNOME Files", gnome),
    ("davfs2", davfs2),
    ("Cyberduck", cyberduck),
    ("rclone", rclone),
    ("Nextcloud apps", nextcloud),
)


def _step(answer: Answer, what: str, *expected: int) -> None:
    if answer.status not in expected:
        raise Ill(f"{what} is answered {answer.status} instead of {' or '.join(map(str, expected))}")


def _set(answer: Answer, what: str) -> None:
    """Every property of a PROPPATCH was set: some clients show an error for anything but 200."""
    _step(answer, what, 207)
    lines = [line for response in responses(answer, what) for line in refused(response)]
    if lines:
        raise Ill(f"{what} is refused in part: {lines[0]}")


def _whole(visit: Visit, name: str, body: bytes) -> None:
    found = visit("GET", name).body
    if found != body:
        raise Ill(f"{len(body)} bytes were saved, and {len(found)} are there")
