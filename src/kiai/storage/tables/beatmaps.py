"""Beatmaps: sets, the revisions of maps, the words to search them by, difficulties, votes, favourites and comments."""

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)

from kiai.storage.tables.columns import WORD_MAX, Big, count_column, flag_column, metadata, partial_index, text_column

sets = Table(
    "sets",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    text_column("artist"),
    text_column("title"),
    text_column("creator"),
    text_column("source"),
    text_column("tags"),
    text_column("artist_unicode"),  # as the mapper writes it; empty if it is the same as `artist`
    text_column("title_unicode"),
    Column("added_at_ms", Big, nullable=False),
    Column("last_update_ms", Big, nullable=False),
    Column("checked_at_ms", Big),  # time of the last request to upstream
    Column("check_at_ms", Big),  # time of the next request to upstream; null: never
    flag_column("missing_upstream"),
    flag_column("has_video"),
    flag_column("has_storyboard"),
    Column("osz_size", Big),  # bytes of the archive in the file store; null without an archive
    count_column("favourites"),
)
partial_index("ix_sets_check", "check_at_ms IS NOT NULL", sets.c.check_at_ms)  # the sets to check
Index("ix_sets_updated", sets.c.last_update_ms.desc(), sets.c.id)  # osu!direct, newest first

maps = Table(
    "maps",
    metadata,
    Column("key", Integer, Identity(), primary_key=True),
    Column("id", Integer, nullable=False),
    Column("set_id", ForeignKey("sets.id"), nullable=False),
    Column("md5", String(32), nullable=False, unique=True),
    flag_column("current", 1),
    Column("status", Integer, nullable=False, server_default=text("0")),
    flag_column("frozen"),
    Column("mode", Integer, nullable=False),
    text_column("artist"),
    text_column("title"),
    text_column("version"),
    text_column("creator"),
    text_column("filename"),
    Column("last_update_ms", Big, nullable=False),
    Column("total_length", Integer, nullable=False),  # s
    Column("hit_length", Integer, nullable=False),  # s
    Column("max_combo", Integer, nullable=False),
    Column("objects", Integer, nullable=False),
    Column("bpm", Double, nullable=False),
    Column("cs", Double, nullable=False),
    Column("od", Double, nullable=False),
    Column("ar", Double, nullable=False),
    Column("hp", Double, nullable=False),
    Column("diff", Double, nullable=False),  # stars
    count_column("plays"),
    count_column("passes"),
    count_column("rating_sum"),  # of votes from 1 to 10
    count_column("rating_count"),
    count_column("board_version"),  # increments with each change of the map's boards: the stamp of caches
    sqlite_autoincrement=True,
)
partial_index("uq_maps_current", '"current" = 1', maps.c.id, unique=True)  # a map by its id
Index("ix_maps_set", maps.c.set_id, maps.c.id)
# Lists of maps: the first columns are the filter or the order of the list.
partial_index("ix_maps_filename", '"current" = 1', maps.c.filename)
partial_index("ix_maps_artist", '"current" = 1', maps.c.artist, maps.c.id)
partial_index("ix_maps_creator", '"current" = 1', maps.c.creator, maps.c.id)
# The columns after the id are further filters: the engine checks them in the index and reads only the rows that match.
partial_index("ix_maps_status", '"current" = 1', maps.c.status, maps.c.id, maps.c.mode, maps.c.frozen)
partial_index("ix_maps_mode", '"current" = 1', maps.c.mode, maps.c.id, maps.c.frozen)
partial_index("ix_maps_frozen", '"current" = 1', maps.c.frozen, maps.c.id)
partial_index(
    "ix_maps_updated",
    '"current" = 1',
    maps.c.last_update_ms.desc(),
    maps.c.id,
    maps.c.status,
    maps.c.mode,
    maps.c.frozen,
)
partial_index("ix_maps_diff", '"current" = 1', maps.c.diff, maps.c.id, maps.c.status, maps.c.mode, maps.c.frozen)
partial_index("ix_maps_filename_lower", '"current" = 1', func.lower(maps.c.filename))

map_requests = Table(
    "map_requests",  # of players who want sets ranked; an answered request is deleted
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("set_id", ForeignKey("sets.id"), nullable=False, index=True),
    Column("map_id", Integer, nullable=False),
    Column("at_ms", Big, nullable=False),
    UniqueConstraint("user_id", "set_id"),
    sqlite_autoincrement=True,
)

