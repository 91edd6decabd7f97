"""What two sides say of a path, and what can be decided about it. Paths begin with a slash."""

from enum import StrEnum
from typing import NamedTuple

from baludav.tree.records.conflicts import Kind


class Here(NamedTuple):
    """What a device says of one path.

    Attributes:
        sha256: of its bytes; None: it had this file, and has it no more.
        base: SHA-256 of what device and server last had in common here; None: never anything.
    """

    path: str
    sha256: str | None
    base: str | None


class There(NamedTuple):
    """A resource of the server.

    Attributes:
        sha256: None for a collection, and for a file that is not hashed yet.
        etag: of a collection that may be deleted; None for one that may not.
        size: bytes.
    """

    path: str
    sha256: str | None
    is_collection: bool = False
    etag: str | None = None
    size: int = 0
    modified_ns: int = 0


class Download(NamedTuple):
    """Take over what the server has, which may spell the path otherwise."""

    path: str
    resource: There


class Upload(NamedTuple):
    """Give the server what the device has, in place of what has the entity-tag `replaces`, or of nothing (None)."""

    path: str
    replaces: str | None


class DeleteHere(NamedTuple):
    """Delete the file of the device, if it still has these bytes."""

    path: str
    sha256: str


class DeleteThere(NamedTuple):
    """Delete what the server has, if it still has this entity-tag."""

    path: str
    etag: str
    is_collection: bool = False


class Clash(NamedTuple):
    """A conflict.

    Attributes:
        path: as the device spells it, if it has it.
        base, here, there: SHA-256 of what both had in common and of what each has; None for none, for a collection,
            and where it is unknown.
        other: what the server has under another name, which some systems do not tell from `path`; `there` is of it.
    """

    path: str
    kind: Kind
    base: str | None = None
    here: str | None = None
    there: str | None = None
    other: str | None = None


class Why(StrEnum):
    """Why a path cannot be decided now."""

    NOT_HASHED = "not_hashed"  # the server does not know its bytes yet
    BLOCKED = "blocked"  # by a conflict at another path
    READ_ONLY = "read_only"  # the user may not change it on the server
    NAME = "name"  # the server cannot store this name


class Wait(NamedTuple):
    """Nothing can be done now."""

    path: str
    why: Why


Action = Download | Upload | DeleteHere | DeleteThere | Clash | Wait
