"""Writing bytes that the user has already, without their being sent."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator

from baludav.errors import NotFound, Unavailable
from baludav.tree.disk.oserrors import translated
from baludav.tree.disk.storage import Staged, Stat
from baludav.tree.paths import Path, stored
from baludav.tree.reading import Terms
from baludav.tree.records import holding
from baludav.tree.records.holding import Held
from baludav.tree.roots import StorageRoot
from baludav.tree.steps import reached
from baludav.tree.truth.hashing import hash_descriptor
from baludav.tree.upkeep.expiry import make_room
from baludav.tree.writing import Writing, Written


class Reusing(Writing):
    """Copies what has the bytes that a client names; two files never share an inode."""

    def write_known(
        self, path: Path, terms: Terms, sha256: str, size: int, *, modified_ns: int | None = None
    ) -> Written:
        """Replace or create the bytes of one resource by bytes that this user can read, or has deleted.

        Looked at are the user's home and the shares they may read: files, versions and the trash. What only others
        have is not there, also for an admin, who could read it.

        Args:
            sha256: of the bytes, lower-case hex.
            size: bytes.
            modified_ns: modification time, by default now.
        Raises:
            NotFound: the bytes are nowhere; they have to be sent.
            PreconditionFailed, Locked, Forbidden, InsufficientStorage, Conflict, MethodNotAllowed: as for any write.
        """
        self.check_size(size)
        terms = dataclasses.replace(terms, sha256=sha256)
        self.admit(self.unguarded(path), terms)
        place, root = self.writable(path)
        self.room_for(root, place, size)
        staged = self._copied(root, place.names[:-1], sha256, size)
        try:
            reached("received")
            staged.finish(mtime_ns=modified_ns, sync=self.tree.sync)
            reached("synced")
            with self.guarded(path) as (target,):
                self.admit(target, terms)
                written = self.install(target, staged, sha256)
        finally:
            staged.discard()
        self.note_agreement(path)
        return written

    def _copied(self, root: StorageRoot, folder: Path, sha256: str, size: int) -> Staged:
        """A copy of the bytes, where it can be put into a folder."""
        for source, held in self._held(sha256, size):
            with contextlib.suppress(NotFound, Unavailable):  # it is gone meanwhile
                fd = source.storage.open(held.kept)
                try:
                    make_room(self.tree, root, folder, size)
                    staged = root.storage.stage(folder)
                    try:
                        staged.copy_from(fd, size)
                        if staged.size == size and (_is_as_known(fd, held) or hash_descriptor(staged.fd) == sha256):
                            return staged
                    except BaseException:
                        staged.discard()
                        raise
                    staged.discard()
                finally:
                    os.close(fd)
        raise NotFound("These bytes are not here; send them")

    def _held(self, sha256: str, size: int) -> Iterator[tuple[StorageRoot, Held]]:
        """Where the user has bytes."""
        hidden = self.namespace.hidden()
        for mount, root in self.namespace.roots():
            if root.kind == "home" and root.name != self.principal.name:
                continue
            can_write = self.namespace.place(mount).can_write
            with self.tree.database.reading() as connection:
                found = list(holding.held(connection, root.id, sha256, size))
            for held in found:
                if held.path is None:
                    is_theirs = can_write  # who may write somewhere has its trash
                else:
                    is_theirs = root.kind != "home" or stored(held.path[0]) not in hidden
                if is_theirs:
                    yield root, held


def _is_as_known(fd: int, held: Held) -> bool:
    """True if a file is as it was when its bytes were hashed, so that its copy needs no look."""
    with translated():
        return held.row is not None and held.row.is_settled and Stat.of(os.fstat(fd)) == held.row.signature
