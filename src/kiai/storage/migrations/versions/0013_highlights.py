"""Changes of first places, records of pp, and plays of each week."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MODES = (0, 1, 2, 3, 4, 5, 6, 8)


def upgrade() -> None:
    op.create_table(
        "first_place_changes",
        sa.Column("id", _big, sa.Identity(), nullable=False),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("score_id", _big, nullable=False),
        sa.Column("previous_score_id", _big, nullable=True),
        sa.Column("previous_user_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name="fk_first_place_changes_score_id"),
        sa.PrimaryKeyConstraint("id", name="pk_first_place_changes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_first_place_changes_at_ms", "first_place_changes", ["at_ms"])
    op.create_table(
        "pp_records",
        sa.Column("mode", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("score_id", _big, nullable=True),
        sa.Column("pp", sa.Double(), nullable=False, server_default=sa.text("0")),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name="fk_pp_records_score_id"),
        sa.PrimaryKeyConstraint("mode", name="pk_pp_records"),
    )
    op.create_table(
        "week_plays",
        sa.Column("week", sa.Integer(), nullable=False),
        sa.Column("map_key", sa.Integer(), nullable=False),
        sa.Column("plays", _big, nullable=False, server_default=sa.text("0")),
        sa.ForeignKeyConstraint(["map_key"], ["maps.key"], name="fk_week_plays_map_key"),
        sa.PrimaryKeyConstraint("week", "map_key", name="pk_week_plays"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_week_plays_most", "week_plays", ["week", sa.text("plays DESC"), "map_key"])
    best = sa.text("best_pp = 1")
    op.create_index(
        "ix_scores_top", "scores", ["mode", sa.text("pp DESC"), "id"], sqlite_where=best, postgresql_where=best
    )
    _fill()


def _fill() -> None:
    """Compute the rows from the scores that are there already."""
    connection = op.get_bind()
    # The newest first places, whose former holders are not known.
    connection.execute(
        sa.text(
            "INSERT INTO first_place_changes (at_ms, score_id) SELECT since_ms, score_id FROM "
            "(SELECT since_ms, score_id FROM first_places ORDER BY since_ms DESC LIMIT 100) AS newest ORDER BY since_ms"
        )
    )
    top = sa.text(
        "SELECT scores.id, scores.pp FROM scores JOIN maps ON maps.key = scores.map_key "
        "JOIN users ON users.id = scores.user_id WHERE scores.mode = :mode AND scores.best_pp = 1 "
        "AND scores.hidden = 0 AND maps.status IN (2, 3) AND (users.priv & 3) = 3 AND scores.pp > 0 "
        "ORDER BY scores.pp DESC, scores.id LIMIT 1"
    )
    record = sa.text("INSERT INTO pp_records (mode, score_id, pp) VALUES (:mode, :id, :pp)")
    for mode in MODES:
        found = connection.execute(top, {"mode": mode}).first()
        score_id, pp = found if found is not None else (None, 0.0)
        connection.execute(record, {"mode": mode, "id": score_id, "pp": pp})
