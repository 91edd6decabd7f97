"""Which client took a lock."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("locks", sa.Column("client", sa.String(length=200), nullable=False, server_default=""))
