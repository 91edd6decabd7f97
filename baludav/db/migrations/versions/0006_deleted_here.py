"""What was deleted at a path is found by the path."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("ix_trash_path", "trash", ["root_id", "path"], unique=False)
