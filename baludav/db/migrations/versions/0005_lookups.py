"""The root collection of a storage root, and the locks of a user, are found without looking at all others."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index(
        "uq_resources_top",
        "resources",
        ["root_id"],
        unique=True,
        sqlite_where=sa.text("parent_id IS NULL AND name = ''"),
        postgresql_where=sa.text("parent_id IS NULL AND name = ''"),
    )
    op.create_index("ix_locks_user", "locks", ["user_id", "expires_at"], unique=False)
