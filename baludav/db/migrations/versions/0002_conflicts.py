"""Conflicts of all kinds, one open for each path of a device. Nothing has written to the table so far."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_table("conflicts")
    op.create_table(
        "conflicts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("base_sha256", sa.String(length=64), nullable=True),
        sa.Column("local_sha256", sa.String(length=64), nullable=True),
        sa.Column("server_sha256", sa.String(length=64), nullable=True),
        sa.Column("other", sa.Text(), nullable=True),
        sa.Column("detected_at", sa.Float(), nullable=False),
        sa.Column("resolution", sa.String(length=16), nullable=True),
        sa.Column("resolved_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_conflicts_device_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_conflicts_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conflicts")),
        sa.UniqueConstraint("public_id", name=op.f("uq_conflicts_public_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_conflicts_user", "conflicts", ["user_id"], unique=False)
    op.create_index(
        "uq_conflicts_open",
        "conflicts",
        ["device_id", "path"],
        unique=True,
        sqlite_where=sa.text("resolution IS NULL"),
        postgresql_where=sa.text("resolution IS NULL"),
    )
