"""Switches of the server, and blocked addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAMES = ("maintenance", "debug", "stop", "address_blocks", "settings")


def upgrade() -> None:
    op.create_table(
        "switches",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", Big, nullable=False, server_default=sa.text("0")),
        sa.Column("changed_at_ms", Big, nullable=False, server_default=sa.text("0")),
        sa.Column("ends_at_ms", Big, nullable=False, server_default=sa.text("0")),
        sa.Column("reason", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.PrimaryKeyConstraint("name", name="pk_switches"),
    )
    op.bulk_insert(sa.table("switches", sa.column("name")), [{"name": name} for name in NAMES])
    op.create_table(
        "address_blocks",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("network", sa.String(64), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.Column("ends_at_ms", Big, nullable=False, server_default=sa.text("0")),
        sa.Column("actor_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.PrimaryKeyConstraint("id", name="pk_address_blocks"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_address_blocks_network", "address_blocks", ["network"], unique=True)
