"""Webhooks and their waiting deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", _big, sa.Identity(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("format", sa.String(8), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", _big, nullable=False),
        sa.Column("failures", _big, server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("retry_at_ms", _big, server_default=sa.text("0"), nullable=False),
        sa.Column("parked", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("dropped", _big, server_default=sa.text("0"), nullable=False),
        sa.Column("claim", sa.String(32), server_default=sa.text("''"), nullable=False),
        sa.Column("claimed_until_ms", _big, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", _big, sa.Identity(), nullable=False),
        sa.Column("webhook_id", _big, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_deliveries_of", "webhook_deliveries", ["webhook_id", "id"])
