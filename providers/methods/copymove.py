"""COPY and MOVE (RFC 4918 §9.8, §9.9)."""

from baludav.errors import BadRequest, Locked
from baludav.tree.paths import Path
from baludav.tree.writing import Written
from providers.methods.collections import member_locked
from providers.request import Answer, Request, parse_mtime


def copy(request: Request) -> Answer:
    """Answer COPY."""
    is_infinite = request.depth("infinity", ("0", "infinity")) == "infinity"
    target = request.destination()
    request.require_collection_name()
    try:
        written = request.user.copy(
            request.path, target, request.terms, overwrite=request.overwrites, is_infinite=is_infinite
        )
    except Locked as failure:
        return member_locked(request, target, failure)
    return _answer(request, target, written)


def move(request: Request) -> Answer:
    """Answer MOVE."""
    if request.depth("infinity", ("0", "infinity")) != "infinity" and request.look().is_collection:
        raise BadRequest("A collection moves with all its members; Depth must be infinity")
    target = request.destination()
    request.require_collection_name()
    try:
        written = request.user.move(request.path, target, request.terms, overwrite=request.overwrites)
    except Locked as failure:
        is_source = failure.lock_root[: len(request.path)] == request.path
        return member_locked(request, request.path if is_source else target, failure)
    return _answer(request, target, written)


def _answer(request: Request, target: Path, written: Written) -> Answer:
    headers = request.about(written.resource)
    modified_ns = parse_mtime(request.environ)
    if modified_ns is not None and not written.resource.is_collection:
        try:
            request.user.patch(target, request.submitted, {}, modified_ns=modified_ns)
            headers.append(("X-OC-Mtime", "accepted"))
        except Locked:
            pass  # the copy is there; only its time could not be set
    if written.is_created:
        location = request.href(target, is_collection=written.resource.is_collection)
        headers += [("Location", location), ("Content-Length", "0")]
    return Answer(201 if written.is_created else 204, headers)
