"""Indexes for filtered lists, past matches and owners."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

STATUS = sa.text("((best_pp | best_score) * (2 - passed) + passed)")


def upgrade() -> None:
    op.create_index("ix_scores_newest", "scores", ["mode", STATUS, "id"])
    op.create_index("ix_scores_newest_with", "scores", ["mods", "mode", STATUS, "id"])
    # The index now covers the other filters too, so that a list reads only the rows that match.
    op.drop_index("ix_users_country", "users")
    op.create_index("ix_users_country", "users", ["country", "id", "priv", "preferred_mode", "play_style"])
    op.create_index("ix_users_play_style", "users", ["play_style", "id", "priv", "preferred_mode"])
    op.create_index("ix_users_preferred_mode", "users", ["preferred_mode", "id", "priv"])
    op.create_index("ix_users_priv", "users", ["priv", "id"])
    op.create_index("ix_users_names", "users", ["id", "safe_name", "priv"])
    _partial("users", "ix_users_clan_priv", "clan_priv > 0", "clan_priv", "id", "priv")
    _partial("users", "ix_users_developers", "(priv & 16384) != 0", "priv", "id")
    _partial("matches", "ix_matches_past", "private = 0 AND ended_at_ms IS NOT NULL", "id")


def _partial(table: str, name: str, where: str, *columns: str) -> None:
    op.create_index(name, table, list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))
