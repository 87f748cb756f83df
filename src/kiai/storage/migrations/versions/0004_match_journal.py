"""The position up to which the journal of matches is written."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # The writer updates this row and never inserts it.
    op.execute("INSERT INTO versions (name, value) VALUES ('match_history', 0)")
