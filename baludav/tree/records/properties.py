"""Dead properties (RFC 4918 §4): what clients store with a resource and the server only keeps.

They hang on the resource's id, so they follow every rename. Names are in Clark notation (`{namespace}name`);
values are serialised elements, which this room does not look into.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, delete, func, select

from baludav.db.statements import Statement
from baludav.db.tables import properties, resources
from baludav.errors import InsufficientStorage
from baludav.tree.records import facts

MAX_VALUE = 64 * 1024  # bytes of one serialised property
_PART = 64

_of_one = Statement(select(properties.c.name, properties.c.value).where(properties.c.resource_id == bindparam("of")))
_of_many = select(properties.c.resource_id, properties.c.name, properties.c.value).where(
    properties.c.resource_id.in_(bindparam("ids", expanding=True))
)
_count = Statement(select(func.count()).select_from(properties).where(properties.c.resource_id == bindparam("of")))
_root_of = select(resources.c.root_id).where(resources.c.id == properties.c.resource_id).scalar_subquery()
_count_of_root = Statement(select(func.count()).select_from(properties).where(_root_of == bindparam("root")))
_any = Statement(select(properties.c.resource_id).limit(1))
_remove = Statement(
    delete(properties).where(properties.c.resource_id == bindparam("of"), properties.c.name == bindparam("which"))
)
_insert = Statement(properties.insert(), ("resource_id", "name", "value"))
_AT_ONCE = 500


def read(connection: Connection, resource_id: int) -> dict[str, bytes]:
    """All dead properties of one resource."""
    return dict(_of_one.rows(connection, {"of": resource_id}))  # type: ignore[arg-type]  # pairs


def read_many(connection: Connection, resource_ids: Iterable[int]) -> dict[int, dict[str, bytes]]:
    """Dead properties of many resources; those without any are missing from the answer."""
    found: dict[int, dict[str, bytes]] = defaultdict(dict)
    if _any.row(connection) is None:
        return found
    ids = list(resource_ids)
    for start in range(0, len(ids), _AT_ONCE):
        for of, name, value in connection.execute(_of_many, {"ids": ids[start : start + _AT_ONCE]}):
            found[of][name] = value
    return found


class Room:
    """How many dead properties there may be: of a resource, and of all that lie in one storage root.

    The latter are counted now and then. After that a process adds a small part of what there was room for, and then
    counts again: so together they pass the limit by little, if at all.
    """

    def __init__(self, of_resource: int, of_root: int) -> None:
        self.of_resource = of_resource
        self._of_root = of_root
        self._free: dict[int, int] = {}  # how many more before the next count, by the storage root's id

    def require(self, connection: Connection, root_id: int, more: int) -> None:
        """See whether so many more may be in a storage root; to be asked before the change begins.

        Raises:
            InsufficientStorage: there are too many (RFC 4918 §9.2.1).
        """
        if not more:
            return
        free = self._free.get(root_id, 0) - more
        if free < 0:
            left = self._of_root - (_count_of_root.scalar(connection, {"root": root_id}) or 0) - more
            if left < 0:
                told = f"All that is here together may have {self._of_root} dead properties at most"
                raise InsufficientStorage(told).at("properties_total")
            free = left // _PART
        self._free[root_id] = free


def write(connection: Connection, resource_id: int, changes: Mapping[str, bytes | None], most: int) -> None:
    """Set or (None) remove dead properties.

    Args:
        most: that the resource may have.
    Raises:
        InsufficientStorage: a value, or their number, is beyond what is kept (RFC 4918 §9.2.1).
    """
    if changes:
        facts.changed(connection)
    for name, value in changes.items():
        _remove.change(connection, {"of": resource_id, "which": name})
        if value is None:
            continue
        if len(value) > MAX_VALUE or len(name) > 1024:
            raise InsufficientStorage(f"A property may hold {MAX_VALUE} bytes at most")
        _insert.insert(connection, {"resource_id": resource_id, "name": name, "value": value})
    if (_count.scalar(connection, {"of": resource_id}) or 0) > most:
        raise InsufficientStorage(f"A resource may have {most} dead properties at most").at("properties")
