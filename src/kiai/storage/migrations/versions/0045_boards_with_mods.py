"""The indexes of boards with a filter by mods contain only the modes that sort by their measure."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"


def upgrade() -> None:
    for name, measure, where in (
        ("ix_scores_mods_board", "score DESC", "best_mods = 1 AND (mode & 12) = 0"),
        ("ix_scores_mods_pp_board", "pp DESC", "best_mods = 1 AND (mode & 12) <> 0"),
    ):
        op.drop_index(name, "scores")
        op.create_index(
            name,
            "scores",
            ["map_key", "mode", sa.text(measure), "id"],
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
