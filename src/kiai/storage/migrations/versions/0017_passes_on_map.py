"""An index for all passes of a player on a map."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_index(
        "ix_scores_passes_on",
        "scores",
        ["map_key", "user_id", "mode", "id"],
        sqlite_where=sa.text("passed = 1"),
        postgresql_where=sa.text("passed = 1"),
    )
