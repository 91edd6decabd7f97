"""What a client says at the beginning of an upload is there at its end."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("note", sa.Text(), nullable=True))
