"""Wipes of players and maps: up to which score the scores of a player in a mode, or of a map, are hidden."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "user_wipes",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("last_score_id", Big, nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_user_wipes_user_id"),
        sa.PrimaryKeyConstraint("user_id", "mode", name="pk_user_wipes"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "map_wipes",
        sa.Column("map_key", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("last_score_id", Big, nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["map_key"], ["maps.key"], name="fk_map_wipes_map_key"),
        sa.PrimaryKeyConstraint("map_key", name="pk_map_wipes"),
    )
