"""After a restore: the index is one from the past, and whoever remembers what came later must be told."""

import secrets
import time

from sqlalchemy import Connection, text
from sqlalchemy.dialects.sqlite import insert

from baludav.db import audit
from baludav.db.audit import Kind, happened
from baludav.db.engine import Database
from baludav.db.tables import meta

EPOCH = "epoch"
FINGERPRINT = "data_fingerprint"
_SKIPPED = 1 << 32  # ids that may have been given since the backup was made; they must not be given again


def declare_restored(database: Database) -> None:
    """Begin a new epoch: change tokens from before say nothing any more, and sync clients keep what they have.

    Ids that were given to resources between backup and restore are skipped: a client that knows one would take
    another resource for it.
    """
    event = happened(Kind.INDEX_RESTORED)

    def work(connection: Connection) -> None:
        _declare(connection)
        audit.record(connection, event)

    database.commit(work)


def declare_new(database: Database) -> None:
    """After an index was lost: ids that it has given are not given again, since what it kept of the past bears them."""
    # Milliseconds rise faster than ids are given, so this holds for the next loss as well.
    values = {"name": "resources", "now": time.time_ns() // 1_000_000}
    event = happened(Kind.INDEX_LOST)

    def work(connection: Connection) -> None:
        connection.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :now)"), values)
        audit.record(connection, event)

    database.commit(work)


def _declare(connection: Connection) -> None:
    for key in (EPOCH, FINGERPRINT):
        # The upsert is spelled alike in SQLite and PostgreSQL.
        value = insert(meta).values(key=key, value=secrets.token_hex(8))
        connection.execute(
            value.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": value.excluded.value})
        )
    connection.execute(
        text("UPDATE sqlite_sequence SET seq = seq + :skipped WHERE name = 'resources'"), {"skipped": _SKIPPED}
    )
