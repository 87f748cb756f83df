"""Nominations of sets, and the times at which qualified sets become ranked."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "nominations",
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name="fk_nominations_set_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_nominations_user_id"),
        sa.PrimaryKeyConstraint("set_id", "user_id", name="pk_nominations"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_nominations_by", "nominations", ["user_id", "set_id"])
    op.create_table(
        "qualified_sets",
        sa.Column("set_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ranks_at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name="fk_qualified_sets_set_id"),
        sa.PrimaryKeyConstraint("set_id", name="pk_qualified_sets"),
    )
    op.create_index("ix_qualified_sets_due", "qualified_sets", ["ranks_at_ms", "set_id"])
