"""Scores, and the tables derived from them: stats, play counts, first places, medals, activity and rank history."""

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from kiai.storage.tables.columns import Big, count_column, flag_column, metadata, partial_index, text_column

scores = Table(
    "scores",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("mods", Integer, nullable=False),
    Column("mods_key", Integer, nullable=False),  # mods as boards group them (NC counts as DT, PF as SD)
    Column("score", Big, nullable=False),
    Column("pp", Double, nullable=False),
    Column("acc", Double, nullable=False),
    Column("max_combo", Integer, nullable=False),
    Column("n300", Integer, nullable=False),
    Column("n100", Integer, nullable=False),
    Column("n50", Integer, nullable=False),
    Column("nmiss", Integer, nullable=False),
    Column("ngeki", Integer, nullable=False),
    Column("nkatu", Integer, nullable=False),
    Column("grade", String(2), nullable=False),
    flag_column("passed"),
    flag_column("perfect"),
    flag_column("best_pp"),  # the player's best by pp on this map and mode
    flag_column("best_score"),  # the best by score; equal to best_pp in modes 4 to 8
    flag_column("best_mods"),  # the best with these mods_key, by score or pp as the boards of the mode are sorted
    flag_column("hidden"),  # 0: visible; else the sum of the marks of `scores/statements/hiding.py`
    flag_column("overwritten"),  # its player chose a later pass as the best one: see `scores/overwriting.py`
    # A copy of the account's country, as in stats: an index cannot span two tables.
    Column("country", String(2), nullable=False, server_default=text("'xx'")),
    Column("play_time_ms", Big, nullable=False),
    Column("time_elapsed", Integer, nullable=False),  # ms
    Column("client_version", Integer, nullable=False, server_default=text("0")),
    Column("client_flags", Integer, nullable=False, server_default=text("0")),
    Column("checksum", LargeBinary, nullable=False, unique=True),  # 16 bytes that identify this play permanently
    Column("calculator", Integer, nullable=False, server_default=text("0")),  # version of pp; see performance.py
    sqlite_autoincrement=True,
)
# A board is read along one index: the filter first, then the order. The columns after the id make the index cover the
# statements that count places: they read only the index.
partial_index(
    "ix_scores_best_of", "best_pp = 1", scores.c.user_id, scores.c.mode, scores.c.pp.desc(), scores.c.id.desc()
)
Index("ix_scores_recent_of", scores.c.user_id, scores.c.mode, scores.c.id.desc())
Index("ix_scores_map", scores.c.map_key, scores.c.id)  # all plays of a map, for counts and recalculation
# The best combo of a profile is the first of these rows whose map has a board.
partial_index(
    "ix_scores_combo_of",
    "passed = 1",
    scores.c.user_id,
    scores.c.mode,
    scores.c.max_combo.desc(),
    scores.c.map_key,
    scores.c.hidden,
)
# API v2: scores of a mode and a status, optionally with mods, newest first. The status is 2 for a best, else `passed`.
# The expression has the parentheses that PostgreSQL adds itself: a test compares the index with this definition.
_STATUS = "((best_pp | best_score) * (2 - passed) + passed)"
Index(
    "ix_scores_newest",
    scores.c.mode,
    text(_STATUS),
    scores.c.id,
)
Index(
    "ix_scores_newest_with",
    scores.c.mods,
    scores.c.mode,
    text(_STATUS),
    scores.c.id,
)
# Top plays: the best plays of a mode by pp, also of one combination of mods or of one country.
partial_index("ix_scores_top_with", "best_pp = 1", scores.c.mode, scores.c.mods_key, scores.c.pp.desc(), scores.c.id)
partial_index("ix_scores_top_in", "best_pp = 1", scores.c.mode, scores.c.country, scores.c.pp.desc(), scores.c.id)
partial_index("uq_scores_best_pp", "best_pp = 1", scores.c.map_key, scores.c.mode, scores.c.user_id, unique=True)
partial_index("uq_scores_best_score", "best_score = 1", scores.c.map_key, scores.c.mode, scores.c.user_id, unique=True)
partial_index(
    "uq_scores_best_mods",
    "best_mods = 1",
    scores.c.map_key,
    scores.c.mode,
    scores.c.user_id,
    scores.c.mods_key,
    unique=True,
)
partial_index(
    "ix_scores_board",
    "best_score = 1",
    scores.c.map_key,
    scores.c.mode,
    scores.c.score.desc(),
    scores.c.id,
    scores.c.user_id,
    scores.c.hidden,
    scores.c.best_score,
)
partial_index(
    "ix_scores_pp_board",
    "best_pp = 1",
    scores.c.map_key,
    scores.c.mode,
    scores.c.pp.desc(),
    scores.c.id,
    scores.c.user_id,
    scores.c.hidden,
    scores.c.best_pp,
)
partial_index(
    "ix_scores_country_board",
    "best_score = 1 AND (mode & 12) = 0",
    scores.c.map_key,
    scores.c.mode,
    scores.c.country,
    scores.c.score.desc(),
    scores.c.id,
    scores.c.user_id,
    scores.c.hidden,
    scores.c.best_score,
)
partial_index(
    "ix_scores_country_pp_board",
    "best_pp = 1 AND (mode & 12) <> 0",
    scores.c.map_key,
    scores.c.mode,
    scores.c.country,
    scores.c.pp.desc(),
    scores.c.id,
    scores.c.user_id,
    scores.c.hidden,
    scores.c.best_pp,
)
partial_index(
    "ix_scores_one_mods_board",
    "best_mods = 1 AND (mode & 12) = 0",
    scores.c.map_key,
    scores.c.mode,
    scores.c.mods_key,
    scores.c.score.desc(),
    scores.c.id,
    scores.c.user_id,
    scores.c.hidden,
    scores.c.best_mods,
)
partial_index(
    "ix_scores_one_mods_pp_board",
    "best_mods = 1 AND (mode & 12) <> 0",
    scores.c.map_key,
    scores.c.mode,
    scores.c.mods_key,
    scores.c.pp.desc(),
    scores.c.id,
    scores.c.user_id,
    scores.c.hidden,
    scores.c.best_mods,
)
partial_index(
    "ix_scores_mods_board",
    "best_mods = 1 AND (mode & 12) = 0",
    scores.c.map_key,
    scores.c.mode,
    scores.c.score.desc(),
    scores.c.id,
)
partial_index(
    "ix_scores_mods_pp_board",
    "best_mods = 1 AND (mode & 12) <> 0",
    scores.c.map_key,
    scores.c.mode,
    scores.c.pp.desc(),
    scores.c.id,
)
partial_index(
    "ix_scores_recent_on",
    "best_score = 1",
    scores.c.map_key,
    scores.c.mode,
    scores.c.play_time_ms.desc(),
    scores.c.id.desc(),
)
# All passes of a player on a map, in the order of time: when a former best was replaced.
partial_index("ix_scores_passes_on", "passed = 1", scores.c.map_key, scores.c.user_id, scores.c.mode, scores.c.id)

