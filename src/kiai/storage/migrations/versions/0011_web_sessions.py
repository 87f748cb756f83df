"""Sessions of browsers on the website."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "web_sessions",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", _BIG, nullable=False),
        sa.Column("seen_at_ms", _BIG, nullable=False),
        sa.Column("expires_at_ms", _BIG, nullable=False),
        sa.Column("second_factor_at_ms", _BIG),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_web_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_web_sessions_user_id"),
    )
    op.create_index("ix_web_sessions_expires_at_ms", "web_sessions", ["expires_at_ms"])
    op.create_index("ix_web_sessions_of", "web_sessions", ["user_id", "created_at_ms"])
