"""Multiplayer: mappools and the history of matches."""

from sqlalchemy import (
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from kiai.storage.tables.columns import Big, flag_column, metadata, partial_index

pools = Table(
    "pools",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("created_at_ms", Big, nullable=False),
    Column("created_by", ForeignKey("users.id"), nullable=False),
    flag_column("published", 1),
    sqlite_autoincrement=True,
)

pool_picks = Table(
    "pool_picks",
    metadata,
    Column("pool_id", ForeignKey("pools.id"), nullable=False),
    Column("mods", String(16), nullable=False),  # as written: NM, HD, FM, TB
    Column("slot", Integer, nullable=False),
    Column("map_id", Integer, nullable=False),
    PrimaryKeyConstraint("pool_id", "mods", "slot"),
    UniqueConstraint("pool_id", "map_id"),
)

matches = Table(
    "matches",  # all matches, open and past
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("room", Integer, nullable=False),  # the id that clients see while the match is open; reused afterwards
    Column("name", String(64), nullable=False),
    flag_column("private"),
    flag_column("by_command"),
    Column("created_by", ForeignKey("users.id"), nullable=False),
    Column("created_at_ms", Big, nullable=False),
    Column("ended_at_ms", Big),
    Index("ix_matches_ended", "ended_at_ms"),
    Index("ix_matches_by", "created_by", "id"),
    sqlite_autoincrement=True,
)
partial_index("ix_matches_past", "private = 0 AND ended_at_ms IS NOT NULL", matches.c.id)  # public history

match_players = Table(
    "match_players",  # all players who have had a seat
    metadata,
    Column("match_id", ForeignKey("matches.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    PrimaryKeyConstraint("match_id", "user_id"),
    Index("ix_match_players_of", "user_id", "match_id"),
    sqlite_with_rowid=False,
)

match_events = Table(
    "match_events",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("match_id", ForeignKey("matches.id"), nullable=False),
    Column("at_ms", Big, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("user_id", Integer, nullable=False),  # 0: an event without a player
    Column("details", Text, nullable=False, server_default=text("'{}'")),  # JSON
    Index("ix_match_events_in", "match_id", "id"),
    sqlite_autoincrement=True,
)

games = Table(
    "games",  # one play of one map in a match
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("match_id", ForeignKey("matches.id"), nullable=False),
    Column("map_id", Integer, nullable=False),  # from the host's client; no foreign key: the server may lack the map
    Column("map_md5", String(32), nullable=False),
    Column("map_name", Text, nullable=False),
    Column("mode", Integer, nullable=False),
    Column("mods", Integer, nullable=False),
    Column("win_condition", Integer, nullable=False),
    Column("team_type", Integer, nullable=False),
    flag_column("free_mods"),
    Column("started_at_ms", Big, nullable=False),
    Column("ended_at_ms", Big),
    flag_column("aborted"),
    Index("ix_games_in", "match_id", "id"),
    sqlite_autoincrement=True,
)

game_scores = Table(
    "game_scores",
    metadata,
    Column("game_id", ForeignKey("games.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("slot", Integer, nullable=False),
    Column("team", Integer, nullable=False),
    Column("mods", Integer, nullable=False),
    Column("score", Big, nullable=False),
    Column("max_combo", Integer, nullable=False),
    Column("n300", Integer, nullable=False),
    Column("n100", Integer, nullable=False),
    Column("n50", Integer, nullable=False),
    Column("ngeki", Integer, nullable=False),
    Column("nkatu", Integer, nullable=False),
    Column("nmiss", Integer, nullable=False),
    flag_column("passed"),
    flag_column("perfect"),
    Column("score_id", Big),  # the submitted score of this play; null until it arrives
    PrimaryKeyConstraint("game_id", "user_id"),
    sqlite_with_rowid=False,
)