# The scores with the most pp in a mode, for its record.
partial_index("ix_scores_top", "best_pp = 1", scores.c.mode, scores.c.pp.desc(), scores.c.id)

replays = Table(
    "replays",
    metadata,
    Column("score_id", ForeignKey("scores.id"), primary_key=True, autoincrement=False),
    Column(
        "md5", LargeBinary, nullable=False, unique=True
    ),  # of the frames; unique: two players cannot submit one replay
    Column("sha256", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    text_column("life_bar"),  # only imported replays have one
    Column("target_accuracy", Double),
    count_column("views"),
)

submissions = Table(
    "submissions",  # answers to submissions of the last day: a client that retries gets the same answer
    metadata,
    Column("score_id", ForeignKey("scores.id"), primary_key=True, autoincrement=False),
    Column("chart", Text, nullable=False),  # JSON: the player's figures before and after the play
    Column("at_ms", Big, nullable=False, index=True),
)

stats = Table(
    "stats",
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("country", String(2), nullable=False),  # a copy of the account's country, for the indexes of country lists
    count_column("tscore"),
    count_column("rscore"),
    count_column("pp"),
    count_column("plays"),
    count_column("bests"),  # number of best scores that give pp: for the pp bonus, and the length of the list of bests
    count_column("playtime"),  # s
    Column("acc", Double, nullable=False, server_default=text("0")),
    count_column("max_combo"),
    count_column("total_hits"),
    count_column("replay_views"),
    count_column("xh_count"),
    count_column("x_count"),
    count_column("sh_count"),
    count_column("s_count"),
    count_column("a_count"),
    count_column("last_play_ms"),  # of the latest play: who counts as active
    PrimaryKeyConstraint("user_id", "mode"),
    sqlite_with_rowid=False,
)
for _sort in ("pp", "tscore", "rscore", "acc", "plays", "playtime"):
    _column = stats.c[_sort]
    partial_index(f"ix_stats_{_sort}", f"{_sort} > 0", stats.c.mode, _column.desc(), stats.c.user_id)
    partial_index(
        f"ix_stats_country_{_sort}", f"{_sort} > 0", stats.c.country, stats.c.mode, _column.desc(), stats.c.user_id
    )

user_wipes = Table(
    "user_wipes",  # wipes of players that are not lifted: scores up to an id are hidden
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("last_score_id", Big, nullable=False),
    Column("at_ms", Big, nullable=False),
    PrimaryKeyConstraint("user_id", "mode"),
    sqlite_with_rowid=False,
)

map_wipes = Table(
    "map_wipes",  # the same for maps
    metadata,
    Column("map_key", ForeignKey("maps.key"), primary_key=True, autoincrement=False),
    Column("last_score_id", Big, nullable=False),
    Column("at_ms", Big, nullable=False),
)

stale_totals = Table(
    "stale_totals",  # stats to compute again, e.g. because the ranked status of a map has changed
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("since_ms", Big, nullable=False),
    PrimaryKeyConstraint("user_id", "mode"),
    sqlite_with_rowid=False,
)

play_counts = Table(
    "play_counts",
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    Column("plays", Integer, nullable=False),
    Column("last_play_ms", Big, nullable=False),
    PrimaryKeyConstraint("user_id", "mode", "map_key"),
    sqlite_with_rowid=False,
)
Index(
    "ix_play_counts_most_played",
    play_counts.c.user_id,
    play_counts.c.mode,
    play_counts.c.plays.desc(),
    play_counts.c.last_play_ms.desc(),
)

month_plays = Table(
    "month_plays",
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("month", Integer, nullable=False),  # months since January of year 0, UTC: year * 12 + month - 1
    Column("plays", Integer, nullable=False),
    PrimaryKeyConstraint("user_id", "mode", "month"),
    sqlite_with_rowid=False,
)

pinned_scores = Table(
    "pinned_scores",  # scores that their players show at the top of their profiles
    metadata,
    Column("score_id", ForeignKey("scores.id"), primary_key=True, autoincrement=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("position", Integer, nullable=False),  # from 1, without gaps
    Index("ix_pinned_scores_of", "user_id", "mode", "position"),
)

first_places = Table(
    "first_places",
    metadata,
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("score_id", ForeignKey("scores.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("since_ms", Big, nullable=False),
    PrimaryKeyConstraint("map_key", "mode"),
    Index("ix_first_places_of", "user_id", "mode", "score_id"),
    sqlite_with_rowid=False,
)

recomputed = Table(
    "recomputed",  # new pp of a player's scores; applied together when all of them are computed
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("score_id", ForeignKey("scores.id"), nullable=False),
    Column("pp", Double, nullable=False),
    Column("calculator", Integer, nullable=False),
    PrimaryKeyConstraint("user_id", "score_id"),
    sqlite_with_rowid=False,
)

medals = Table(
    "medals",
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("medal_id", Integer, nullable=False),
    Column("unlocked_at_ms", Big, nullable=False),
    Column("score_id", Big),
    PrimaryKeyConstraint("user_id", "medal_id"),
    sqlite_with_rowid=False,
)

medal_holders = Table(
    "medal_holders",  # how many visible players have each medal
    metadata,
    Column("medal_id", Integer, primary_key=True, autoincrement=False),
    count_column("holders"),
)

peak_ranks = Table(
    "peak_ranks",  # the best rank that a player ever had; not all past ranks are stored, so it cannot be computed again
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("at_ms", Big, nullable=False),
    PrimaryKeyConstraint("user_id", "mode"),
    sqlite_with_rowid=False,
)

activity = Table(
    "activity",  # what players achieved in the last 30 days
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("at_ms", Big, nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("number", Integer, nullable=False),  # the medal or the rank; 0 for first places
    Column("score_id", ForeignKey("scores.id")),  # the score that won the first place, or unlocked the medal
    Column("other_id", Integer, nullable=False, server_default=text("0")),  # from or by whom a first place was taken
    Index("ix_activity_of", "user_id", "id"),
    sqlite_autoincrement=True,
)

country_totals = Table(
    "country_totals",  # sums over the ranked players of a country in a mode; a job writes all rows again
    metadata,
    Column("mode", Integer, nullable=False),
    Column("country", String(2), nullable=False),
    count_column("players"),
    count_column("active"),
    count_column("plays"),
    count_column("rscore"),
    count_column("pp"),
    PrimaryKeyConstraint("mode", "country"),
    sqlite_with_rowid=False,
)

rank_history = Table(
    "rank_history",  # one row a day for 90 days, and then one a week
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("day", Integer, nullable=False),  # days since 1970-01-01, UTC
    Column("rank", Integer, nullable=False),
    Column("country_rank", Integer, nullable=False),
    Column("pp", Integer, nullable=False),
    PrimaryKeyConstraint("user_id", "mode", "day"),
    sqlite_with_rowid=False,
)

integrity_flags = Table(
    "integrity_flags",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("at_ms", Big, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("checksum", LargeBinary),
    text_column("details"),
    Column("score_id", Big),  # NULL for a play that is not stored, and for a client
    count_column("other_score_id"),  # 0 for none, so that the unique index covers it
    text_column("figures"),  # JSON: the measured numbers and the threshold
    flag_column("state"),  # 1: closed
    text_column("verdict"),
    Column("closed_by", Integer),  # 0: the operator
    Column("closed_at_ms", Big),
    text_column("text"),
    sqlite_autoincrement=True,
)
Index("ix_integrity_flags_of", integrity_flags.c.user_id, integrity_flags.c.id)
Index("ix_integrity_flags_kind", integrity_flags.c.kind, integrity_flags.c.id)
Index("ix_integrity_flags_state", integrity_flags.c.state, integrity_flags.c.id)
partial_index(
    "uq_integrity_flags_play",
    "checksum IS NOT NULL",
    integrity_flags.c.checksum,
    integrity_flags.c.user_id,
    integrity_flags.c.kind,
    unique=True,
)
# A closed flag stays, so that it is not raised again.
partial_index(
    "uq_integrity_flags_score",
    "score_id IS NOT NULL",
    integrity_flags.c.score_id,
    integrity_flags.c.kind,
    integrity_flags.c.other_score_id,
    unique=True,
)

# Plays that wait for the search for evidence. A row is deleted when the play was examined.
unexamined_plays = Table(
    "unexamined_plays",
    metadata,
    Column("score_id", Big, primary_key=True, autoincrement=False),
    count_column("due_at_ms"),
    count_column("tries"),
)
Index("ix_unexamined_plays_due", unexamined_plays.c.due_at_ms, unexamined_plays.c.score_id)

# Signatures of the best 100 replays of each map and mode, for comparisons (`osu/replay_signature.py`).
replay_signatures = Table(
    "replay_signatures",
    metadata,
    Column("score_id", Big, primary_key=True, autoincrement=False),
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    Column("mode", Integer, nullable=False),  # 0-3: the cursor of a play with Relax is that of one without
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("score", Big, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
Index(
    "ix_replay_signatures_best",
    replay_signatures.c.map_key,
    replay_signatures.c.mode,
    replay_signatures.c.score.desc(),
    replay_signatures.c.score_id,
)
