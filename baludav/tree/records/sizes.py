"""How many bytes lie below a collection.

A sum is remembered with the number of the last change at or below its collection: while that number stays, so does
the sum. After a change only the collections above it are added up again, each from its own members.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, func, select

from baludav.db.tables import resources

_MOST = 200_000  # collections remembered
_AT_ONCE = 500  # ids in one statement

_ids: BindParameter[list[int]] = bindparam("ids", expanding=True)
_changed = select(resources.c.id, resources.c.changed).where(resources.c.id.in_(_ids))
_inner = select(resources.c.id, resources.c.changed, resources.c.parent_id).where(
    resources.c.parent_id.in_(_ids), resources.c.is_collection
)
_files = (
    select(resources.c.parent_id, func.sum(resources.c.size))
    .where(resources.c.parent_id.in_(_ids))
    .group_by(resources.c.parent_id)
)


class Sizes:
    """Sums of one process."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int]] = {}  # by resource id: number of the last change, bytes

    def below(self, connection: Connection, collections: Iterable[int]) -> dict[int, int]:
        """Bytes of all files below some collections, by resource id.

        Args:
            connection: its statements must see one moment.
        """
        asked = list(collections)
        numbers: dict[int, int] = dict(_rows(connection, _changed, asked))
        parents: dict[int, int] = {}
        left, order = self._unknown(numbers), []
        while left:  # level by level, down to where everything is known
            order += left
            inner = _rows(connection, _inner, left)
            parents.update((id, parent) for id, _, parent in inner)
            numbers.update((id, changed) for id, changed, _ in inner)
            left = self._unknown({id: changed for id, changed, _ in inner})
        sums: dict[int, int] = defaultdict(int, dict(_rows(connection, _files, order)))
        fresh = set(order)
        for id, parent in parents.items():
            if id not in fresh:
                sums[parent] += self._known[id][1]
        for id in reversed(order):
            self._remember(id, numbers[id], sums[id])
            if id in parents:
                sums[parents[id]] += sums[id]
        return {id: sums[id] if id in fresh else self._known[id][1] for id in asked if id in numbers}

    def _unknown(self, numbers: dict[int, int]) -> list[int]:
        return [id for id, changed in numbers.items() if self._known.get(id, (-1, 0))[0] != changed]

    def _remember(self, id: int, changed: int, size: int) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[id] = (changed, size)


def _rows(connection: Connection, statement: Select[Any], ids: list[int]) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(ids), _AT_ONCE):
        found += connection.execute(statement, {"ids": ids[start : start + _AT_ONCE]}).all()
    return found
