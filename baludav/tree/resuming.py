"""Uploads in parts, which can be interrupted and gone on with, also after a restart.

Each part streams into a temporary file of its own, as every write does, and is copied into the one file of its upload
only when it has come completely: an attempt that hangs on a lost connection can neither spoil a part nor keep the
client from sending it again. What was acknowledged is on the disk. The last step is the write that every PUT ends in.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection

from baludav.errors import BadRequest, LimitReached, MethodNotAllowed, NotFound, PreconditionFailed
from baludav.tree.disk.storage import CrossDevice, Staged
from baludav.tree.guarding import Target
from baludav.tree.namespaces import Place
from baludav.tree.paths import Path
from baludav.tree.reading import Terms
from baludav.tree.records import uploads
from baludav.tree.records.history import parsed
from baludav.tree.records.uploads import Begun, Part
from baludav.tree.roots import StorageRoot
from baludav.tree.steps import reached
from baludav.tree.truth.hashes import Hashes
from baludav.tree.upkeep.expiry import make_room
from baludav.tree.writing import NOTHING, Incoming, Writing, Written

_NO_ROOT = 0  # guards of uploads; they are taken before those of paths, never after
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


class PartUpload(Incoming):
    """A part on its way; use it as a context manager, which discards what was not committed."""

    def __init__(self, user: "Resuming", upload: Begun, name: str, offset: int | None, length: int | None) -> None:
        self._upload = upload
        self._name = name
        self._offset = offset
        self._before = user.progress_of(upload)
        hashes = Hashes(sha256=None if self._before is None else self._before.hash.copy())
        place, root = user.place_of(upload)
        freed = next((known.size for known in user.upload_parts(upload.name) if known.name == name), 0)
        super().__init__(user, place, root, parsed(upload.begun)[:-3], length, hashes, freed=freed)
        self._resuming = user

    def commit(self) -> None:
        """Make it part of the upload, instead of what had its name.

        Raises:
            BadRequest: the length is not the one that was announced.
            NotFound: the upload has been given up or finished meanwhile.
        """
        self.check_length()
        after = None
        if self._before is not None:
            after = self._before._replace(position=self._before.position + self.size, hash=self.hashes.sha256)
        self._resuming.place_part(self._upload, self._name, self.staged, self._offset, after)


class Resuming(Writing):
    """Uploads in parts, by names that the client chooses."""

    def begin_upload(self, name: str, *, length: int | None = None, target: Path | None = None) -> None:
        """Begin an upload.

        Args:
            length: announced size of the whole in bytes.
            target: where it is to go, if that is known; the bytes are gathered on the same disk then.
        Raises:
            MethodNotAllowed: there is one of this name.
            LimitReached: the user has too many.
            Conflict, Forbidden, InsufficientStorage: as for a write to the target.
        """
        if length is not None:
            self.check_size(length)
        place, root = self.writable(target) if target else (self.namespace.place(()), self.namespace.roots()[0][1])
        self.room_for(root, place, length)
        with self.tree.guards.hold((_NO_ROOT, ("user", str(self.principal.id)))):
            with self.tree.database.reading() as connection:
                old = uploads.find(connection, self.principal.id, name)
                unfinished = uploads.unfinished(connection, self.principal.id)
            if old is not None and old.sha256 is None:
                raise MethodNotAllowed("There is an upload of this name already")
            if len(unfinished) >= uploads.MOST:
                raise LimitReached("There are too many unfinished uploads; give some up, or wait until they expire")
            begun = root.storage.begin(place.names[:-1])
            try:
                self.tree.database.commit(lambda connection: self._begin(connection, old, name, root, begun, length))
            except BaseException:
                root.storage.drop(begun)
                raise

    def upload_names(self) -> list[str]:
        """The uploads that are not finished, the oldest first."""
        with self.tree.database.reading() as connection:
            return uploads.unfinished(connection, self.principal.id)

    def upload_parts(self, name: str) -> list[Part]:
        """The parts that have come, in the order in which they make the whole.

        Raises:
            NotFound: no such upload.
        """
        upload = self._unfinished(name)
        with self.tree.database.reading() as connection:
            return uploads.parts(connection, upload)

    def open_part(self, name: str, part: str, *, offset: int | None = None, length: int | None = None) -> PartUpload:
        """Begin to receive a part.

        Args:
            offset: where in the whole its first byte belongs, if the client says so. Only a hint: the order of the
                names decides.
            length: announced size in bytes.
        Raises:
            NotFound: no such upload.
            InsufficientStorage, TooLarge: as for a write.
        """
        if length is not None:
            self.check_size(length)
        return PartUpload(self, self._unfinished(name), part, offset, length)

    def place_part(
        self, upload: Begun, name: str, staged: Staged, offset: int | None, progress: Progress | None
    ) -> None:
        """Copy a part that has come completely into the file of its upload."""
        _, root = self.place_of(upload)
        with self._alone(upload) as upload:
            with self.tree.database.reading() as connection:
                parts = uploads.parts(connection, upload)
            old = next((part for part in parts if part.name == name), None)
            others = [part for part in parts if part is not old]
            if len(others) >= uploads.MOST_PARTS:
                raise LimitReached(f"An upload may have {uploads.MOST_PARTS} parts at most")
            part = Part(name, _place_for(others, old, staged.size, offset, upload.length), staged.size)
            with self.quota_turn(root, part.size - (old.size if old else 0)):
                with self._gathered(root, upload) as file:
                    file.copy_range(staged.fd, 0, part.size, part.offset)
                    file.finish(mtime_ns=None, sync=self.tree.sync)
                reached("part copied")
                self.tree.database.commit(lambda connection: uploads.place(connection, upload, part, time.time()))
            self._remember(upload, part, progress)

    def finish_upload(
        self, name: str, path: Path, terms: Terms, *, overwrite: bool = True, length: int | None = None,
        modified_ns: int | None = None, announced: Mapping[str, str] = NOTHING,
    ) -> Written:  # fmt: skip
        """Make the parts, in the order of their names, the bytes of a resource. Safe to repeat.

        Args:
            length, announced: what the client says of the whole, as for `open_write`.
        Raises:
            BadRequest: length or digest differ from what was announced.
            NotFound: no such upload, or it has gone elsewhere.
            PreconditionFailed, Locked, InsufficientStorage, Conflict: as for any write; the upload stays.
        """
        upload = self._upload_of(name)
        if upload.sha256 is None:
            self._admit(self.unguarded(path), terms, overwrite, announced.get("sha256"))
        with self._alone(upload, finished=True) as upload:
            if upload.sha256 is not None:
                return self._repeated(upload, path)
            with self.tree.database.reading() as connection:
                parts = uploads.parts(connection, upload)
            total = sum(part.size for part in parts)
            for expected in (length, upload.length):
                if expected is not None and expected != total:
                    raise BadRequest(f"{expected} bytes were announced, {total} have come")
            self.check_size(total)
            with self._whole(upload, parts, self.unguarded(path)) as (staged, is_rebuilt):
                digests = self._digests(upload, staged, announced, is_rebuilt=is_rebuilt)
                if any(digests[name] != value for name, value in announced.items()):
                    self._forget(upload)  # what has come is not what the client means; it has to begin again
                    raise BadRequest("The bytes received do not have the digest that was announced")
                staged.finish(mtime_ns=modified_ns, sync=self.tree.sync)
                reached("synced")
                with self.guarded(path) as (target,):
                    self._admit(target, terms, overwrite, digests["sha256"])
                    written = self.install(
                        target, staged, digests["sha256"], digests=digests,
                        reserved=total if target.root.id == upload.root_id else 0,
                        along=lambda connection, row: uploads.finish(
                            connection, upload, path, digests["sha256"], time.time()
                        ),
                    )  # fmt: skip
                if is_rebuilt:
                    self.place_of(upload)[1].storage.drop(parsed(upload.begun))
        self.tree.progress.pop(upload.id, None)
        return written

    def drop_upload(self, name: str) -> None:
        """Give an upload up.

        Raises:
            NotFound: no such upload.
        """
        with self._alone(self._upload_of(name), finished=True) as upload:
            self._forget(upload)

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

    # Inside

    def _begin(
        self, connection: Connection, old: Begun | None, name: str, root: StorageRoot, begun: Path, length: int | None
    ) -> None:
        if old is not None:  # a name is used again when its upload is finished
            uploads.remove(connection, old)
        uploads.add(
            connection, user_id=self.principal.id, name=name, root_id=root.id, begun=begun, length=length,
            now=time.time(),
        )  # fmt: skip

    def _upload_of(self, name: str) -> Begun:
        with self.tree.database.reading() as connection:
            upload = uploads.find(connection, self.principal.id, name)
        if upload is None:
            raise NotFound("There is no such upload")
        return upload

    def _unfinished(self, name: str) -> Begun:
        upload = self._upload_of(name)
        if upload.sha256 is not None:
            raise NotFound("This upload is finished")
        return upload

    @contextlib.contextmanager
    def _alone(self, upload: Begun, *, finished: bool = False) -> Iterator[Begun]:
        """Hold the guard of an upload; gives it as it is under the guard."""
        with self.tree.guards.hold((_NO_ROOT, ("upload", str(upload.id)))):
            now = self._upload_of(upload.name)
            if now.id != upload.id or (now.sha256 is not None and not finished):
                raise NotFound("This upload was given up or finished meanwhile")
            yield now

    @contextlib.contextmanager
    def _gathered(self, root: StorageRoot, upload: Begun) -> Iterator[Staged]:
        """The file of an upload."""
        try:
            file = root.storage.resume(parsed(upload.begun))
        except NotFound:
            self._forget(upload)
            raise
        try:
            yield file
        finally:
            file.leave()

    def _remember(self, upload: Begun, part: Part, progress: Progress | None) -> None:
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

    def _admit(self, target: Target, terms: Terms, overwrite: bool, sha256: str | None) -> None:
        if target.known is not None and not overwrite:
            raise PreconditionFailed("The destination exists, and Overwrite is F")
        self.admit(target, dataclasses.replace(terms, sha256=sha256))

    def _repeated(self, upload: Begun, path: Path) -> Written:
        """The answer again, for a client that did not get it."""
        resource = self.look(path)
        if upload.path is None or parsed(upload.path) != path or resource.sha256 != upload.sha256:
            raise NotFound("This upload is finished")
        return Written(resource, is_created=False)

    @contextlib.contextmanager
    def _whole(self, upload: Begun, parts: list[Part], target: Target) -> Iterator[tuple[Staged, bool]]:
        """All parts in one file on the disk of the target; True if they had to be copied once more for that."""
        _, root = self.place_of(upload)
        folder = target.place.names[:-1]
        with self._gathered(root, upload) as file:
            if target.root.id == root.id and _is_in_order(parts, file.size) and _adopted(root, file, folder):
                yield file, False
                return
            make_room(self.tree.database, target.root, folder, sum(part.size for part in parts))
            staged = target.root.storage.stage(folder)
            try:
                for part in parts:
                    staged.copy_range(file.fd, part.offset, part.size, staged.size)
                yield staged, True
            finally:
                staged.discard()

    def _digests(
        self, upload: Begun, staged: Staged, announced: Mapping[str, str], *, is_rebuilt: bool
    ) -> dict[str, str]:
        others = self.tree.checksums.beside(announced) - {"sha256"}
        progress = self.progress_of(upload)
        if not others and not is_rebuilt and progress is not None and progress.position == staged.size:
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


def _place_for(others: list[Part], old: Part | None, size: int, hint: int | None, length: int | None) -> int:
    """Where in the file a part is put: where it was, or belongs, or else at the end.

    A client that lies about the place spoils nothing: a place that is taken is not given, and the last step puts parts
    in order that are not.
    """
    if old is not None and old.size == size:
        return old.offset
    is_free = hint is not None and all(hint + size <= part.offset or part.offset + part.size <= hint for part in others)
    if hint is not None and is_free and (length is not None and hint + size <= length):
        return hint
    end = max((part.offset + part.size for part in others), default=0)
    return max(end, old.offset + old.size) if old is not None else end
