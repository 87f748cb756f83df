"""The switch that tells workers of texts of the game that the panel has changed."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"


def upgrade() -> None:
    op.bulk_insert(sa.table("switches", sa.column("name")), [{"name": "game_texts"}])
