"""Uploads that grow at their end, as those of tus 1.0 do.

What has come of one is a single part. The bytes of a request are added piece by piece, each only if the upload still
ends where the piece begins: two requests at once cannot mix, and one that hangs on a lost connection spoils nothing.
The last piece is counted by the very transaction that puts the whole in place, so an upload of which everything has
come is in place, and one that could not be put there can be gone on with.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from baludav.errors import BadRequest, ChecksumMismatch, OffsetMismatch, TooLarge
from baludav.tree.paths import Path
from baludav.tree.reading import Terms
from baludav.tree.records import uploads
from baludav.tree.records.history import parsed
from baludav.tree.records.index import Row
from baludav.tree.records.uploads import Begun, Part
from baludav.tree.resuming import Progress, Resuming
from baludav.tree.steps import reached
from baludav.tree.truth.hashes import Hashes
from baludav.tree.upkeep.expiry import make_room
from baludav.tree.writing import NOTHING, Incoming, Written

_PIECE = 16 << 20  # bytes; when the process is killed, at most so many of a request have to be sent again
_ONLY = "all"  # the name of the one part


class Appended(NamedTuple):
    """How far an upload has come.

    Attributes:
        offset: bytes.
        written: the resource, if these bytes completed it.
    """

    upload: Begun
    offset: int
    written: Written | None = None


class _Piece(Incoming):
    """Bytes of a request on their way to the end of an upload."""

    def __init__(
        self, user: "Appending", upload: Begun, offset: int, length: int | None, checksums: Mapping[str, str]
    ) -> None:
        known = user.progress_of(upload)
        self._before = known if known is not None and known.position == offset else None
        hashes = Hashes(sha256=None if self._before is None else self._before.hash.copy())
        place, root = user.place_of(upload)
        super().__init__(user, place, root, parsed(upload.begun)[:-3], length, hashes)
        assert upload.length is not None
        self._left = upload.length - offset
        self._checksums = checksums
        self._own = Hashes(checksums) if checksums else None  # of these bytes alone

    def take(self, bodies: Iterator[memoryview]) -> bool:
        """Take bytes until it is large enough or there are none; True when there are none.

        Raises:
            TooLarge: there are more than the upload was to have.
        """
        for body in bodies:
            if self.size + len(body) > self._left:
                raise TooLarge("These are more bytes than the upload was to have")
            self.write(body)
            if self._own is not None:
                self._own.update(body)
            elif _PIECE <= self.size < self._left:
                return False
        return True

    def check(self) -> None:
        """Compare what came with the checksums that were announced."""
        digests = self._own.digests() if self._own is not None else {}
        if any(digests[name] != value for name, value in self._checksums.items()):
            raise ChecksumMismatch()

    def progress_in(self, upload: Begun) -> Progress | None:
        """The SHA-256 of the upload with these bytes, if the upload is still as it was when they began to come."""
        before = self._before
        if before is None or before.revision != upload.revision:
            return None
        return before._replace(position=before.position + self.size, hash=self.hashes.sha256)


class Appending(Resuming):
    """Uploads by addresses that the server chooses."""

    def create_upload(self, length: int, target: Path | None, terms: Terms, *, note: str) -> Begun:
        """Begin an upload; its name without the slash at the beginning is its id.

        Args:
            target: where it is to go; None: it is a part that is to be concatenated with others.
        Raises: as `begin_upload`, and as for a write to the target.
        """
        if target is not None:
            self.admit(self.unguarded(target), terms)
        # No client can give an upload a name with a slash.
        return self.begin_upload(f"/{secrets.token_urlsafe(16)}", length=length, target=target, note=note)

    def appended(self, upload_id: str) -> Appended:
        """How far an upload has come: so many bytes are on the disk.

        Raises:
            NotFound: this user has no such upload (any more).
            Unavailable: it is finished, but its bytes have not been read yet.
        """
        upload = self.upload_of(f"/{upload_id}")
        if not self.is_gathering(upload):
            upload = self.ended(upload)
        return Appended(upload, self._end_of(upload))

    def append(
        self, upload: Begun, offset: int, bodies: Iterator[memoryview], terms: Terms, *, length: int | None = None,
        checksums: Mapping[str, str] = NOTHING, modified_ns: int | None = None,
    ) -> Appended:  # fmt: skip
        """Add bytes to an upload; with the last ones it becomes the resource that it was to be.

        Args:
            bodies: raises EOFError if they break off; what came before is kept, unless there is a checksum.
            length: how many bytes there will be, if it is known.
            checksums: of these bytes, lower-case hex by the name of the hash.
            terms, modified_ns: of the write that the upload ends in.
        Raises:
            OffsetMismatch: the upload does not end at `offset` (any more).
            TooLarge: there are more bytes than the upload was to have.
            ChecksumMismatch: none of these bytes is kept.
            NotFound: the upload was given up meanwhile.
            PreconditionFailed, Locked, InsufficientStorage, Conflict: as for any write; the last piece is not kept.
        """
        self._require_end(upload, offset)
        if length is not None and upload.length is not None and offset + length > upload.length:
            raise TooLarge("These are more bytes than the upload was to have")
        end = None if length is None else offset + length
        while True:
            broken: EOFError | None = None
            expected = None if end is None else end - offset if checksums else min(end - offset, _PIECE)
            with _Piece(self, upload, offset, expected, checksums) as piece:
                try:
                    is_over = piece.take(bodies)
                except EOFError as error:
                    if checksums:
                        raise
                    is_over, broken = True, error
                piece.check()
                now = self._add(upload, offset, piece, terms, modified_ns)
            if broken is not None:
                raise broken
            if is_over:
                return now
            upload, offset, _ = now

    def concatenate(
        self, ids: Sequence[str], target: Path, terms: Terms, *, note: str, modified_ns: int | None = None
    ) -> Appended:
        """Make complete uploads without a target, in this order, the bytes of a resource; they are gone then.

        Raises:
            NotFound: this user has no such upload.
            BadRequest: none is named or one twice; one is not complete or has a target of its own.
            PreconditionFailed, Locked, InsufficientStorage, Conflict: as for any write; all uploads stay.
        """
        partial = tuple(self.upload_of(f"/{one}") for one in ids)
        if not partial or len(set(partial)) != len(partial):
            raise BadRequest("Each part of an upload must be named, and named once")
        self.admit(self.unguarded(target), terms)
        with self.alone(*partial) as partial:
            counted: dict[int, int] = {}
            for upload in partial:
                if upload.path is not None or self._end_of(upload) != upload.length:
                    raise BadRequest("Only partial uploads that are complete can be concatenated")
                counted[upload.root_id] = counted.get(upload.root_id, 0) + upload.length
            final = self._join(partial, target, terms, note, modified_ns, counted)
            for upload in partial:
                self.tree.progress.pop(upload.id, None)
                self.place_of(upload)[1].storage.drop(parsed(upload.begun))
        return final

    # Inside

    def _end_of(self, upload: Begun) -> int:
        if upload.sha256 is not None:
            return upload.length or 0
        with self.tree.database.reading() as connection:
            return uploads.size(connection, upload)

    def _require_end(self, upload: Begun, offset: int) -> None:
        if self._end_of(upload) != offset:
            raise OffsetMismatch()

    def _add(self, upload: Begun, offset: int, piece: _Piece, terms: Terms, modified_ns: int | None) -> Appended:
        with self.alone(upload, finished=True) as (upload,):
            self._require_end(upload, offset)
            end = offset + piece.size
            if upload.sha256 is not None or (not piece.size and end != upload.length):
                return Appended(upload, offset)
            part, progress = Part(_ONLY, 0, end), piece.progress_in(upload)
            if end == upload.length and upload.path is not None:
                self._copy(upload, offset, piece, is_last=True)
                written = self.put_in_place(
                    upload, [part], parsed(upload.path), terms, counted=offset, progress=progress,
                    modified_ns=modified_ns,
                )  # fmt: skip
                return Appended(self.upload_of(upload.name), end, written)
            with self.quota_turn(self.place_of(upload)[1], piece.size):
                self._copy(upload, offset, piece)
                self.tree.database.commit(lambda connection: uploads.place(connection, upload, part, time.time()))
            self.remember(upload, part, progress)
            return Appended(self.upload_of(upload.name), end)

    def _copy(self, upload: Begun, offset: int, piece: _Piece, *, is_last: bool = False) -> None:
        with self.gathered(upload) as file:
            file.copy_range(piece.staged.fd, 0, piece.size, offset)
            if not is_last:  # what puts the whole in place brings it to the disk
                file.finish(mtime_ns=None, sync=self.tree.sync)
        reached("part copied")

    def _join(
        self, partial: tuple[Begun, ...], target: Path, terms: Terms, note: str, modified_ns: int | None,
        counted: Mapping[int, int],
    ) -> Appended:  # fmt: skip
        """Copy uploads into one file and put it in place; the caller holds their guards."""
        total = sum(counted.values())
        self.check_size(total)
        place, root = self.writable(target)
        folder = place.names[:-1]
        self.room_for(root, place, total, freed=counted.get(root.id, 0))
        make_room(self.tree, root, folder, total)
        name = f"/{secrets.token_urlsafe(16)}"
        staged = root.storage.stage(folder)
        try:
            for upload in partial:
                with self.gathered(upload) as file:
                    staged.copy_range(file.fd, 0, upload.length or 0, staged.size)
            reached("parts copied")
            hashes = Hashes()
            hashes.read(staged.fd)
            digests = hashes.digests()

            def along(connection: Connection, _: Row) -> None:
                for upload in partial:
                    uploads.remove(connection, upload)
                final = uploads.add(
                    connection, user_id=self.principal.id, name=name, root_id=root.id,
                    begun=parsed(partial[0].begun), length=total, target=target, note=note, now=time.time(),
                )  # fmt: skip
                uploads.finish(connection, final, target, digests["sha256"], time.time())

            written = self.install_whole(
                staged, target, terms, digests, counted=counted, along=along, modified_ns=modified_ns
            )
        finally:
            staged.discard()
        return Appended(self.upload_of(name), total, written)
