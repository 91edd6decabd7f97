"""REPORT: sync-collection (RFC 6578), the changes of a collection since a token."""

from baludav.errors import BadRequest, Forbidden, TokenExpired
from baludav.tree.feed import Token
from baludav.tree.reading import Resource
from providers import bodies, xml
from providers.live import SYNC_URN
from providers.methods.propfind import Properties
from providers.request import Answer, Request

_AT_ONCE = 5000  # responses in one answer; a client goes on with the token it gets


def handle(request: Request) -> Answer:
    """Answer REPORT."""
    asked = bodies.parse_sync_collection(request.body(), request.header("Depth"))
    if (request.header("Depth") or "0").strip() not in ("0", "1", "infinity"):
        raise BadRequest("Depth must be 0 here (RFC 6578 §3.2)")
    if not request.look().is_collection:
        raise Forbidden("Only collections have changes", condition="supported-report")
    most = min(asked.limit or _AT_ONCE, _AT_ONCE)
    found, gone, token, has_more = _changes(request, asked, most)
    answer = xml.Multistatus(trailer=f"<D:sync-token>{SYNC_URN}{token}</D:sync-token>")
    for ready in Properties(request, asked.wanted).responses(found):
        answer.add(ready)
    for path, is_collection in gone:
        answer.status_response(request.href(path, is_collection=is_collection), 404)
    if has_more:
        answer.status_response(request.href(request.path, is_collection=True), 507, "number-of-matches-within-limits")
    pieces = list(answer)
    headers = [("Content-Type", xml.CONTENT_TYPE), ("Content-Length", str(sum(map(len, pieces))))]
    return Answer(207, headers, pieces)


def _changes(
    request: Request, asked: bodies.SyncCollection, most: int
) -> tuple[list[Resource], list[tuple[tuple[str, ...], bool]], Token, bool]:
    """What is there, what is gone, the token to go on with, and whether that is not all."""
    user, path, is_deep = request.user, request.path, asked.is_deep
    since = _token(asked.token) if asked.token else None
    if since is None or since.after is not None:
        listing = user.listing(most=most, path=path, after=since, is_deep=is_deep)
        return listing.resources, [], listing.next or listing.token, listing.next is not None
    page = user.changes(since, most=most, path=path, is_deep=is_deep)
    found = [change.resource for change in page.changes if change.resource is not None]
    gone = [(change.path, change.is_collection) for change in page.changes if change.resource is None]
    return found, gone, page.token, page.has_more


def _token(text: str) -> Token:
    if not text.startswith(SYNC_URN):
        raise TokenExpired()
    return Token.parse(text.removeprefix(SYNC_URN))
