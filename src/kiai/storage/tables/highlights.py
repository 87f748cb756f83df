"""Tables of the start page: changes of first places, records of pp, and the plays of each week."""

from sqlalchemy import Column, Double, ForeignKey, Identity, Index, Integer, PrimaryKeyConstraint, Table, text

from kiai.storage.tables.columns import Big, count_column, metadata

first_place_changes = Table(
    "first_place_changes",  # plays that took a first place from another player, or an empty board; old rows are deleted
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("at_ms", Big, nullable=False, index=True),
    Column("score_id", ForeignKey("scores.id"), nullable=False),
    Column("previous_score_id", Big),  # null: nobody was first
    Column("previous_user_id", Integer),
    sqlite_autoincrement=True,
)

pp_records = Table(
    "pp_records",  # the visible score with the most pp in each mode; one row a mode
    metadata,
    Column("mode", Integer, primary_key=True, autoincrement=False),
    Column("score_id", ForeignKey("scores.id")),  # null: no score gives pp in this mode
    Column("pp", Double, nullable=False, server_default=text("0")),
)

week_plays = Table(
    "week_plays",  # plays of each map in this week and the one before
    metadata,
    Column("week", Integer, nullable=False),  # weeks from Monday 1969-12-29, UTC
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    count_column("plays"),
    PrimaryKeyConstraint("week", "map_key"),
    sqlite_with_rowid=False,
)
Index("ix_week_plays_most", week_plays.c.week, week_plays.c.plays.desc(), week_plays.c.map_key)
