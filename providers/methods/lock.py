"""LOCK and UNLOCK (RFC 4918 §9.10, §9.11)."""

import re

from baludav.errors import BadRequest
from baludav.tree.http.preconditions import Conditions
from baludav.tree.paths import Path
from baludav.tree.reading import Terms
from baludav.tree.records.locks import Lock
from providers import bodies, xml
from providers.live import Live
from providers.request import Answer, Request

_TIMEOUT = re.compile(r"\s*Second-(\d{1,18})\s*", re.IGNORECASE)


def lock(request: Request) -> Answer:
    """Answer LOCK: a new lock, or with an empty body the refresh of one."""
    root = request.body()
    timeout = _timeout(request)
    if root is None:
        found, lock_root = request.user.refresh_lock(request.path, _refresh_terms(request), timeout=timeout)
        return _answer(request, found, lock_root, 200)
    info = bodies.parse_lockinfo(root)
    is_infinite = request.depth("infinity", ("0", "infinity")) == "infinity"
    request.require_collection_name()
    found, lock_root, is_created = request.user.lock(
        request.path,
        request.terms,
        is_exclusive=info.exclusive,
        is_infinite=is_infinite,
        owner_xml=info.owner_xml,
        timeout=timeout,
        client=request.header("User-Agent") or "",
    )
    answer = _answer(request, found, lock_root, 201 if is_created else 200)
    answer.headers.append(("Lock-Token", f"<{found.token}>"))
    return answer


def unlock(request: Request) -> Answer:
    """Answer UNLOCK. A lock that is not there (any more) is no error: the client wanted it gone."""
    token = (request.header("Lock-Token") or "").strip()
    if not token:
        raise BadRequest("The Lock-Token header is missing")
    token = token.removeprefix("<").removesuffix(">")  # some clients leave the brackets out
    request.user.check_if(request.path, request.terms)
    request.user.unlock(request.path, token)
    return Answer(204, [])


def _timeout(request: Request) -> int:
    """Seconds to grant (RFC 4918 §10.7): what the client prefers, no more than the server allows."""
    most = request.house.config.settings.limits.lock_seconds
    for wish in (request.header("Timeout") or "").split(","):
        if wish.strip().lower() == "infinite":
            return most
        match = _TIMEOUT.fullmatch(wish)
        if match:
            return max(1, min(int(match[1]), most))
    return most


def _refresh_terms(request: Request) -> Terms:
    """The token of a refresh comes in `If`; some clients send `Lock-Token` instead."""
    token = (request.header("Lock-Token") or "").strip().removeprefix("<").removesuffix(">")
    if request.terms.tokens or not token:
        return request.terms
    return Terms(Conditions.parse({"HTTP_IF": f"(<{token}>)"}), lambda tag: None)


def _answer(request: Request, found: Lock, lock_root: Path, status: int) -> Answer:
    active = Live(request).active_lock(found, lock_root)
    body = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<D:prop xmlns:D="DAV:"><D:lockdiscovery>{active}</D:lockdiscovery></D:prop>'
    ).encode()
    return Answer(status, [("Content-Type", xml.CONTENT_TYPE), ("Content-Length", str(len(body)))], [body])
