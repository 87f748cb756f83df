"""Open requests to rank sets of beatmaps."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "map_requests",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("map_id", sa.Integer(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_map_requests_user_id"),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name="fk_map_requests_set_id"),
        sa.PrimaryKeyConstraint("id", name="pk_map_requests"),
        sa.UniqueConstraint("user_id", "set_id", name="uq_map_requests_user_id_set_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_map_requests_set_id", "map_requests", ["set_id"])
