"""Files: entity-tags, conditions, ranges, names, properties, locks, moving."""

import time
from unicodedata import normalize
from urllib.parse import unquote

from baludav.doctor.finding import Ill, Lacking
from baludav.doctor.multistatus import DAV, asking, properties, refused, responses
from baludav.doctor.visit import Visit

_PAGE = b"<p>what compresses well</p>\n" * 2000
_NAMES = (
    "with blank & ampersand.txt",
    "100% #1 a+b.txt",
    normalize("NFC", "Übersicht, straße.txt"),
    "it's [x]; y=z.txt",
)
_SETTLE_SECONDS = 3


def entity_tags(visit: Visit) -> str:
    """One and the same in every answer, whether or not its body is compressed (RFC 9110 §8.8.3)."""
    name = "entity-tag.html"
    visit.put(name, _PAGE)
    told = _settled(visit, name)
    if not told:
        raise _no_tags(visit)
    packed = visit("GET", name, Accept_Encoding="gzip, br, deflate")
    seen = {
        "HEAD": told,
        "GET": visit("GET", name, Accept_Encoding="identity").field("ETag"),
        "GET of compressed bytes": packed.field("ETag"),
        "PROPFIND": visit.ask(name, f"{DAV}getetag").get(f"{DAV}getetag", ""),
    }
    bare = {way: tag.removeprefix("W/").strip('"') for way, tag in seen.items()}
    if packed.field("Content-Encoding") and seen["GET of compressed bytes"] != told:
        was, now = told, packed.field("ETag") or "nothing"
        raise Ill(
            f"altered by compression: {_short(was)} becomes {_short(now)}. Sync clients load files again and again",
            *visit.proxy.lines(
                "gzip off;  (and brotli off;)", "SetEnv no-gzip 1  and  SetEnv no-brotli 1", "take out `encode`"
            ),
        )
    missing = [way for way, tag in seen.items() if not tag]
    if missing:
        raise Ill(
            f"lost on the way of {', '.join(missing)}",
            *visit.proxy.answered("ETag"),
        )
    if len(set(bare.values())) > 1:
        raise Ill("they differ: " + ", ".join(f"{way} {_short(tag)}" for way, tag in seen.items()))
    if any(not tag.removeprefix("W/").startswith('"') for tag in seen.values()):
        raise Lacking("not in quotes everywhere, which strict clients refuse")
    if any(tag.startswith("W/") for tag in seen.values()):
        raise (Ill if visit.is_baludav else Lacking)(
            f"weak ({_short(told)}): no client can protect its uploads by them",
            *visit.proxy.lines("gzip off;", "SetEnv no-gzip 1", "take out `encode`"),
        )
    return "the same in every answer"


def fresh_tags(visit: Visit) -> str:
    """Strong from the first moment: davfs2 and GNOME write again within a second."""
    name = "fresh.txt"
    visit.put(name)
    told = visit("HEAD", name).field("ETag")
    if not told or told.startswith("W/"):
        raise (Ill if visit.is_baludav else Lacking)(
            "weak just after a write: davfs2 and GNOME may refuse to save twice"
        )
    return "strong from the first moment"


def lost_updates(visit: Visit) -> str:
    """Conditions are kept (RFC 9110 §13.1): who comes too late does not overwrite."""
    name = "conditions.txt"
    visit.put(name, b"old")
    told = _settled(visit, name)
    if not told:
        raise _no_tags(visit)
    advice = visit.proxy.lines(
        "take out `proxy_set_header If-Match` and `If-None-Match`", "take out `RequestHeader unset If-Match`"
    )
    for fields, what in (({"If_None_Match": "*"}, "If-None-Match: *"), ({"If_Match": '"another"'}, "If-Match")):
        answer = visit.put(name, b"lost update", **fields)
        if answer.status != 412:
            raise Ill(
                f"{what} is ignored ({answer.status} instead of 412): people overwrite each other's edits", *advice
            )
    answer = visit.put(name, b"new", If_Match=told)
    if answer.status not in (200, 201, 204):
        raise (Lacking if told.startswith("W/") else Ill)(
            f"If-Match with the right entity-tag is answered {answer.status}: clients cannot save", *advice
        )
    return "who comes too late does not overwrite"


def ranges(visit: Visit) -> str:
    """Parts of a file (RFC 9110 §14), by which downloads are resumed and films wound on."""
    visit.put("ranges.bin", bytes(range(256)) * 40)
    answer = visit("GET", "ranges.bin", Range="bytes=256-511")
    if answer.status == 206 and answer.body == bytes(range(256)):
        return "parts of files can be had"
    raise Ill(
        f"a part of a file is answered {answer.status} with {len(answer.body)} bytes: downloads start anew, and films "
        "cannot be wound on",
        *visit.proxy.asked("Range"),
    )


def names(visit: Visit) -> str:
    """What people call their files comes back as it was sent."""
    visit("MKCOL", "names/")
    for name in _NAMES:
        answer = visit.put(f"names/{name}", name.encode())
        if answer.status not in (201, 204):
            raise _bad_name(visit, name, f"is answered {answer.status}")
        if visit("GET", f"names/{name}").body != name.encode():
            raise _bad_name(visit, name, "leads to another file")
    listed = responses(visit("PROPFIND", "names/", asking(f"{DAV}resourcetype"), Depth="1"))
    hrefs = [unquote(response.findtext(f"{DAV}href", "")).rstrip("/") for response in listed]
    there = {normalize("NFC", href.rpartition("/")[2]) for href in hrefs}
    for name in _NAMES:
        if name not in there:
            raise _bad_name(visit, name, "has another name in the listing")
    return "blanks, %, #, +, ;, umlauts arrive as they are"


