"""Submissions: stored answers for retries, boards by country and mods, votes, favourites, comments, screenshots."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _count(name: str, type_: sa.types.TypeEngine[int] = Big) -> sa.Column[int]:
    return sa.Column(name, type_, server_default=sa.text("0"), nullable=False)


def upgrade() -> None:
    _beatmaps()
    _scores()
    op.create_table(
        "versions",
        sa.Column("name", sa.String(length=32), nullable=False),
        _count("value"),
        sa.PrimaryKeyConstraint("name", name="pk_versions"),
    )
    op.execute("INSERT INTO versions (name, value) VALUES ('boards', 0)")
    op.create_table(
        "submissions",
        sa.Column("score_id", Big, autoincrement=False, nullable=False),
        sa.Column("chart", sa.Text(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name="fk_submissions_score_id"),
        sa.PrimaryKeyConstraint("score_id", name="pk_submissions"),
    )
    op.create_index("ix_submissions_at_ms", "submissions", ["at_ms"])
    op.create_table(
        "recomputed",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("score_id", Big, nullable=False),
        sa.Column("pp", sa.Double(), nullable=False),
        sa.Column("calculator", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_recomputed_user_id"),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name="fk_recomputed_score_id"),
        sa.PrimaryKeyConstraint("user_id", "score_id", name="pk_recomputed"),
        sqlite_with_rowid=False,
    )


def _beatmaps() -> None:
    for column in (
        sa.Column("check_at_ms", Big, nullable=True),
        _count("missing_upstream", sa.Integer()),
        _count("has_video", sa.Integer()),
        _count("has_storyboard", sa.Integer()),
        sa.Column("osz_size", Big, nullable=True),
        _count("favourites"),
    ):
        op.add_column("sets", column)
    where = sa.text("check_at_ms IS NOT NULL")
    op.create_index("ix_sets_check", "sets", ["check_at_ms"], sqlite_where=where, postgresql_where=where)
    op.create_index("ix_sets_updated", "sets", [sa.text("last_update_ms DESC"), "id"])
    current = sa.text('"current" = 1')
    lower = [sa.text("lower(filename)")]
    op.create_index("ix_maps_filename_lower", "maps", lower, sqlite_where=current, postgresql_where=current)
    for name in ("rating_sum", "rating_count", "board_version"):
        op.add_column("maps", _count(name))
    op.create_table(
        "ratings",
        sa.Column("map_key", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("rating", sa.Integer(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["map_key"], ["maps.key"], name="fk_ratings_map_key"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_ratings_user_id"),
        sa.PrimaryKeyConstraint("map_key", "user_id", name="pk_ratings"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "favourites",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("added_at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_favourites_user_id"),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name="fk_favourites_set_id"),
        sa.PrimaryKeyConstraint("user_id", "set_id", name="pk_favourites"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_favourites_on", "favourites", ["set_id", "user_id"])
    op.create_table(
        "comments",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("target", sa.String(length=8), nullable=False),
        sa.Column("target_id", Big, nullable=False),
        sa.Column("time_ms", Big, nullable=False),
        sa.Column("text", sa.String(length=80), nullable=False),
        sa.Column("colour", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_comments_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_comments"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_comments_user_id", "comments", ["user_id"])
    op.create_index("ix_comments_on", "comments", ["target", "target_id", "time_ms", "id"])
    op.create_table(
        "screenshots",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_screenshots_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_screenshots"),
    )
    op.create_index("ix_screenshots_user_id", "screenshots", ["user_id"])


def _scores() -> None:
    op.add_column("scores", sa.Column("country", sa.String(length=2), server_default=sa.text("'xx'"), nullable=False))
    op.execute(
        "UPDATE scores SET country = (SELECT users.country FROM users WHERE users.id = scores.user_id) "
        "WHERE EXISTS (SELECT 1 FROM users WHERE users.id = scores.user_id AND users.country <> 'xx')"
    )
    for name in ("ix_scores_board", "ix_scores_pp_board"):
        op.drop_index(name, "scores")
    for name, where, between, measure in (
        ("ix_scores_board", "best_score = 1", (), "score"),
        ("ix_scores_pp_board", "best_pp = 1", (), "pp"),
        ("ix_scores_country_board", "best_score = 1 AND (mode & 12) = 0", ("country",), "score"),
        ("ix_scores_country_pp_board", "best_pp = 1 AND (mode & 12) <> 0", ("country",), "pp"),
        ("ix_scores_one_mods_board", "best_mods = 1 AND (mode & 12) = 0", ("mods_key",), "score"),
        ("ix_scores_one_mods_pp_board", "best_mods = 1 AND (mode & 12) <> 0", ("mods_key",), "pp"),
    ):
        op.create_index(
            name,
            "scores",
            [
                "map_key",
                "mode",
                *between,
                sa.text(f"{measure} DESC"),
                "id",
                "user_id",
                "hidden",
                where.partition(" ")[0],
            ],
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