nominations = Table(
    "nominations",  # of nominators for sets that are not ranked yet
    metadata,
    Column("set_id", ForeignKey("sets.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("at_ms", Big, nullable=False),
    PrimaryKeyConstraint("set_id", "user_id"),
    Index("ix_nominations_by", "user_id", "set_id"),  # the open nominations of one nominator
    sqlite_with_rowid=False,
)

qualified_sets = Table(
    "qualified_sets",  # that nominations have qualified; a job ranks them
    metadata,
    Column("set_id", ForeignKey("sets.id"), primary_key=True, autoincrement=False),
    Column("ranks_at_ms", Big, nullable=False),
    Index("ix_qualified_sets_due", "ranks_at_ms", "set_id"),
)

map_words = Table(
    "map_words",  # the words of artist, title, difficulty and creator of a revision, for the search
    metadata,
    # A search for a prefix is a range of words. Collation C compares bytes, as SQLite does; a range in the order of a
    # language would contain other words.
    Column("word", String(WORD_MAX).with_variant(String(WORD_MAX, collation="C"), "postgresql"), nullable=False),
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    PrimaryKeyConstraint("word", "map_key"),
    Index("ix_map_words_of", "map_key", "word"),  # the other words of a map that one word has found
    sqlite_with_rowid=False,
)


def _in_bytes(name: str, length: int) -> Column[str]:
    # Collation C compares bytes, as SQLite does, so that both engines have the same order and the same ranges.
    return Column(name, String(length).with_variant(String(length, collation="C"), "postgresql"), nullable=False)


catalogue = Table(
    "catalogue",  # what the search of sets filters and sorts by, computed from the current maps of the set
    metadata,
    Column("set_id", ForeignKey("sets.id"), primary_key=True, autoincrement=False),
    Column("modes", Integer, nullable=False),  # bits: 1 << mode
    Column("statuses", Integer, nullable=False),  # bits: 1 << status
    Column("key_counts", Integer, nullable=False),  # bits: 1 << number of keys, of mania maps
    *[
        Column(f"{name}_{bound}", Double, nullable=False)
        for name in ("stars", "bpm", "length", "ar", "od", "cs", "hp")
        for bound in ("min", "max")
    ],
    # The orders of the search. Each index walks one of them in both directions.
    Column("ranked_at_ms", Big, nullable=False),  # when the set got a board; 0 without a board
    Column("updated_ms", Big, nullable=False),
    _in_bytes("title", 64),  # casefolded
    _in_bytes("artist", 64),
    count_column("plays"),
    count_column("favourites"),
    Column("rating", Double, nullable=False),  # the average of all votes; 0 without votes
    Index("ix_catalogue_ranked", "ranked_at_ms", "set_id"),
    Index("ix_catalogue_updated", "updated_ms", "set_id"),
    Index("ix_catalogue_title", "title", "set_id"),
    Index("ix_catalogue_artist", "artist", "set_id"),
    Index("ix_catalogue_stars", "stars_max", "set_id"),
    Index("ix_catalogue_plays", "plays", "set_id"),
    Index("ix_catalogue_favourites", "favourites", "set_id"),
    Index("ix_catalogue_rating", "rating", "set_id"),
)

set_words = Table(
    "set_words",  # the words of a set's texts, each with the bits of the texts that contain it (`beatmaps/words.py`)
    metadata,
    _in_bytes("word", WORD_MAX),
    Column("set_id", ForeignKey("sets.id"), nullable=False),
    Column("fields", Integer, nullable=False),
    PrimaryKeyConstraint("word", "set_id"),
    Index("ix_set_words_of", "set_id", "word", "fields"),  # the other words of a set that one word has found
    sqlite_with_rowid=False,
)

set_comments = Table(
    "set_comments",  # shown on the page of the set
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("set_id", ForeignKey("sets.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("at_ms", Big, nullable=False),
    Index("ix_set_comments_by", "user_id", "id"),
    sqlite_autoincrement=True,
)
Index("ix_set_comments_on", set_comments.c.set_id, set_comments.c.id)

difficulties = Table(
    "difficulties",
    metadata,
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("mods", Integer, nullable=False),  # only the bits that change difficulty
    Column("calculator", String(32), nullable=False),  # name and version that computed the row
    Column("stars", Double, nullable=False),
    Column("max_combo", Integer, nullable=False),
    Column("attributes", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("map_key", "mode", "mods"),
    sqlite_with_rowid=False,
)

ratings = Table(
    "ratings",
    metadata,
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("rating", Integer, nullable=False),  # 1 to 10
    Column("at_ms", Big, nullable=False),
    PrimaryKeyConstraint("map_key", "user_id"),
    sqlite_with_rowid=False,
)

favourites = Table(
    "favourites",
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("set_id", ForeignKey("sets.id"), nullable=False),
    Column("added_at_ms", Big, nullable=False),
    PrimaryKeyConstraint("user_id", "set_id"),
    Index("ix_favourites_on", "set_id", "user_id"),
    sqlite_with_rowid=False,
)

comments = Table(
    "comments",  # shown while a replay or map plays
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("target", String(8), nullable=False),  # map, song or replay
    Column("target_id", Big, nullable=False),  # the id of the map, the set, or the score
    Column("time_ms", Big, nullable=False),  # of the song
    Column("text", String(80), nullable=False),
    text_column("colour"),  # RRGGBB, or empty
    Column("at_ms", Big, nullable=False),
    Index("ix_comments_by", "user_id", "id"),
    Index("ix_comments_on", "target", "target_id", "time_ms", "id"),
    sqlite_autoincrement=True,
)
