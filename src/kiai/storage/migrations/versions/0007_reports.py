"""Reports of players about players."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("lines", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("closed_at_ms", Big, nullable=True),
        sa.Column("closed_by", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(["by_id"], ["users.id"], name="fk_reports_by_id"),
        sa.ForeignKeyConstraint(["target_id"], ["users.id"], name="fk_reports_target_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reports_about", "reports", ["target_id", "id"])
    where = sa.text("closed_at_ms IS NULL")
    op.create_index(
        "uq_reports_open", "reports", ["by_id", "target_id"], unique=True, sqlite_where=where, postgresql_where=where
    )
    op.create_index("ix_reports_open", "reports", ["id"], sqlite_where=where, postgresql_where=where)
