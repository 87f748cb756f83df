"""How far the journal of matches was written."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("INSERT INTO versions (name, value) VALUES ('match_history', 0)")
