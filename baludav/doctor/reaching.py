"""Getting there: encryption, sign-in, the clock, and what the server says of itself."""

import ipaddress
import json
import time
from email.utils import mktime_tz, parsedate_tz
from urllib.parse import urlsplit

from baludav.doctor.finding import Ill, Lacking
from baludav.doctor.visit import Visit
from baludav.doctor.wire import Answer

_DAY = 86_400


def encryption(visit: Visit) -> str:
    """TLS, unless nobody else is on the way; a certificate that holds for a while."""
    address = visit.client.address
    if address.scheme == "http":
        if _is_here(address.host):
            return "none, and none is needed: the address is this machine's own"
        raise Ill(
            "none: everyone on the way can read the passwords, and Windows sends none",
            "baludav: BALUDAV_TLS=self-signed, or a certificate in wsgidav.yaml, or a proxy with TLS before it",
        )
    version, until = visit.client.tls()
    days = int((until - time.time()) / _DAY)
    date = time.strftime("%Y-%m-%d", time.gmtime(until))
    if days < 7:
        raise Ill(f"{version}, but the certificate ends in {days} days", "renew the certificate and reload the server")
    return f"{version}, with a certificate that is valid until {date}"


def sign_in(visit: Visit) -> str:
    """A client without credentials is asked for them by Basic (RFC 7617), here and not on a page."""
    address = visit.client.address
    answer = visit.client.stranger("PROPFIND", address.path, Depth="0")
    if 300 <= answer.status < 400:
        raise Ill(
            f"who has not signed in is sent to a page ({answer.field('Location')}); only browsers can sign in there",
            "let the proxy pass requests on to the server, which asks for the password itself",
        )
    if answer.status < 300:
        raise Ill("no password is asked for: everyone who finds the address can read the files")
    if answer.status != 401:
        raise Ill(
            f"who has not signed in gets {answer.status} instead of 401, so no client asks for a password",
            "let the proxy pass PROPFIND on without credentials",
        )
    challenge = answer.field("WWW-Authenticate")
    if "basic" not in challenge.lower():
        if visit.is_baludav or not challenge:
            raise Ill(
                "the field WWW-Authenticate is lost, so no client asks for a password",
                *visit.proxy.answered("WWW-Authenticate"),
            )
        raise Lacking("Basic is not offered; some apps know nothing else", "offer Basic beside it, over TLS")
    return "asked for, by Basic"


def clock(visit: Visit) -> str:
    """`Date` is there and right: sync clients and locks go by it."""
    said = parsedate_tz(visit.options.field("Date"))
    if said is None:
        raise Ill(
            "answers carry no `Date`, which sync clients require",
            *visit.proxy.answered("Date"),
        )
    apart = round(mktime_tz(said) - time.time())
    if abs(apart) > 60:
        raise Ill(
            f"the server's is {abs(apart)} seconds {'ahead of' if apart > 0 else 'behind'} this machine's: "
            "edits look older or newer than they are",
            "on the machine whose clock is wrong: timedatectl set-ntp true",
        )
    return "as this machine's"


def announcement(visit: Visit) -> str:
    """OPTIONS says what clients look for before they mount."""
    if not visit.dav:
        raise Ill(
            f"OPTIONS is answered {visit.options.status} without the field DAV: no system takes this for WebDAV",
            *visit.proxy.lines(
                "take out `if ($request_method = OPTIONS)` and `proxy_hide_header DAV;`",
                "take out what answers OPTIONS, and `Header unset DAV`",
                "take out `method OPTIONS` and `header -DAV`",
            ),
        )
    if not visit.options.field("MS-Author-Via"):
        if visit.is_baludav:
            raise Ill(
                "the field MS-Author-Via is lost on its way; Windows and Office may not connect",
                *visit.proxy.answered("MS-Author-Via"),
            )  # fmt: skip
        raise Lacking("no MS-Author-Via, by which Windows and Office know that they may write")
    if "2" not in visit.dav:
        raise Lacking("class 1 only: macOS mounts it read-only, and nobody is kept from overwriting others")
    return f"WebDAV class {', '.join(sorted(token for token in visit.dav if token.isdigit()))}"


def redirects(visit: Visit) -> str:
    """The address without its last slash leads to the same place, and so does `.well-known` (RFC 8615)."""
    address = visit.client.address
    bare = address.path.rstrip("/")
    if bare:
        answer = visit.client("PROPFIND", bare, Depth="0")
        if answer.status != 207 and not _is_redirect(answer):
            raise Ill(
                f"{bare} without the last slash is answered {answer.status}",
                *visit.proxy.lines(
                    f"write `location {bare}` without the slash at its end, or better `location /`",
                    f"write `<Location {bare}>` without the slash at its end",
                    "handle the path without the slash as well",
                ),
            )
        _require_here(visit, answer, "the address without its last slash")
    if visit.is_baludav:
        answer = visit.client.stranger("GET", "/.well-known/webdav")
        if not _is_redirect(answer):
            raise Ill(f"/.well-known/webdav is answered {answer.status}", *visit.proxy.everything())
        _require_here(visit, answer, "/.well-known/webdav")
    return "lead where they should"


def _is_redirect(answer: Answer) -> bool:
    return 300 <= answer.status < 400


def _require_here(visit: Visit, answer: Answer, what: str) -> None:
    """A redirect stays with the scheme, host and port that clients come from."""
    address = visit.client.address
    to = urlsplit(answer.field("Location"))
    if to.netloc and (to.scheme, to.netloc) != (address.scheme, address.netloc):
        raise Ill(
            f"{what} leads to {to.scheme}://{to.netloc}, which is not where clients come from",
            *visit.proxy.address(),
        )


def own_address(visit: Visit) -> str:
    """The server knows what it is called outside: Nextcloud's apps are sent to a page there."""
    answer = visit.client.stranger("POST", "/index.php/login/v2", b"")
    try:
        told = urlsplit(str(json.loads(answer.body)["login"]))
    except (ValueError, KeyError, TypeError):
        raise Ill(
            f"/index.php/login/v2 is answered {answer.status}: apps of Nextcloud cannot sign in",
            *visit.proxy.everything(),
        ) from None  # fmt: skip
    address = visit.client.address
    if (told.scheme, told.netloc) != (address.scheme, address.netloc):
        raise Ill(
            f"the server takes itself for {told.scheme}://{told.netloc}, where it sends apps to sign in",
            *visit.proxy.address(),
            "baludav: trusted_proxies: [address of the proxy]",
        )
    return "the server knows it"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
