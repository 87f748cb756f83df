"""The word filter of the chat, and the lines of channels that are no longer shown."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "chat_filters",
        sa.Column("pattern", sa.String(64), nullable=False),
        sa.Column("replacement", sa.Text(), nullable=True),
        sa.Column("silence_s", sa.Integer(), nullable=False),
        sa.Column("changed_at_ms", Big, nullable=False),
        sa.PrimaryKeyConstraint("pattern", name="pk_chat_filters"),
    )
    op.create_table(
        "chat_erasures",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_chat_erasures_user_id"),
        sa.PrimaryKeyConstraint("user_id", "channel", name="pk_chat_erasures"),
    )
    op.create_index("ix_chat_erasures_at", "chat_erasures", ["at_ms"])
