"""PATCH (RFC 5789): SabreDAV's partial update, and the wish of rclone for a hash."""

from baludav.errors import UnsupportedMediaType
from baludav.tree.http.digests import parse_digest
from baludav.tree.http.updates import parse_update
from baludav.tree.records.checksums import ALGORITHMS
from providers.methods.options import PARTIAL_UPDATE
from providers.methods.put import answer_of, body_length, receive, require_plain_body
from providers.request import Answer, Request, parse_mtime


def handle(request: Request) -> Answer:
    """Answer PATCH."""
    kind = request.environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind == PARTIAL_UPDATE:
        return _update(request)
    answer = _hash(request)
    if answer is None:
        accepted = ("Accept-Patch", PARTIAL_UPDATE)
        raise UnsupportedMediaType(f"Only {PARTIAL_UPDATE} is understood", headers=(accepted,))
    return answer


def _update(request: Request) -> Answer:
    """Replace the bytes that `X-Update-Range` names by those of the body."""
    if request.names_collection:
        request.look()
    require_plain_body(request.environ)
    update = parse_update(request.header("X-Update-Range"))
    length = body_length(request.environ)
    # Of the body; what the whole then has is nothing that a client could know.
    announced = {
        algorithm.replace("-", ""): digest.hex()
        for algorithm, digest in parse_digest(request.header("Content-Digest") or "").items()
    }
    upload = request.user.open_patch(request.path, request.terms, update, length=length, announced=announced)
    with upload:
        receive(request, upload, length)
        written = upload.commit(modified_ns=parse_mtime(request.environ))
    return answer_of(request, request.path, written)


def _hash(request: Request) -> Answer | None:
    """The hash that `X-Recalculate-Hash` names (rclone asks so for one that a listing did not have)."""
    name = (request.header("X-Recalculate-Hash") or "").strip().lower()
    if name not in ("sha256", *ALGORITHMS):
        return None
    resource = request.look()
    found = request.user.checksums([resource], is_complete=True).get(resource.sha256 or "", {})
    value = resource.sha256 if name == "sha256" else found.get(name)
    return None if value is None else Answer(204, [("OC-Checksum", f"{name.upper()}:{value}")])
