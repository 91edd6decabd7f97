"""Uploads in parts, which can be interrupted and gone on with, also after a restart.

Each part streams into a temporary file of its own, as every write does, and is copied into the one file of its upload
only when it has come completely: an attempt that hangs on a lost connection can neither spoil a part nor keep the
client from sending it again. What was acknowledged is on the disk. The last step is the write that every PUT ends in.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection

from baludav.errors import BadRequest, LimitReached, MethodNotAllowed, NotFound, PreconditionFailed, Unavailable
from baludav.tree.disk.guards import NO_ROOT
from baludav.tree.disk.storage import CrossDevice, Staged
from baludav.tree.guarding import Target
from baludav.tree.namespaces import Place
from baludav.tree.paths import Path
from baludav.tree.reading import Terms
from baludav.tree.records import uploads
from baludav.tree.records.history import parsed
from baludav.tree.records.index import Row
from baludav.tree.records.uploads import Begun, Part
from baludav.tree.roots import StorageRoot
from baludav.tree.steps import reached
from baludav.tree.truth.hashes import Hashes
from baludav.tree.upkeep.expiry import make_room
from baludav.tree.writing import NOTHING, Writing, Written

_MOST_REMEMBERED = 100


class Progress(NamedTuple):
    """The SHA-256 of the first bytes of an upload, as one process knows it, so that the last step need not read them.

    Attributes:
        revision: of the upload when the last of these bytes had come.
        position: how many bytes.
    """

    revision: int
    position: int
    hash: Any


class Resuming(Writing):
    """What uploads in parts have in common, whatever their parts are called."""

    def begin_upload(
        self, name: str, *, length: int | None = None, target: Path | None = None, note: str | None = None
    ) -> Begun:
        """Begin an upload.

        Args:
            length: announced size of the whole in bytes.
            target: where it is to go, if that is known; the bytes are gathered on the same disk then.
            note: to be kept with it.
        Raises:
            MethodNotAllowed: there is one of this name.
            LimitReached: the user has too many.
            Conflict, Forbidden, InsufficientStorage: as for a write to the target.
        """
        if length is not None:
            self.check_size(length)
        place, root = self.writable(target) if target else (self.namespace.place(()), self.namespace.roots()[0][1])
        self.room_for(root, place, length)
        with self.tree.guards.hold((NO_ROOT, ("user", str(self.principal.id)))):
            with self.tree.database.reading() as connection:
                old = uploads.find(connection, self.principal.id, name)
                unfinished = uploads.unfinished(connection, self.principal.id)
            if old is not None and old.sha256 is None:
                raise MethodNotAllowed("There is an upload of this name already")
            if len(unfinished) >= self.tree.limits.unfinished_uploads:
                told = "There are too many unfinished uploads; give some up, or wait until they expire"
                raise LimitReached(told).at("unfinished_uploads")
            begun = root.storage.begin(place.names[:-1])

            def work(connection: Connection) -> Begun:
                if old is not None:  # a name is used again when its upload is finished
                    uploads.remove(connection, old)
                return uploads.add(
                    connection, user_id=self.principal.id, name=name, root_id=root.id, begun=begun, length=length,
                    target=target, note=note, now=time.time(),
                )  # fmt: skip

            try:
                return self.tree.database.commit(work)
            except BaseException:
                root.storage.drop(begun)
                raise

    def put_in_place(
        self, upload: Begun, parts: list[Part], path: Path, terms: Terms, *, counted: int, progress: Progress | None,
        overwrite: bool = True, modified_ns: int | None = None, announced: Mapping[str, str] = NOTHING,
    ) -> Written:  # fmt: skip
        """The write that an upload ends in; the caller holds the guard of the upload.

        Args:
            parts: of the whole, in order.
            counted: of these bytes, how many the index counts as stored.
            progress: the SHA-256 of what was received, if it is known.
        Raises: as `finish_upload`.
        """
        with self._whole(upload, parts, self.unguarded(path)) as (staged, is_rebuilt):
            digests = self._digests(staged, announced, None if is_rebuilt else progress)
            if any(digests[name] != value for name, value in announced.items()):
                self._forget(upload)  # what has come is not what the client means; it has to begin again
                raise BadRequest("The bytes received do not have the digest that was announced")
            written = self.install_whole(
                staged, path, terms, digests, overwrite=overwrite, modified_ns=modified_ns,
                counted={upload.root_id: counted},
                along=lambda connection, _: uploads.finish(connection, upload, path, digests["sha256"], time.time()),
            )  # fmt: skip
            if is_rebuilt:
                self.place_of(upload)[1].storage.drop(parsed(upload.begun))
        self.tree.progress.pop(upload.id, None)
        return written

    def install_whole(
        self, staged: Staged, path: Path, terms: Terms, digests: Mapping[str, str], *, counted: Mapping[int, int],
        along: Callable[[Connection, Row], None], overwrite: bool = True, modified_ns: int | None = None,
    ) -> Written:  # fmt: skip
        """Check everything once more, and put all bytes of uploads in place.

        Args:
            counted: of these bytes, how many are counted as stored, by storage root.
            along: what else is to be committed.
        """
        staged.finish(mtime_ns=modified_ns, sync=self.tree.sync)
        reached("synced")
        with self.guarded(path) as (target,):
            self.admit_whole(target, terms, overwrite, digests["sha256"])
            written = self.install(
                target, staged, digests["sha256"], digests=digests, reserved=counted.get(target.root.id, 0),
                along=along,
            )  # fmt: skip
        self.note_agreement(path)
        return written

    def admit_whole(self, target: Target, terms: Terms, overwrite: bool, sha256: str | None) -> None:
        """Check that an upload may end at a place."""
        if target.known is not None and not overwrite:
            raise PreconditionFailed("The destination exists, and Overwrite is F")
        self.admit(target, dataclasses.replace(terms, sha256=sha256))

    def drop_upload(self, name: str) -> None:
        """Give an upload up.

        Raises:
            NotFound: no such upload.
        """
        with self.alone(self.upload_of(name), finished=True) as (upload,):
            self._forget(upload)

    def upload_of(self, name: str) -> Begun:
        """An upload, finished or not.

        Raises:
            NotFound: this user has none of this name.
        """
        with self.tree.database.reading() as connection:
            upload = uploads.find(connection, self.principal.id, name)
        if upload is None:
            raise NotFound("There is no such upload")
        return upload

    def is_gathering(self, upload: Begun) -> bool:
        """False if the file of an upload is not where its bytes are gathered (any more)."""
        return self.place_of(upload)[1].storage.stat(parsed(upload.begun)) is not None

    def ended(self, upload: Begun) -> Begun:
        """An upload whose file is not where it was, as it has ended.

        Either it is finished, or the process died that had just put the file in place; then that is recorded now.

        Raises:
            NotFound: the file is not there either: the upload is given up.
            Unavailable: it is, but its bytes have not been read yet.
        """
        with self.alone(upload, finished=True) as (upload,):
            if upload.sha256 is not None or self.is_gathering(upload):
                return upload
            place, root = self.place_of(upload)
            path = None if upload.path is None else parsed(upload.path)
            if path is not None:
                place, root = self.writable(path)
            if path is None or not root.storage.is_begun(parsed(upload.begun), place.names):
                self._forget(upload)
                raise NotFound("There is no such upload any more")
            sha256 = self.look(path).sha256
            if sha256 is None:
                raise Unavailable("This upload is finished, but its bytes have not been read yet; ask again")
            self.tree.database.commit(
                lambda connection: uploads.finish(connection, upload, path, sha256, time.time())
            )  # fmt: skip
            return self.upload_of(upload.name)

    def parts_of(self, upload: Begun) -> list[Part]:
        """The parts that have come, in the order in which they make the whole."""
        with self.tree.database.reading() as connection:
            return uploads.parts(connection, upload)

    def place_of(self, upload: Begun) -> tuple[Place, StorageRoot]:
        """The storage root where the bytes of an upload are gathered, and the place that it appears at."""
        for mount, root in self.namespace.roots():
            if root.id == upload.root_id:
                return self.namespace.place(mount), root
        raise NotFound("The place this upload was to go to is not there any more")

    def progress_of(self, upload: Begun) -> Progress | None:
        """The SHA-256 of what has come so far, if this process has seen all of it come, and in order."""
        if upload.revision == 0:
            return Progress(0, 0, Hashes().sha256)
        known = self.tree.progress.get(upload.id)
        return known if known is not None and known.revision == upload.revision else None

    @contextlib.contextmanager
    def alone(self, *begun: Begun, finished: bool = False) -> Iterator[tuple[Begun, ...]]:
        """Hold the guards of some uploads; gives them as they are under the guards.

        Args:
            finished: they may be.
        """
        with self.tree.guards.hold(*((NO_ROOT, ("upload", str(upload.id))) for upload in begun)):
            found = tuple(self.upload_of(upload.name) for upload in begun)
            for before, now in zip(begun, found, strict=True):
                if now.id != before.id or (now.sha256 is not None and not finished):
                    raise NotFound("This upload was given up or finished meanwhile")
            yield found

    @contextlib.contextmanager
    def gathered(self, upload: Begun) -> Iterator[Staged]:
        """The file of an upload; the caller holds the guard of the upload.

        Raises:
            NotFound: it was removed by hand; so the upload is given up.
        """
        try:
            file = self.place_of(upload)[1].storage.resume(parsed(upload.begun))
        except NotFound:
            self._forget(upload)
            raise
        try:
            yield file
        finally:
            file.leave()

    def remember(self, upload: Begun, part: Part, progress: Progress | None) -> None:
        """Keep the SHA-256 of what has come, if a part was the next one; the caller holds the guard of the upload."""
        known = self.tree.progress
        is_next = progress is not None and (progress.revision, progress.position - part.size) == (
            upload.revision, part.offset,
        )  # fmt: skip
        if progress is None or not is_next:
            known.pop(upload.id, None)
            return
        if len(known) >= _MOST_REMEMBERED:
            known.clear()
        known[upload.id] = progress._replace(revision=upload.revision + 1)

    # Inside

    @contextlib.contextmanager
    def _whole(self, upload: Begun, parts: list[Part], target: Target) -> Iterator[tuple[Staged, bool]]:
        """All parts in one file on the disk of the target; True if they had to be copied once more for that."""
        _, root = self.place_of(upload)
        folder = target.place.names[:-1]
        with self.gathered(upload) as file:
            if target.root.id == root.id and _is_in_order(parts, file.size) and _adopted(root, file, folder):
                yield file, False
                return
            make_room(self.tree, target.root, folder, sum(part.size for part in parts))
            staged = target.root.storage.stage(folder)
            try:
                for part in parts:
                    staged.copy_range(file.fd, part.offset, part.size, staged.size)
                yield staged, True
            finally:
                staged.discard()

    def _digests(self, staged: Staged, announced: Mapping[str, str], progress: Progress | None) -> dict[str, str]:
        others = self.tree.checksums.beside(announced) - {"sha256"}
        if not others and progress is not None and progress.position == staged.size:
            return {"sha256": progress.hash.hexdigest()}
        hashes = Hashes(others)
        hashes.read(staged.fd)
        return hashes.digests()

    def _forget(self, upload: Begun) -> None:
        self.tree.progress.pop(upload.id, None)
        self.tree.database.commit(lambda connection: uploads.remove(connection, upload))
        self.place_of(upload)[1].storage.drop(parsed(upload.begun))


def _is_in_order(parts: list[Part], size: int) -> bool:
    """True if the parts fill the file, each behind the one before."""
    end = 0
    for part in parts:
        if part.offset != end:
            return False
        end += part.size
    return end == size


def _adopted(root: StorageRoot, file: Staged, folder: Path) -> bool:
    try:
        root.storage.adopt(file, folder)
    except CrossDevice:
        return False
    return True
