"""The server's own figures, one row a minute."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    op.create_table(
        "samples",
        sa.Column("minute", sa.Integer(), nullable=False),
        sa.Column("server", sa.String(64), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("submissions", sa.Integer(), nullable=False),
        sa.Column("p99_ms", sa.Double()),
        sa.Column("lag_ms", sa.Double()),
        sa.Column("online", sa.Integer()),
        sa.PrimaryKeyConstraint("minute", "server", name="pk_samples"),
    )
    op.create_index(
        "ix_samples_whole",
        "samples",
        ["minute"],
        sqlite_where=sa.text("minutes = 1"),
        postgresql_where=sa.text("minutes = 1"),
    )
