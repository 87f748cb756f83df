"""Indexes for the search of accounts by staff: states, roles, own country, time of joining, addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"

OWN_COUNTRY = sa.text("coalesce(home_country, country)")


def upgrade() -> None:
    _partial("ix_users_restricted", "(priv & 1) = 0", "id")
    _partial("ix_users_banned", "banned_at_ms IS NOT NULL", "id")
    _partial("ix_users_deleted", "deleted_at_ms IS NOT NULL", "id")
    _partial("ix_users_silenced", "silenced_until_ms > 0", "silenced_until_ms", "id")
    _partial("ix_users_roles", "(priv & 31924) <> 0", "id")
    op.create_index("ix_users_own_country", "users", [OWN_COUNTRY, "id"])
    op.create_index("ix_users_joined", "users", ["created_at_ms", "id"])
    op.create_index("ix_account_events_address", "account_events", ["address", "user_id"])


def _partial(name: str, where: str, *columns: str) -> None:
    op.create_index(name, "users", list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))
