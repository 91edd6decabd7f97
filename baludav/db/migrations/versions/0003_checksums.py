"""Other hashes than SHA-256."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "checksums",
        sa.Column("root_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("sha1", sa.String(length=40), nullable=True),
        sa.Column("md5", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["root_id"], ["storage_roots.id"], name=op.f("fk_checksums_root_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("root_id", "sha256", name=op.f("pk_checksums")),
        sqlite_with_rowid=False,
    )
