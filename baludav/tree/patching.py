"""Replacing some bytes of a file: what readers see is the old file or the new one, and the old one is a version.

The new bytes are gathered first. Then the file is copied, sharing blocks where the file system can, and the copy is
changed. If another write was faster, this is done again with what is there then: no write that was acknowledged is
undone by an update that had begun before it.
"""

import os
from collections.abc import Mapping

from baludav.errors import Conflict, NotFound
from baludav.tree.disk.guards import NO_ROOT
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.storage import Stat
from baludav.tree.http.updates import Update
from baludav.tree.paths import Path
from baludav.tree.reading import Terms
from baludav.tree.steps import reached
from baludav.tree.truth.hashes import Hashes
from baludav.tree.truth.hashing import hash_descriptor
from baludav.tree.upkeep.expiry import make_room
from baludav.tree.writing import NOTHING, Incoming, Writing, Written, require_digests

_ATTEMPTS = 10  # while writes that are no updates come in between


class Patch(Incoming):
    """Bytes on their way into a file; use it as a context manager, which discards what was not put in place."""

    def __init__(
        self, user: "Patching", path: Path, terms: Terms, update: Update, length: int | None,
        announced: Mapping[str, str],
    ) -> None:  # fmt: skip
        place, root = user.writable(path)
        super().__init__(user, place, root, place.names[:-1], length, Hashes(announced))
        self._patching = user
        self._path = path
        self._names = place.names
        self._terms = terms
        self._update = update
        self._announced = announced

    def commit(self, *, modified_ns: int | None = None) -> Written:
        """Make the bytes part of the file, all or nothing.

        Args:
            modified_ns: modification time, by default now.
        Raises:
            BadRequest: length or digest differ from what was announced.
            RangeNotSatisfiable: the range does not have this length, or begins behind the end of the file.
            NotFound: the file is gone.
            Conflict: something else keeps writing to it.
            PreconditionFailed, Locked, InsufficientStorage: as for any write.
        """
        self.check_length()
        self._update.check_length(self.size)
        require_digests(self.hashes.digests(), self._announced)
        reached("received")
        user = self._patching
        with user.tree.guards.hold((NO_ROOT, ("patch", str(self._root.id), *self._names))):
            for _attempt in range(_ATTEMPTS):
                written = self._attempt(modified_ns)
                if written is not None:
                    user.note_agreement(self._path)
                    return written
        raise Conflict("Something else keeps writing to this file; try again")

    def _attempt(self, modified_ns: int | None) -> Written | None:
        """Build the new file of the one that is there, and put it in place; None if that has been replaced."""
        user, root = self._patching, self._root
        source = user.open(self._path)
        try:
            with translated():
                before = Stat.of(os.fstat(source.fd))
            assert before is not None  # it was opened as a regular file
            size = before.size
            start = self._update.place(size)
            total = max(size, start + self.size)
            user.check_size(total)
            make_room(user.tree, root, self._folder, total)
            staged = root.storage.stage(self._folder)
            try:
                staged.copy_from(source.fd, size)
                staged.copy_range(self.staged.fd, 0, self.size, start)
                reached("patched")
                sha256 = hash_descriptor(staged.fd)
                assert sha256 is not None  # its patience is endless
                staged.finish(mtime_ns=modified_ns, sync=user.tree.sync)
                reached("synced")
                with user.guarded(self._path) as (target,):
                    user.admit(target, self._terms)
                    if target.known is None or target.known.stat != before:
                        return None
                    return user.install(target, staged, sha256)
            finally:
                staged.discard()
        finally:
            source.close()


class Patching(Writing):
    """Updates of parts of files."""

    def open_patch(
        self, path: Path, terms: Terms, update: Update, *, length: int | None = None,
        announced: Mapping[str, str] = NOTHING,
    ) -> Patch:  # fmt: skip
        """Begin to replace bytes of a file.

        Everything that can fail is checked here, before the client sends its bytes, and again at commit.

        Args:
            length: announced number of these bytes, None if unknown.
            announced: what the client says that they hash to, lower-case hex by the name of the hash.
        Raises:
            NotFound: no file there.
            MethodNotAllowed: it is a collection.
            RangeNotSatisfiable, PreconditionFailed, Locked, Forbidden, InsufficientStorage, TooLarge.
        """
        target = self.unguarded(path)
        self.admit(target, terms)
        if target.known is None:
            raise NotFound()
        size = target.known.stat.size
        start = update.place(size)
        if length is not None:
            update.check_length(length)
            self.check_size(max(size, start + length))
            self.room_for(target.root, target.place, max(size, start + length))
        return Patch(self, path, terms, update, length, announced)
