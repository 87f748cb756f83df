"""An index for the accounts that log in from an address."""

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_index("ix_logins_address", "logins", ["address", "user_id"])
