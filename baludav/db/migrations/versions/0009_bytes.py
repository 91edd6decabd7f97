"""Bytes of a given size are found without looking at all others."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.drop_index("ix_resources_root", "resources")
    op.create_index("ix_resources_root", "resources", ["root_id", "size"], unique=False)
    op.create_index("ix_versions_size", "versions", ["root_id", "size"], unique=False)
