"""What a client says at the beginning of an upload is there at its end."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("note", sa.Text(), nullable=True))
