"""When an app password was used last."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("app_passwords", sa.Column("last_used_at", sa.Float(), nullable=True))
