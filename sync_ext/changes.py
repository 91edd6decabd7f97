"""What is there, and what changed: the whole state in pages, and the changes since a token."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType
from msgspec.json import encode

from baludav.errors import BadRequest, NotFound, TokenExpired, TooManyListeners
from baludav.tree.feed import Change, Changes
from baludav.tree.reading import Resource
from baludav.tree.tokens import Token
from sync_ext.endpoints import Call, endpoint
from sync_ext.events import LongPoll
from sync_ext.types import (
    Answer,
    Body,
    ChangeToken,
    DeviceId,
    Etag,
    PathText,
    Sha256,
    Size,
    Time,
    parsed,
    quoted,
    shown,
    time_of_ns,
)

MOST = 10_000  # resources or changes on one page
PATIENCE = 60  # seconds that an answer may wait
Cursor = Annotated[str, Meta(min_length=1, max_length=8192, description="Where a page ends; give it back for the next")]
Limit = Annotated[int, Meta(ge=1, le=MOST, description="How many one page has at most.")]


class File(Answer):
    """A file as it is now. Without `sha256` its bytes were changed outside and are still being hashed."""

    path: PathText
    size: Size
    sha256: Sha256 | None
    etag: Etag | None
    modified_at: Time


class Collection(Answer):
    """A collection; its entity-tag changes with any change below it."""

    path: PathText
    etag: Etag | None


class StateQuery(Body):
    """Which part of the state."""

    path: PathText = "/"
    limit: Limit = 1000
    cursor: Cursor | UnsetType = UNSET


class State(Answer):
    """One page of everything at or below a collection; a collection comes before its members.

    Read the pages until `next_cursor` is null, then the changes since `change_token`: together they are one
    consistent picture, whatever is written meanwhile.
    """

    files: list[File]
    collections: list[Collection]
    change_token: ChangeToken
    next_cursor: Cursor | None


class ChangesQuery(Body):
    """Since when."""

    since: ChangeToken
    limit: Limit = 1000
    wait: Annotated[int, Meta(ge=0, le=PATIENCE, description="Seconds to wait for a change, if there is none yet.")] = 0


class ChangedPath(Answer):
    """One path that changed, as it is now.

    A move is a deletion and a creation, possibly on a later page, whose `moved_from` is where the bytes may lie at the
    client already: delete last, and compare the SHA-256. What was deleted need not be known to the client. A collection
    that was deleted took along what was below it.
    """

    path: PathText
    action: Literal["created", "modified", "deleted"]
    is_collection: bool
    size: Size | None
    sha256: Sha256 | None
    etag: Etag | None
    modified_at: Time | None
    device_id: Annotated[DeviceId | None, Meta(description="Which of the user's own devices did it.")]
    moved_from: PathText | None


class ChangedPaths(Answer):
    """One page of changes, in the order in which the paths were first touched: a collection comes before its members.

    Store `change_token` after you have applied the page, and go on with it at once while `has_more` is true.
    """

    changes: list[ChangedPath]
    change_token: ChangeToken
    has_more: bool


@endpoint("GET", "/state", failures=(NotFound, TokenExpired))
def state(call: Call, query: StateQuery) -> State:
    """Everything at or below a collection, in pages."""
    after = None
    if query.cursor is not UNSET:
        after = Token.parse(query.cursor)
        if after.after is None:
            raise BadRequest("This is a change token; a cursor comes from the page before", field="cursor")
    page = call.user.listing(most=query.limit, path=parsed(query.path), after=after)
    return State(
        files=[file_of(resource) for resource in page.resources if not resource.is_collection],
        collections=[
            Collection(path=shown(resource.path), etag=quoted(resource.etag))
            for resource in page.resources
            if resource.is_collection
        ],
        change_token=str(page.token),
        next_cursor=None if page.next is None else str(page.next),
    )


@endpoint("GET", "/changes", failures=(TokenExpired, TooManyListeners))
def changes(call: Call, query: ChangesQuery) -> ChangedPaths:
    """What changed since a token, each path once and as it is now.

    With `wait`, the answer comes as soon as something changes: with what it is, or with none if the time is over
    before.
    """
    since = position(query.since, "since")
    page = call.user.changes(since, most=query.limit)
    found = _page(call, page)
    if query.wait and call.has_body and not page.changes and not page.has_more:

        def answer() -> bytes:
            return encode(_page(call, call.user.changes(since, most=query.limit)))

        call.later = LongPoll(
            call.ground.listeners, call.principal, page.token, query.wait, answer, nothing=encode(found)
        )
    return found


def _page(call: Call, page: Changes) -> ChangedPaths:
    devices = call.ground.devices.public_ids(call.principal.id)
    return ChangedPaths(
        changes=[_changed(change, devices) for change in page.changes],
        change_token=str(page.token),
        has_more=page.has_more,
    )


def position(change_token: str, field: str) -> Token:
    """The moment that a client names.

    Raises:
        TokenExpired: none of this server's.
        BadRequest: a place within the pages of a state.
    """
    token = Token.parse(change_token)
    if token.after is not None:
        raise BadRequest("This is the cursor of a state; take its change_token", field=field)
    return token


def file_of(resource: Resource) -> File:
    """A file as the API writes it."""
    return File(
        path=shown(resource.path),
        size=resource.size,
        sha256=resource.sha256,
        etag=quoted(resource.etag),
        modified_at=time_of_ns(resource.modified_ns),
    )


def _changed(change: Change, devices: dict[int, str]) -> ChangedPath:
    resource = change.resource
    file = None if resource is None or resource.is_collection else resource
    return ChangedPath(
        path=shown(change.path),
        action=change.action,  # type: ignore[arg-type]  # one of the three
        is_collection=change.is_collection,
        size=None if file is None else file.size,
        sha256=None if file is None else file.sha256,
        etag=None if resource is None else quoted(resource.etag),
        modified_at=None if file is None else time_of_ns(file.modified_ns),
        device_id=None if change.device_id is None else devices.get(change.device_id),
        moved_from=None if change.moved_from is None else shown(change.moved_from),
    )
