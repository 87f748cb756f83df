"""Every table, with its indexes: the schema is read as a whole.

Conventions
- Times are unix milliseconds (`*_ms`), flags are 0 or 1, both integers, so that rows need no conversion.
- A subject writes only its own tables (the headings below name the subject).
- Each index names the question it answers. Partial indexes hold only the rows a board can show.
- `maps` holds one row a *revision* of a difficulty (one .osu file): `key` is ours and never changes, `id` is the
  beatmap id. Exactly one revision of an id is current; a replaced one keeps its row and scores with status 1
  (update available), and so leaves every board and every total.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

WORD_MAX = 32

# 64 bits on both engines; SQLite wants the word INTEGER for a key that numbers itself.
Big = BigInteger().with_variant(Integer(), "sqlite")


def _flag(name: str, default: int = 0) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text(str(default)))


def _count(name: str) -> Column[int]:
    return Column(name, Big, nullable=False, server_default=text("0"))


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=text("''"))


def _partial(name: str, where: str, *columns: object, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))  # type: ignore[arg-type]


# --- accounts -------------------------------------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    Column("id", Integer, Identity(start=3), primary_key=True),
    Column("name", String(32), nullable=False),
    Column("safe_name", String(32), nullable=False, unique=True),
    Column("email", String(254), nullable=False, unique=True),  # lower case; empty addresses hold the id instead
    Column("password_hash", Text),  # null: cannot log in (the bot)
    Column("priv", Integer, nullable=False, server_default=text("1")),
    Column("country", String(2), nullable=False, server_default=text("'xx'")),
    Column("created_at_ms", Big, nullable=False),
    Column("active_at_ms", Big, nullable=False),
    _count("silenced_until_ms"),
    _count("donor_until_ms"),
    Column("banned_at_ms", Big),
    Column("renamed_at_ms", Big),
    Column("preferred_mode", Integer, nullable=False, server_default=text("0")),
    Column("play_style", Integer, nullable=False, server_default=text("0")),
    Column("clan_id", Integer, nullable=False, server_default=text("0")),
    Column("clan_priv", Integer, nullable=False, server_default=text("0")),
    Column("clan_joined_at_ms", Big),
    Column("custom_badge_name", Text),
    Column("custom_badge_icon", Text),
    Column("userpage_content", Text),
    Column("avatar", String(64)),  # key of the picture in the files store; null: the default picture
    _flag("friends_only_dms"),
    sqlite_autoincrement=True,
)
_partial("ix_users_clan", "clan_id > 0", users.c.clan_id, users.c.id)  # members of a clan
# v2: players by a filter, in the order of ids; the columns behind the id are filters that are looked at in the index.
_partial("ix_users_clan_priv", "clan_priv > 0", users.c.clan_priv, users.c.id, users.c.priv)
Index("ix_users_country", users.c.country, users.c.id, users.c.priv, users.c.preferred_mode, users.c.play_style)
Index("ix_users_play_style", users.c.play_style, users.c.id, users.c.priv, users.c.preferred_mode)
Index("ix_users_preferred_mode", users.c.preferred_mode, users.c.id, users.c.priv)
Index("ix_users_priv", users.c.priv, users.c.id)
_partial("ix_users_developers", "(priv & 16384) != 0", users.c.priv, users.c.id)  # the privilege DEVELOPER
Index("ix_users_names", users.c.id, users.c.safe_name, users.c.priv)  # players by a part of their names

old_names = Table(
    "old_names",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("name", String(32), nullable=False),
    Column("safe_name", String(32), nullable=False, index=True),  # a released name is reserved
    Column("released_at_ms", Big, nullable=False),
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of the key
    Column("label", String(64), nullable=False, server_default=text("''")),
    Column("created_at_ms", Big, nullable=False),
    Column("used_at_ms", Big),
    Column("revoked_at_ms", Big),
    sqlite_autoincrement=True,
)

relationships = Table(
    "relationships",
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("target_id", ForeignKey("users.id"), nullable=False),
    Column("kind", Integer, nullable=False),  # 1 friend, 2 block
    Column("added_at_ms", Big, nullable=False),
    PrimaryKeyConstraint("user_id", "target_id"),
    Index("ix_relationships_target", "target_id", "kind", "user_id"),  # who is mutual
    CheckConstraint("kind IN (1, 2)", name="kind"),
)

logins = Table(
    "logins",  # with the game client
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("at_ms", Big, nullable=False),
    Column("address", String(64), nullable=False),
    Column("build", Integer, nullable=False),  # yyyymmdd
    Column("stream", String(16), nullable=False),
    Index("ix_logins_of", "user_id", "id"),
    sqlite_autoincrement=True,
)

client_hashes = Table(
    "client_hashes",  # the devices an account was used on, as the client names them
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("adapters", String(32), nullable=False),
    Column("uninstall", String(32), nullable=False),
    Column("disk", String(32), nullable=False),
    _flag("wine"),
    Column("exe", String(64), nullable=False),  # at the last login
    Column("first_at_ms", Big, nullable=False),
    Column("last_at_ms", Big, nullable=False),
    Column("uses", Integer, nullable=False),
    PrimaryKeyConstraint("user_id", "adapters", "uninstall", "disk", "wine"),
    Index("ix_client_hashes_adapters", "adapters"),  # who else uses this device
    Index("ix_client_hashes_uninstall", "uninstall"),
    Index("ix_client_hashes_disk", "disk"),
    sqlite_with_rowid=False,
)

shared_devices = Table(
    "shared_devices",  # hashes that several people are known to share: no sign of a second account
    metadata,
    Column("hash", String(32), primary_key=True),
    _text("note"),
    Column("added_by", Integer, nullable=False),  # 0: the operator at the command line
    Column("added_at_ms", Big, nullable=False),
)

# --- chat -----------------------------------------------------------------------------------------------------------

channels = Table(
    "channels",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", String(32), nullable=False, unique=True),  # with the #
    _text("topic"),
    Column("read_priv", Integer, nullable=False, server_default=text("0")),  # any of these bits; 0: everybody
    Column("write_priv", Integer, nullable=False, server_default=text("0")),
    _flag("auto_join"),
    _flag("moderated"),
    _flag("archived"),
    sqlite_autoincrement=True,
)

chat_lines = Table(
    "chat_lines",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("channel", String(32), nullable=False),  # channels of matches and spectators have no row of their own
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("at_ms", Big, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_chat_lines_in", "channel", "id"),
    Index("ix_chat_lines_by", "user_id", "id"),
    Index("ix_chat_lines_at", "at_ms"),  # those past their time
    sqlite_autoincrement=True,
)

mail = Table(
    "mail",  # private messages
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("from_id", ForeignKey("users.id"), nullable=False),
    Column("to_id", ForeignKey("users.id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("sent_at_ms", Big, nullable=False),
    Column("delivered_at_ms", Big),
    Column("read_at_ms", Big),
    Index("ix_mail_between", "to_id", "from_id", "id"),
    sqlite_autoincrement=True,
)
_partial("ix_mail_undelivered", "delivered_at_ms IS NULL", mail.c.to_id, mail.c.id)

# --- clans ----------------------------------------------------------------------------------------------------------

clans = Table(
    "clans",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", String(32), nullable=False),
    Column("safe_name", String(32), nullable=False, unique=True),
    Column("tag", String(8), nullable=False, unique=True),
    Column("owner_id", ForeignKey("users.id"), nullable=False),
    Column("created_at_ms", Big, nullable=False),
    Column("joining", Integer, nullable=False, server_default=text("2")),  # 0 closed, 1 open, 2 invite, 3 request
    _text("description"),
    sqlite_autoincrement=True,
)

# --- beatmaps -------------------------------------------------------------------------------------------------------

sets = Table(
    "sets",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("artist"),
    _text("title"),
    _text("creator"),
    _text("source"),
    _text("tags"),
    Column("added_at_ms", Big, nullable=False),
    Column("last_update_ms", Big, nullable=False),
    Column("checked_at_ms", Big),  # when upstream was last asked
    Column("check_at_ms", Big),  # when upstream is to be asked next; null: never
    _flag("missing_upstream"),
    _flag("has_video"),
    _flag("has_storyboard"),
    Column("osz_size", Big),  # bytes of the archive in the files store; null: there is none
    _count("favourites"),
)
_partial("ix_sets_check", "check_at_ms IS NOT NULL", sets.c.check_at_ms)  # which are due
Index("ix_sets_updated", sets.c.last_update_ms.desc(), sets.c.id)  # osu!direct: newest

maps = Table(
    "maps",
    metadata,
    Column("key", Integer, Identity(), primary_key=True),
    Column("id", Integer, nullable=False),
    Column("set_id", ForeignKey("sets.id"), nullable=False),
    Column("md5", String(32), nullable=False, unique=True),
    _flag("current", 1),
    Column("status", Integer, nullable=False, server_default=text("0")),
    _flag("frozen"),
    Column("mode", Integer, nullable=False),
    _text("artist"),
    _text("title"),
    _text("version"),
    _text("creator"),
    _text("filename"),
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
    _count("plays"),
    _count("passes"),
    _count("rating_sum"),  # of votes from 1 to 10
    _count("rating_count"),
    _count("board_version"),  # changes with every change of what the map's boards hold
    sqlite_autoincrement=True,
)
_partial("uq_maps_current", '"current" = 1', maps.c.id, unique=True)  # a map by its id
Index("ix_maps_set", maps.c.set_id, maps.c.id)
# Lists of maps, by what leads them and in which order.
_partial("ix_maps_filename", '"current" = 1', maps.c.filename)
_partial("ix_maps_artist", '"current" = 1', maps.c.artist, maps.c.id)
_partial("ix_maps_creator", '"current" = 1', maps.c.creator, maps.c.id)
# The columns behind the id are filters that are looked at in the index: only rows that fit are read.
_partial("ix_maps_status", '"current" = 1', maps.c.status, maps.c.id, maps.c.mode, maps.c.frozen)
_partial("ix_maps_mode", '"current" = 1', maps.c.mode, maps.c.id, maps.c.frozen)
_partial("ix_maps_frozen", '"current" = 1', maps.c.frozen, maps.c.id)
_partial(
    "ix_maps_updated",
    '"current" = 1',
    maps.c.last_update_ms.desc(),
    maps.c.id,
    maps.c.status,
    maps.c.mode,
    maps.c.frozen,
)
_partial("ix_maps_diff", '"current" = 1', maps.c.diff, maps.c.id, maps.c.status, maps.c.mode, maps.c.frozen)
_partial("ix_maps_filename_lower", '"current" = 1', func.lower(maps.c.filename))

map_words = Table(
    "map_words",  # the words of a revision's artist, title, difficulty and creator: what it is found by
    metadata,
    # Compared byte by byte on both engines: a search is a range of words.
    Column("word", String(WORD_MAX).with_variant(String(WORD_MAX, collation="C"), "postgresql"), nullable=False),
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    PrimaryKeyConstraint("word", "map_key"),
    Index("ix_map_words_of", "map_key", "word"),
    sqlite_with_rowid=False,
)

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
    "comments",  # that scroll through a replay
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("target", String(8), nullable=False),  # map, song or replay
    Column("target_id", Big, nullable=False),  # the id of the map, the set, or the score
    Column("time_ms", Big, nullable=False),  # of the song
    Column("text", String(80), nullable=False),
    _text("colour"),  # RRGGBB, or empty
    Column("at_ms", Big, nullable=False),
    Index("ix_comments_on", "target", "target_id", "time_ms", "id"),
    sqlite_autoincrement=True,
)

screenshots = Table(
    "screenshots",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("kind", String(4), nullable=False),  # png or jpeg
    Column("size", Integer, nullable=False),
    Column("at_ms", Big, nullable=False),
)

# --- scores ---------------------------------------------------------------------------------------------------------

scores = Table(
    "scores",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("map_key", ForeignKey("maps.key"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("mods", Integer, nullable=False),
    Column("mods_key", Integer, nullable=False),  # mods as boards group them (NC is DT, PF is SD)
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
    _flag("passed"),
    _flag("perfect"),
    _flag("best_pp"),  # the player's best by pp on this map and mode
    _flag("best_score"),  # the best by score; equal to best_pp in modes 4 to 8
    _flag("best_mods"),  # the best, by what the mode's board sorts by, with these mods_key
    _flag("hidden"),  # removed by staff: behaves as if absent
    Column("country", String(2), nullable=False, server_default=text("'xx'")),  # the account's, copied as in stats
    Column("play_time_ms", Big, nullable=False),
    Column("time_elapsed", Integer, nullable=False),  # ms
    Column("client_version", Integer, nullable=False, server_default=text("0")),
    Column("client_flags", Integer, nullable=False, server_default=text("0")),
    Column("checksum", LargeBinary, nullable=False, unique=True),  # 16 bytes that name this play, once for ever
    Column("calculator", Integer, nullable=False, server_default=text("0")),  # which pp formula; see performance.py
    sqlite_autoincrement=True,
)
_partial("ix_scores_best_of", "best_pp = 1", scores.c.user_id, scores.c.mode, scores.c.pp.desc(), scores.c.id.desc())
Index("ix_scores_recent_of", scores.c.user_id, scores.c.mode, scores.c.id.desc())
Index("ix_scores_map", scores.c.map_key, scores.c.id)  # every play of a map: counting them, recalculation
# A profile's best combo: the first of these whose map has a board.
_partial(
    "ix_scores_combo_of",
    "passed = 1",
    scores.c.user_id,
    scores.c.mode,
    scores.c.max_combo.desc(),
    scores.c.map_key,
    scores.c.hidden,
)
# v2: scores of a mode and a status, or with mods, too, newest first. The status is 2 for a best, else `passed`; it is
# written so that both engines give it back as they got it.
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
_partial("uq_scores_best_pp", "best_pp = 1", scores.c.map_key, scores.c.mode, scores.c.user_id, unique=True)
_partial("uq_scores_best_score", "best_score = 1", scores.c.map_key, scores.c.mode, scores.c.user_id, unique=True)
_partial(
    "uq_scores_best_mods",
    "best_mods = 1",
    scores.c.map_key,
    scores.c.mode,
    scores.c.user_id,
    scores.c.mods_key,
    unique=True,
)
_partial(
    "ix_scores_board",
    "best_score = 1",
    scores.c.map_key,
    scores.c.mode,
    scores.c.score.desc(),
    scores.c.id,
    scores.c.user_id,  # so that counting places reads nothing but the index
    scores.c.hidden,
    scores.c.best_score,
)
_partial(
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
_partial(
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
_partial(
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
_partial(
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
_partial(
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
_partial(
    "ix_scores_mods_board",
    "best_mods = 1",
    scores.c.map_key,
    scores.c.mode,
    scores.c.score.desc(),
    scores.c.id,
)
_partial(
    "ix_scores_mods_pp_board",
    "best_mods = 1",
    scores.c.map_key,
    scores.c.mode,
    scores.c.pp.desc(),
    scores.c.id,
)
_partial(
    "ix_scores_recent_on",
    "best_score = 1",
    scores.c.map_key,
    scores.c.mode,
    scores.c.play_time_ms.desc(),
    scores.c.id.desc(),
)

replays = Table(
    "replays",
    metadata,
    Column("score_id", ForeignKey("scores.id"), primary_key=True, autoincrement=False),
    Column("md5", LargeBinary, nullable=False, unique=True),  # of the frames: one play, one player
    Column("sha256", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    _text("life_bar"),  # only imported replays have one
    Column("target_accuracy", Double),
    _count("views"),
)

submissions = Table(
    "submissions",  # what the game was answered, kept for a day for those that ask again
    metadata,
    Column("score_id", ForeignKey("scores.id"), primary_key=True, autoincrement=False),
    Column("chart", Text, nullable=False),  # JSON: the figures before and after
    Column("at_ms", Big, nullable=False, index=True),
)

stats = Table(
    "stats",
    metadata,
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("country", String(2), nullable=False),  # the account's, copied so that country lists are an index
    _count("tscore"),
    _count("rscore"),
    _count("pp"),
    _count("plays"),
    _count("bests"),  # best scores that count for pp: the n of the bonus, the total of a player's best list
    _count("playtime"),  # s
    Column("acc", Double, nullable=False, server_default=text("0")),
    _count("max_combo"),
    _count("total_hits"),
    _count("replay_views"),
    _count("xh_count"),
    _count("x_count"),
    _count("sh_count"),
    _count("s_count"),
    _count("a_count"),
    PrimaryKeyConstraint("user_id", "mode"),
    sqlite_with_rowid=False,
)
for _sort in ("pp", "tscore", "rscore", "acc", "plays", "playtime"):
    _column = stats.c[_sort]
    _partial(f"ix_stats_{_sort}", f"{_sort} > 0", stats.c.mode, _column.desc(), stats.c.user_id)
    _partial(
        f"ix_stats_country_{_sort}", f"{_sort} > 0", stats.c.country, stats.c.mode, _column.desc(), stats.c.user_id
    )

stale_totals = Table(
    "stale_totals",  # profiles whose totals have to be computed again: a map they count has another status
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
    "recomputed",  # new pp that waits until the rest of the player's is known, too
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

rank_history = Table(
    "rank_history",
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
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("at_ms", Big, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("checksum", LargeBinary),
    _text("details"),
    sqlite_autoincrement=True,
)
_partial(
    "uq_integrity_flags_play",
    "checksum IS NOT NULL",
    integrity_flags.c.checksum,
    integrity_flags.c.user_id,
    integrity_flags.c.kind,
    unique=True,
)

# --- multiplayer ----------------------------------------------------------------------------------------------------

pools = Table(
    "pools",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("created_at_ms", Big, nullable=False),
    Column("created_by", ForeignKey("users.id"), nullable=False),
    _flag("published", 1),
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
    "matches",  # every multiplayer room there ever was
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("room", Integer, nullable=False),  # its id while it lived; given out again later
    Column("name", String(64), nullable=False),
    _flag("private"),
    _flag("by_command"),
    Column("created_by", ForeignKey("users.id"), nullable=False),
    Column("created_at_ms", Big, nullable=False),
    Column("ended_at_ms", Big),
    Index("ix_matches_ended", "ended_at_ms"),
    Index("ix_matches_by", "created_by", "id"),
    sqlite_autoincrement=True,
)
_partial("ix_matches_past", "private = 0 AND ended_at_ms IS NOT NULL", matches.c.id)  # what everybody may look up

match_players = Table(
    "match_players",  # who was ever seated
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
    Column("user_id", Integer, nullable=False),  # 0: nobody
    Column("details", Text, nullable=False, server_default=text("'{}'")),  # JSON
    Index("ix_match_events_in", "match_id", "id"),
    sqlite_autoincrement=True,
)

games = Table(
    "games",  # one play of one map in a match
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("match_id", ForeignKey("matches.id"), nullable=False),
    Column("map_id", Integer, nullable=False),  # as the host's client said; the server may not have the map
    Column("map_md5", String(32), nullable=False),
    Column("map_name", Text, nullable=False),
    Column("mode", Integer, nullable=False),
    Column("mods", Integer, nullable=False),
    Column("win_condition", Integer, nullable=False),
    Column("team_type", Integer, nullable=False),
    _flag("free_mods"),
    Column("started_at_ms", Big, nullable=False),
    Column("ended_at_ms", Big),
    _flag("aborted"),
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
    _flag("passed"),
    _flag("perfect"),
    Column("score_id", Big),  # the submitted score of this play, once it is known
    PrimaryKeyConstraint("game_id", "user_id"),
    sqlite_with_rowid=False,
)

# --- the house ------------------------------------------------------------------------------------------------------

counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Big, nullable=False),
)

versions = Table(
    "versions",  # numbers that move with rows: as of what copies are good, how far the journal of matches was written
    metadata,
    Column("name", String(32), primary_key=True),
    _count("value"),
)

outbox = Table(
    "outbox",  # consequences of commits that are still to be delivered (ranks, caches, announcements)
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("at_ms", Big, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("payload", Text, nullable=False),  # JSON
    Column("tries", Integer, nullable=False, server_default=text("0")),  # deliveries that failed
    _count("retry_at_ms"),
    sqlite_autoincrement=True,
)
_partial("ix_outbox_kind", "tries < 8", outbox.c.kind, outbox.c.id)  # the next of a kind
_partial("ix_outbox_parked", "tries >= 8", outbox.c.kind)  # those that were given up

tasks = Table(
    "tasks",  # work that follows from a commit and takes longer than a request; gone when it is done
    metadata,
    Column("kind", String(32), nullable=False),
    Column("subject", Big, nullable=False),  # of the map or player it is about
    Column("round", Integer, nullable=False),  # one more each time it begins again
    Column("place", Text, nullable=False, server_default=text("''")),  # where its next step starts
    _count("done"),
    _count("total"),
    Column("begun_at_ms", Big, nullable=False),
    Column("moved_at_ms", Big, nullable=False),
    PrimaryKeyConstraint("kind", "subject"),
    Index("ix_tasks_begun", "begun_at_ms"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("at_ms", Big, nullable=False),
    Column("actor_id", Integer, nullable=False),  # 0: the system or the operator at the command line
    Column("source", String(8), nullable=False),
    Column("action", String(32), nullable=False),
    Column("target_kind", String(16), nullable=False),
    Column("target_id", Big, nullable=False),
    _text("reason"),
    Column("details", Text, nullable=False, server_default=text("'{}'")),
    Index("ix_audit_log_target", "target_kind", "target_id", "id"),
    Index("ix_audit_log_actor", "actor_id", "id"),
    sqlite_autoincrement=True,
)

claim_codes = Table(
    "claim_codes",  # which make the first owner of a server; a handful
    metadata,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256
    Column("expires_at_ms", Big, nullable=False),
)

reports = Table(
    "reports",  # of players about players
    metadata,
    Column("id", Big, Identity(), primary_key=True),
    Column("at_ms", Big, nullable=False),
    Column("by_id", ForeignKey("users.id"), nullable=False),
    Column("target_id", ForeignKey("users.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    _text("text"),
    Column("lines", Text, nullable=False, server_default=text("'[]'")),  # JSON: what the target said last in public
    Column("closed_at_ms", Big),  # null: open
    Column("closed_by", Integer),
    _text("verdict"),
    Index("ix_reports_about", "target_id", "id"),
    sqlite_autoincrement=True,
)
_partial("uq_reports_open", "closed_at_ms IS NULL", reports.c.by_id, reports.c.target_id, unique=True)
_partial("ix_reports_open", "closed_at_ms IS NULL", reports.c.id)  # the queue

progress = Table(
    "progress",  # where a resumable job stands
    metadata,
    Column("job", String(64), primary_key=True),
    Column("state", Text, nullable=False),
    Column("at_ms", Big, nullable=False),
)