def moving(visit: Visit) -> str:
    """MOVE and COPY with the address in Destination that the client knows (RFC 4918 §10.3)."""
    visit.put("moved.txt")
    for method, source, to in (("COPY", "moved.txt", "copy 1.txt"), ("MOVE", "copy 1.txt", "copy 2.txt")):
        whole = visit(method, source, Destination=visit.folder.url(to), Overwrite="F")
        if whole.status != 201:
            path = visit(method, source, Destination=visit.folder.target(to), Overwrite="F")
            raise _no_move(visit, method, whole.status, is_address=path.status == 201)
    if visit("GET", "copy 1.txt").status != 404 or visit("GET", "copy 2.txt").body != b"bytes":
        raise Ill("MOVE is answered 201, but the file is not where it should be")
    return "renaming and copying find their way"


def attributes(visit: Visit) -> str:
    """PROPPATCH of what a program wants to keep beside a file (RFC 4918 §9.2)."""
    visit.put("properties.txt")
    body = (
        b'<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x:mark xmlns:x="urn:baludav:doctor">'
        b"kept &amp; sound</x:mark></D:prop></D:set></D:propertyupdate>"
    )
    answer = visit("PROPPATCH", "properties.txt", body)
    if answer.status == 207 and not any(refused(response) for response in responses(answer, "PROPPATCH")):
        if visit.ask("properties.txt", "{urn:baludav:doctor}mark").get("{urn:baludav:doctor}mark") == "kept & sound":
            return "kept"
        raise Ill("PROPPATCH succeeds, but what it set is not there afterwards")
    raise (Ill if visit.is_baludav else Lacking)(
        f"not kept (PROPPATCH is answered {answer.status}): times and attributes of Windows are lost"
    )


def locks(visit: Visit) -> str:
    """A lock keeps others out, can be refreshed, and given back (RFC 4918 §6, §7)."""
    if "2" not in visit.dav:
        raise Lacking("none: nobody is kept from overwriting what another has open")
    answer, token = visit.lock("locked.txt", Depth="0")
    if answer.status not in (200, 201) or not token:
        raise Ill(
            f"LOCK is answered {answer.status}{'' if token else ' without a token'}: macOS and Office cannot save"
        )
    if visit.put("locked.txt", b"of another program").status != 423:
        raise Ill("a lock keeps nobody out")
    if visit.put("locked.txt", b"mine", If=f"(<{token}>)").status not in (200, 201, 204):
        raise Ill(
            "who holds the lock cannot save: the field `If` is lost",
            *visit.proxy.asked("If"),
        )
    refreshed = visit("LOCK", "locked.txt", If=f"(<{token}>)", Timeout="Second-600")
    if refreshed.status != 200:
        raise Ill(f"a lock cannot be refreshed ({refreshed.status}): it ends while a document is open")
    given_back = visit.unlock("locked.txt", token)
    if given_back.status != 204:
        raise Ill(
            f"UNLOCK is answered {given_back.status}: files stay locked",
            *visit.proxy.asked("Lock-Token"),
        )
    return "they keep others out, and can be given back"


def free_space(visit: Visit) -> str:
    """Quota properties (RFC 4331), which file managers show as the size of the drive."""
    path = visit.client.address.path
    answer = visit.client("PROPFIND", path, asking(f"{DAV}quota-available-bytes", f"{DAV}quota-used-bytes"), Depth="0")
    for response in responses(answer):
        if f"{DAV}quota-available-bytes" in properties(response):
            return "told"
    raise (Ill if visit.is_baludav else Lacking)("not told: Explorer and Finder show a size that is not so")


def _settled(visit: Visit, name: str) -> str:
    """The entity-tag, once it is strong or nothing more is to be waited for."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        told = visit("HEAD", name).field("ETag")
        if not told.startswith("W/") or time.monotonic() > deadline:
            return told
        time.sleep(0.25)


def _no_tags(visit: Visit) -> Ill:
    kind = Ill if visit.is_baludav else Lacking
    return kind(
        "there are none: no client can see a change, or protect its uploads",
        *visit.proxy.answered("ETag"),
    )


def _bad_name(visit: Visit, name: str, what: str) -> Ill:
    return Ill(
        f"{name!r} {what}",
        *visit.proxy.lines(
            "write `proxy_pass http://HOST:PORT;` without a slash or path at its end",
            "AllowEncodedSlashes NoDecode  and `nocanon` behind ProxyPass",
            "take out `uri` and `rewrite`",
        ),
    )


def _no_move(visit: Visit, method: str, status: int, *, is_address: bool) -> Ill:
    if not is_address:
        return Ill(f"{method} is answered {status}: files cannot be renamed")
    origin = visit.client.address.origin
    scheme = visit.client.address.scheme
    edit = f"RequestHeader edit Destination ^{scheme}://{visit.client.address.netloc} http://BACKEND early"
    return Ill(
        f"{method} to {origin}/... is answered {status}: behind the proxy the server does not know this address",
        *visit.proxy.lines(
            "proxy_set_header Host $http_host;  proxy_set_header X-Forwarded-Proto $scheme;",
            f"ProxyPreserveHost On, or for a server that minds the scheme: {edit}",
            "take out `header_up Host`",
        ),
    )


def _short(tag: str) -> str:
    """An entity-tag that fits into a line."""
    return tag if len(tag) <= 24 else f"{tag[:10]}…{tag[-10:]}"
