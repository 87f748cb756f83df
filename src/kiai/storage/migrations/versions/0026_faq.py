"""The operator's texts for the bot."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "faq",
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("changed_at_ms", Big, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_faq"),
    )
