"""Tables and indexes of profiles and rankings on the website."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
YEAR_AND_MONTH = {
    "sqlite": (
        "CAST(strftime('%Y', play_time_ms / 1000, 'unixepoch') AS INTEGER) * 12"
        " + CAST(strftime('%m', play_time_ms / 1000, 'unixepoch') AS INTEGER) - 1"
    ),
    "postgresql": (
        "CAST(extract(year FROM to_timestamp(play_time_ms / 1000) AT TIME ZONE 'UTC') * 12"
        " + extract(month FROM to_timestamp(play_time_ms / 1000) AT TIME ZONE 'UTC') - 1 AS INTEGER)"
    ),
}


def upgrade() -> None:
    _create_tables()
    op.add_column("stats", sa.Column("last_play_ms", BIG, nullable=False, server_default=sa.text("0")))
    _partial("scores", "ix_scores_top_with", "best_pp = 1", "mode", "mods_key", sa.text("pp DESC"), "id")
    _partial("scores", "ix_scores_top_in", "best_pp = 1", "mode", "country", sa.text("pp DESC"), "id")
    _fill()


def _create_tables() -> None:
    op.create_table(
        "month_plays",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("plays", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_month_plays_user_id")),
        sa.PrimaryKeyConstraint("user_id", "mode", "month", name=op.f("pk_month_plays")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pinned_scores",
        sa.Column("score_id", BIG, autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name=op.f("fk_pinned_scores_score_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_pinned_scores_user_id")),
        sa.PrimaryKeyConstraint("score_id", name=op.f("pk_pinned_scores")),
    )
    op.create_index("ix_pinned_scores_of", "pinned_scores", ["user_id", "mode", "position"])
    op.create_table(
        "peak_ranks",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("at_ms", BIG, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_peak_ranks_user_id")),
        sa.PrimaryKeyConstraint("user_id", "mode", name=op.f("pk_peak_ranks")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "activity",
        sa.Column("id", BIG, sa.Identity(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at_ms", BIG, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("score_id", BIG),
        sa.Column("other_id", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_activity_user_id")),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name=op.f("fk_activity_score_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_activity_of", "activity", ["user_id", "id"])
    op.create_index(op.f("ix_activity_at_ms"), "activity", ["at_ms"])
    sums = ("players", "active", "plays", "rscore", "pp")
    op.create_table(
        "country_totals",
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        *[_count(name) for name in sums],
        sa.PrimaryKeyConstraint("mode", "country", name=op.f("pk_country_totals")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "clan_totals",
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("clan_id", sa.Integer(), nullable=False),
        *[_count(name) for name in ("members", "pp", "rscore", "tscore", "plays")],
        sa.Column("acc", sa.Double(), nullable=False, server_default=sa.text("0")),
        sa.ForeignKeyConstraint(["clan_id"], ["clans.id"], name=op.f("fk_clan_totals_clan_id")),
        sa.PrimaryKeyConstraint("mode", "clan_id", name=op.f("pk_clan_totals")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_clan_totals_pp", "clan_totals", ["mode", sa.text("pp DESC"), "clan_id"])


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, BIG, nullable=False, server_default=sa.text("0"))


def _partial(table: str, name: str, where: str, *columns: object) -> None:
    op.create_index(name, table, list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))  # type: ignore[arg-type]


def _fill() -> None:
    """Compute what the new tables contain for the scores and ranks that exist already."""
    month = YEAR_AND_MONTH[op.get_bind().dialect.name]
    plays = f"SELECT user_id, mode, {month}, count(*) FROM scores WHERE hidden = 0 GROUP BY 1, 2, 3"  # noqa: S608
    op.execute("INSERT INTO month_plays (user_id, mode, month, plays) " + plays)
    op.execute(
        "UPDATE stats SET last_play_ms = coalesce((SELECT max(play_counts.last_play_ms) FROM play_counts"
        " WHERE play_counts.user_id = stats.user_id AND play_counts.mode = stats.mode), 0)"
    )
    # The best rank of the days that are kept, on the first day on which the player had it.
    op.execute(
        "INSERT INTO peak_ranks (user_id, mode, rank, at_ms)"
        " SELECT days.user_id, days.mode, days.rank, CAST(min(days.day) AS BIGINT) * 86400000 FROM rank_history AS days"
        " JOIN (SELECT user_id, mode, min(rank) AS best FROM rank_history WHERE rank > 0 GROUP BY 1, 2) AS peaks"
        " ON peaks.user_id = days.user_id AND peaks.mode = days.mode AND peaks.best = days.rank"
        " GROUP BY days.user_id, days.mode, days.rank"
    )
