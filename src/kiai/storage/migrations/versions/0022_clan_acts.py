"""Acts in clans: codes, invitations, requests, history, reserved names and tags."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_none = sa.text("0")
_empty = sa.text("''")


def upgrade() -> None:
    op.add_column("users", sa.Column("clan_left_at_ms", _big))
    op.add_column("clans", sa.Column("code", sa.String(16)))
    op.add_column("clans", sa.Column("renamed_at_ms", _big))
    op.add_column("clans", sa.Column("owner_away_since_ms", _big))
    _partial("uq_clans_code", "clans", ["code"], "code IS NOT NULL", unique=True)
    for table, own in (
        (
            "clan_invitations",
            [sa.Column("by_id", sa.Integer(), nullable=False), sa.Column("expires_at_ms", _big, nullable=False)],
        ),
        ("clan_requests", [sa.Column("at_ms", _big, nullable=False)]),
    ):
        op.create_table(
            table,
            sa.Column("clan_id", sa.Integer(), nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            *own,
            sa.ForeignKeyConstraint(["clan_id"], ["clans.id"], name=f"fk_{table}_clan_id"),
            sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=f"fk_{table}_user_id"),
            sa.PrimaryKeyConstraint("clan_id", "user_id", name=f"pk_{table}"),
            sqlite_with_rowid=False,
        )
        op.create_index(f"ix_{table}_of", table, ["user_id", "clan_id"])
    op.create_index("ix_clan_invitations_expiry", "clan_invitations", ["expires_at_ms"])
    op.create_table(
        "clan_history",
        sa.Column("id", _big, sa.Identity(), nullable=False),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("clan_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("player_id", _big, server_default=_none, nullable=False),
        sa.Column("actor_id", _big, server_default=_none, nullable=False),
        sa.Column("before", sa.Text(), server_default=_empty, nullable=False),
        sa.Column("after", sa.Text(), server_default=_empty, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_clan_history"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_clan_history_of", "clan_history", ["clan_id", "id"])
    _partial("ix_clan_history_ended", "clan_history", ["at_ms", "clan_id"], "kind = 'disband'")
    op.create_table(
        "clan_reservations",
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("clan_id", sa.Integer(), nullable=False),
        sa.Column("until_ms", _big, nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_clan_reservations"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_clan_reservations_of", "clan_reservations", ["clan_id", "until_ms"])
    op.create_index("ix_clan_reservations_end", "clan_reservations", ["until_ms"])


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
