"""What is new since the last look, for a process that waits for changes: two short queries, whoever waits for what."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, literal_column, select

from baludav.db.engine import Database
from baludav.db.statements import Statement
from baludav.db.tables import journal, storage_roots

# "+ 0" keeps SQLite from walking the whole index of the storage roots instead of the few newest rows.
_root = journal.c.root_id + literal_column("0")
_newer = Statement(
    select(_root, func.max(journal.c.number)).where(journal.c.number > bindparam("since")).group_by(_root)
)
_newest = Statement(select(func.max(journal.c.number)))
census = Statement(select(*[func.count(), func.max(storage_roots.c.id)]))
"""Changes when a storage root comes or goes, since ids are never used again."""


class Seen(NamedTuple):
    """What a look found.

    Attributes:
        numbers: of the last change in each storage root that has changed, by its id.
        roots_changed: a storage root came or went, so somebody may see more or less than before.
    """

    numbers: Mapping[int, int]
    roots_changed: bool


class News:
    """One process's looks at what is new; one at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._number = 0
        self._roots: Sequence[Any] | None = None

    def skip(self) -> None:
        """Take everything until now as known."""
        with self._database.reading() as connection:
            self._number = _newest.scalar(connection) or 0
            self._roots = census.row(connection)

    def look(self) -> Seen:
        """What was committed since the last look."""
        with self._database.reading() as connection:
            numbers = dict(map(tuple, _newer.rows(connection, {"since": self._number})))
            before, self._roots = self._roots, census.row(connection)
        self._number = max(numbers.values(), default=self._number)
        return Seen(numbers, self._roots != before)
