"""Other hashes than SHA-256, for clients that compare files by them.

They are kept with the SHA-256 of the bytes they belong to, so they stay true whatever becomes of a file: a copy, an
older version and what comes back from the trash have them without a further look at the bytes. Each storage root keeps
its own: that bytes are known already must not tell a user what another one has.
"""

import contextlib
import os
import threading
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import BindParameter, Connection, bindparam, delete, select, union
from sqlalchemy.dialects.sqlite import insert

from baludav.db.engine import Database
from baludav.db.statements import Statement
from baludav.db.tables import checksums, resources, versions
from baludav.errors import Failure
from baludav.tree.paths import Path
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.hashes import Hashes
from baludav.tree.truth.hashing import ENDLESS, Patience, of_a_request

ALGORITHMS = ("sha1", "md5")  # the columns of the table beside `sha256`
_AT_ONCE = 500

_columns = (checksums.c.sha256, *(checksums.c[name] for name in ALGORITHMS))
_hashes: BindParameter[list[str]] = bindparam("hashes", expanding=True)
_known = select(*_columns).where(checksums.c.root_id == bindparam("root"), checksums.c.sha256.in_(_hashes))
_any = Statement(select(checksums.c.sha256).where(checksums.c.root_id == bindparam("root")).limit(1))
_new = insert(checksums)
# The upsert is spelled alike in SQLite and PostgreSQL.
_add = Statement(
    _new.on_conflict_do_update(
        index_elements=[checksums.c.root_id, checksums.c.sha256],
        set_={name: _new.excluded[name] for name in ALGORITHMS},
    ),
    ("root_id", "sha256", *ALGORITHMS),
)
_in_use = union(
    *(
        select(table.c.sha256).where(table.c.root_id == bindparam("root"), table.c.sha256.is_not(None))
        for table in (resources, versions)
    )
)
_unused = select(checksums.c.sha256).where(checksums.c.root_id == bindparam("root"), checksums.c.sha256.not_in(_in_use))
_remove = delete(checksums).where(checksums.c.root_id == bindparam("root"), checksums.c.sha256.in_(_hashes))

Digests = Mapping[str, str]


class Checksums:
    """What one process knows of other hashes.

    Args:
        kept: names of the hashes that are computed and kept.
    """

    def __init__(self, database: Database, kept: Collection[str]) -> None:
        self.kept = tuple(name for name in ALGORITHMS if name in kept)
        self._database = database
        self._later: dict[tuple[int, Path], StorageRoot] = {}
        self._background: threading.Thread | None = None

    def beside(self, announced: Iterable[str]) -> set[str]:
        """The hashes to compute of bytes that come in: a client that announces a kept one compares by them."""
        wanted = set(announced)
        return wanted.union(self.kept) if wanted.intersection(self.kept) else wanted

    def add(self, connection: Connection, root_id: int, digests: Digests) -> None:
        """Keep hashes of the same bytes, if all that are to be kept are among them."""
        if self.kept and self.is_complete(digests):
            values = {name: digests.get(name) for name in ("sha256", *ALGORITHMS)}
            _add.change(connection, {"root_id": root_id, **values})

    def known(self, root_id: int, hashes: Iterable[str]) -> dict[str, Digests]:
        """What is known of bytes in a storage root, by their SHA-256."""
        asked = list(dict.fromkeys(hashes))
        found: dict[str, Digests] = {}
        with self._database.reading() as connection:
            if not asked or _any.row(connection, {"root": root_id}) is None:
                return found
            for start in range(0, len(asked), _AT_ONCE):
                values = {"root": root_id, "hashes": asked[start : start + _AT_ONCE]}
                for row in connection.execute(_known, values):
                    sha256, *others = row
                    found[sha256] = {name: value for name, value in zip(ALGORITHMS, others, strict=True) if value}
        return found

    def is_complete(self, digests: Digests | None) -> bool:
        """True if all hashes that are to be kept are known."""
        return digests is not None and all(name in digests for name in self.kept)

    def compute(self, root: StorageRoot, files: Iterable[Path]) -> None:
        """Read files and keep their hashes; what takes too long for a request goes on in the background."""
        patience = of_a_request()
        found: list[Digests] = []
        for names in files:
            digests = None if patience.is_over() else self._read(root, names, patience)
            if digests is None:
                self._compute_later(root, names)
            else:
                found.append(digests)
        self._keep(root, found)

    def forget_unused(self, root: StorageRoot) -> int:
        """Forget the hashes of bytes that are nowhere in a storage root any more; returns how many."""
        with self._database.snapshot() as connection:
            unused = list(connection.scalars(_unused, {"root": root.id}))
        for start in range(0, len(unused), _AT_ONCE):
            values = {"root": root.id, "hashes": unused[start : start + _AT_ONCE]}
            self._database.commit(lambda connection, values=values: connection.execute(_remove, values))  # type: ignore[misc]
        return len(unused)

    def _read(self, root: StorageRoot, names: Path, patience: Patience) -> Digests | None:
        """The hashes of a file; None when the patience is over."""
        hashes = Hashes(self.kept)
        try:
            fd = root.storage.open(names)
        except Failure:
            return {}  # it is gone, or cannot be read
        try:
            # SHA-256 is taken again: what is kept under it must have been read with it.
            return hashes.digests() if hashes.read(fd, patience) else None
        finally:
            os.close(fd)

    def _keep(self, root: StorageRoot, found: list[Digests]) -> None:
        def work(connection: Connection) -> None:
            for digests in found:
                self.add(connection, root.id, digests)

        if found:
            self._database.commit(work)

    def _compute_later(self, root: StorageRoot, names: Path) -> None:
        self._later[root.id, names] = root
        if self._background is None or not self._background.is_alive():
            self._background = threading.Thread(target=self._drain, name="checksums", daemon=True)
            self._background.start()

    def _drain(self) -> None:
        while self._later:
            (_, names), root = self._later.popitem()
            with contextlib.suppress(Failure):
                self._keep(root, [self._read(root, names, ENDLESS) or {}])
