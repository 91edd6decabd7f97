"""A database of any earlier revision becomes one of today, and keeps what it holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from baludav.db import migrate
from baludav.db.engine import Database
from baludav.db.tables import metadata

FOLDER = Path(migrate.__file__).parent / "migrations"
ALICE = (
    "INSERT INTO users (name, password_hash, is_admin, is_disabled, revision, created_at) "
    "VALUES ('alice', 'hash', 1, 0, 7, 1.5)"
)


def config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config


REVISIONS = [script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()][::-1]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "index.db")
    yield database
    database.close()


def _schema(database: Database) -> dict[str, str]:
    """Everything in a database, by its name, as the statement that makes it; spaces do not count."""
    with database.reading() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {name: " ".join(sql.split()) for name, sql in rows if not name.startswith(("sqlite_", "alembic_"))}


def test_the_last_step_is_the_one_that_the_server_waits_for() -> None:
    assert REVISIONS[-1] == migrate.HEAD


def test_the_steps_make_what_the_tables_say(database: Database) -> None:
    migrate.upgrade(database)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        indexes = inspect(connection).get_indexes("conflicts")
    (unique,) = [index for index in indexes if index["unique"] and index["name"] == "uq_conflicts_open"]
    assert unique["dialect_options"]["sqlite_where"].text == "resolution IS NULL"  # type: ignore[index]


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_an_earlier_database_is_upgraded(database: Database, tmp_path: Path, revision: str) -> None:
    older = config()
    with database.engine.connect() as connection, connection.begin():
        older.attributes["connection"] = connection
        command.upgrade(older, revision)
        connection.execute(text(ALICE))
        connection.execute(text("INSERT INTO meta VALUES ('epoch', 'of the old one'), ('instance', 'the old one')"))
    migrate.upgrade(database)
    fresh = Database(tmp_path / "fresh.db")
    migrate.upgrade(fresh)
    assert _schema(database) == _schema(fresh)
    fresh.close()
    assert (database.note("epoch"), database.note("instance")) == ("of the old one", "the old one")
    with database.reading() as connection:
        assert connection.execute(text("SELECT name, revision FROM users")).all() == [("alice", 7)]


def test_upgrading_again_changes_nothing(database: Database) -> None:
    migrate.upgrade(database)
    before = _schema(database), database.note("epoch")
    migrate.upgrade(database)
    assert (_schema(database), database.note("epoch")) == before
