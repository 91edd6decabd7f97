"""Writes into the audit trail what has changed in the shares of the configuration, which is a file."""

import json
from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert

from baludav.config import Share
from baludav.db import audit
from baludav.db.audit import Event, Kind, happened
from baludav.db.engine import Database
from baludav.db.tables import meta

_KEY = "shares"

_known = select(meta.c.value).where(meta.c.key == bindparam("which"))
_new = insert(meta)
# The upsert is spelled alike in SQLite and PostgreSQL.
_keep = _new.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": _new.excluded.value})


def note_shares(database: Database, shares: Mapping[str, Share]) -> None:
    """Compare the shares with those of the last start; of all processes that do so, one finds what has changed."""
    now = {name: _described(share) for name, share in shares.items()}
    text = json.dumps(now, sort_keys=True)
    if (database.note(_KEY) or "{}") == text:
        return
    template = happened(Kind.SHARE_CHANGED)

    def work(connection: Connection) -> None:
        before = json.loads(connection.scalar(_known, {"which": _KEY}) or "{}")
        audit.record(connection, *_changes(before, now, template))
        connection.execute(_keep, {"key": _KEY, "value": text})

    database.commit(work, spares_accounts=True)


def _changes(before: Mapping[str, str], now: Mapping[str, str], template: Event) -> list[Event]:
    events = []
    for name in sorted({*before, *now}):
        if before.get(name) == now.get(name):
            continue
        kind = Kind.SHARE_CHANGED if name in before and name in now else Kind.SHARE_ADDED
        if name not in now:
            kind = Kind.SHARE_REMOVED
        events.append(template._replace(kind=kind, path=f"/{name}", detail=now.get(name, "")))
    return events


def _described(share: Share) -> str:
    return f"{share.folder}; read: {', '.join(share.read) or 'nobody'}; write: {', '.join(share.write) or 'nobody'}"
