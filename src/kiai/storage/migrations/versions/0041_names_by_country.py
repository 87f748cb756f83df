"""An index for the accounts of a country by name."""

from alembic import op
from sqlalchemy import text

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    op.create_index("ix_users_own_country_names", "users", [text("coalesce(home_country, country)"), "safe_name"])
