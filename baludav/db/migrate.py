"""Brings a database to the present schema; each step is a file in `migrations/versions`."""

import secrets
import uuid
from pathlib import Path

from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

from baludav.db.engine import Database
from baludav.db.tables import meta
from baludav.errors import Unavailable

HEAD = "0012"


def upgrade(database: Database) -> None:
    """Create or upgrade the schema; safe to call from several processes, quick when nothing is to do.

    Raises:
        Unavailable: the file is no database, or cannot be read.
    """
    try:
        revision = _revision(database.engine)
    except DBAPIError as error:
        raise Unavailable(f"The index cannot be read: {error.orig}") from error
    if revision == HEAD:
        return
    # Alembic takes longer to import than the rest of a start takes, and is needed only here.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # all or nothing; else each statement would be a transaction
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        known = set(connection.scalars(select(meta.c.key)))
        for key, value in (("instance", str(uuid.uuid4())), ("epoch", secrets.token_hex(8))):
            if key not in known:
                connection.execute(meta.insert().values(key=key, value=value))


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision
