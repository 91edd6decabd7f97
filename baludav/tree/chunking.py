"""Uploads in parts whose names the client chooses, and whose order those names decide."""

import time
from collections.abc import Mapping

from baludav.errors import BadRequest, LimitReached, NotFound
from baludav.tree.disk.storage import Staged
from baludav.tree.paths import Path
from baludav.tree.reading import Terms
from baludav.tree.records import uploads
from baludav.tree.records.history import parsed
from baludav.tree.records.uploads import Begun, Part
from baludav.tree.resuming import Progress, Resuming
from baludav.tree.steps import reached
from baludav.tree.truth.hashes import Hashes
from baludav.tree.writing import NOTHING, Incoming, Written


class PartUpload(Incoming):
    """A part on its way; use it as a context manager, which discards what was not committed."""

    def __init__(self, user: "Chunking", upload: Begun, name: str, offset: int | None, length: int | None) -> None:
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


class Chunking(Resuming):
    """Uploads in parts, by names that the client chooses."""

    def upload_names(self) -> list[str]:
        """The uploads that are not finished, the oldest first."""
        with self.tree.database.reading() as connection:
            names = uploads.unfinished(connection, self.principal.id)
        return [name for name in names if "/" not in name]  # those have no parts that a client could name

    def upload_parts(self, name: str) -> list[Part]:
        """The parts that have come, in the order in which they make the whole.

        Raises:
            NotFound: no such upload.
        """
        return self.parts_of(self._unfinished(name))

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
        with self.alone(upload) as (upload,):
            parts = self.parts_of(upload)
            old = next((part for part in parts if part.name == name), None)
            others = [part for part in parts if part is not old]
            if len(others) >= uploads.MOST_PARTS:
                raise LimitReached(f"An upload may have {uploads.MOST_PARTS} parts at most")
            part = Part(name, _place_for(others, old, staged.size, offset, upload.length), staged.size)
            with self.quota_turn(root, part.size - (old.size if old else 0)):
                with self.gathered(upload) as file:
                    file.copy_range(staged.fd, 0, part.size, part.offset)
                    file.finish(mtime_ns=None, sync=self.tree.sync)
                reached("part copied")
                self.tree.database.commit(lambda connection: uploads.place(connection, upload, part, time.time()))
            self.remember(upload, part, progress)

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
        upload = self.upload_of(name)
        if upload.sha256 is None:
            self.admit_whole(self.unguarded(path), terms, overwrite, announced.get("sha256"))
        with self.alone(upload, finished=True) as (upload,):
            if upload.sha256 is not None:
                return self._repeated(upload, path)
            parts = self.parts_of(upload)
            total = sum(part.size for part in parts)
            for expected in (length, upload.length):
                if expected is not None and expected != total:
                    raise BadRequest(f"{expected} bytes were announced, {total} have come")
            self.check_size(total)
            return self.put_in_place(
                upload, parts, path, terms, overwrite=overwrite, modified_ns=modified_ns, announced=announced,
                counted=total, progress=self.progress_of(upload),
            )  # fmt: skip

    # Inside

    def _unfinished(self, name: str) -> Begun:
        upload = self.upload_of(name)
        if upload.sha256 is not None:
            raise NotFound("This upload is finished")
        return upload

    def _repeated(self, upload: Begun, path: Path) -> Written:
        """The answer again, for a client that did not get it."""
        resource = self.look(path)
        if upload.path is None or parsed(upload.path) != path or resource.sha256 != upload.sha256:
            raise NotFound("This upload is finished")
        return Written(resource, is_created=False)


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
