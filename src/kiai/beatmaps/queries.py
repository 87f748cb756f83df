"""Statements about beatmaps and sets that several modules use."""

from sqlalchemy import BigInteger, bindparam, func, insert, literal_column, or_, select, update

from kiai.beatmaps.model import Beatmap
from kiai.storage.port import Command, Lane, Query, columns_for, scalar
from kiai.storage.tables import maps, sets

SET_MAX = 500  # difficulties of one set

_map = select(*columns_for(Beatmap, maps))
# An id may have many revisions. The partial index `uq_maps_current` contains only the current ones.
BY_ID = Query(_map.where(maps.c.id == bindparam("id"), maps.c.current == 1), Beatmap)
BY_MD5 = Query(_map.where(maps.c.md5 == bindparam("md5")), Beatmap)
BY_FILENAME = Query(
    _map.where(maps.c.filename == bindparam("filename"), maps.c.current == 1).order_by(maps.c.id).limit(1), Beatmap
)
NAMES_MAX = 8
BY_FILENAMES = Query(
    _map.where(maps.c.filename.in_([bindparam(f"name{n}") for n in range(NAMES_MAX)]), maps.c.current == 1)
    .order_by(maps.c.id)
    .limit(SET_MAX),
    Beatmap,
)
BY_KEY = Query(_map.where(maps.c.key == bindparam("key")), Beatmap)
OF_SET = Query(
    _map.where(maps.c.set_id == bindparam("set_id"), maps.c.current == 1).order_by(maps.c.id).limit(SET_MAX), Beatmap
)
AFTER = Query(
    _map.where(maps.c.key > bindparam("after")).order_by(maps.c.key).limit(bindparam("limit")),
    Beatmap,
    scans="checks and recalculation read every revision, a page at a time",
)
OWN_ID_LAST = Query(
    select(func.max(maps.c.id)).where(maps.c.id >= bindparam("first"), maps.c.current == 1),
    scalar,
    scans="it reads only the last id",
)
OWN_SET_LAST = Query(
    select(func.max(sets.c.id)).where(sets.c.id >= bindparam("first")), scalar, scans="it reads only the last id"
)

# Columns that the server counts itself: an import must not reset them.
_COUNTED = ("key", "plays", "passes", "rating_sum", "rating_count", "board_version")
_FIELDS = tuple(name for name in Beatmap.__struct_fields__ if name not in _COUNTED)
INSERT_MAP = Query(insert(maps).values({n: bindparam(n) for n in _FIELDS}).returning(maps.c.key), scalar)
# The old revision keeps its scores. Status 1 (update available) has no board.
REPLACE = Command(
    update(maps)
    .where(maps.c.id == bindparam("map_id"), maps.c.current == 1)
    .values(current=0, status=literal_column("1"), board_version=maps.c.board_version + 1)
)
RESTORE = Command(
    update(maps)
    .where(maps.c.key == bindparam("map_key"))
    .values(
        current=1,
        status=bindparam("status"),
        frozen=bindparam("frozen"),
        id=bindparam("id"),
        board_version=maps.c.board_version + bindparam("by_version"),
    )
)
_REFRESHED = (
    "set_id",
    "artist",
    "title",
    "version",
    "creator",
    "filename",
    "total_length",
    "hit_length",
    "max_combo",
    "objects",
    "bpm",
    "cs",
    "od",
    "ar",
    "hp",
    "diff",
)
REFRESH = Command(update(maps).where(maps.c.key == bindparam("map_key")).values({n: bindparam(n) for n in _REFRESHED}))
INSERT_SET = Command(
    insert(sets).values(
        {
            n: bindparam(n)
            for n in (
                "id",
                "artist",
                "title",
                "artist_unicode",
                "title_unicode",
                "creator",
                "source",
                "tags",
                "added_at_ms",
                "last_update_ms",
            )
        }
    )
)
UPDATE_SET = Command(
    update(sets)
    .where(sets.c.id == bindparam("set_id"))
    .values(
        {
            n: bindparam(n)
            for n in (
                "artist",
                "title",
                "artist_unicode",
                "title_unicode",
                "creator",
                "source",
                "tags",
                "last_update_ms",
            )
        }
    )
)
ARCHIVE_SIZE = Query(select(sets.c.osz_size).where(sets.c.id == bindparam("set_id")), scalar)
SET_ARCHIVE = Command(
    update(sets)
    .where(sets.c.id == bindparam("of_set"))
    .values({n: bindparam(n) for n in ("osz_size", "has_video", "has_storyboard")})
)
# `frozen` is checked in the statement: staff may set a status while the answer of upstream is on its way.
FOLLOW_STATUS = Command(
    update(maps)
    .where(maps.c.key == bindparam("map_key"), maps.c.frozen == 0)
    .values(status=bindparam("status"), board_version=maps.c.board_version + 1)
)
SET_MISSING = Command(
    update(sets).where(sets.c.id == bindparam("of_set")).values(missing_upstream=bindparam("missing"))
)
DUE = Query(
    select(sets.c.id)
    .where(sets.c.check_at_ms.is_not(None), sets.c.check_at_ms <= bindparam("now_ms"))
    .order_by(sets.c.check_at_ms)
    .limit(bindparam("limit")),
    scalar,
)
OFFICIAL_AFTER = Query(
    select(sets.c.id)
    .where(sets.c.id > bindparam("after"), sets.c.id < bindparam("below"))
    .order_by(sets.c.id)
    .limit(100),
    scalar,
)
OFFICIAL_COUNT = Query(
    select(func.count()).select_from(sets).where(sets.c.id < bindparam("below")),
    scalar,
    lane=Lane.JOB,
    scans="a job counts the sets that it checks, once",
)
CHECKED = Command(
    update(sets)
    .where(sets.c.id == bindparam("of_set"))
    .values(checked_at_ms=bindparam("at_ms"), check_at_ms=bindparam("next_at_ms"))
)
SCHEDULE_REFRESH = Command(
    update(sets)
    .where(sets.c.check_at_ms.is_(None), sets.c.id < bindparam("below"))
    .values(check_at_ms=bindparam("at_ms")),
    scans="runs once after an upstream was configured, and schedules every set",
)
SET_UPDATED = Query(select(sets.c.last_update_ms).where(sets.c.id == bindparam("id")), scalar)
SET_EXISTS = Query(select(sets.c.id).where(sets.c.id == bindparam("id")), scalar)
SET_FROZEN = Command(
    update(maps).where(maps.c.id == bindparam("map_id"), maps.c.current == 1).values(frozen=bindparam("frozen"))
)
SET_STATUS = Query(
    update(maps)
    .where(maps.c.id == bindparam("map_id"), maps.c.current == 1)
    .values(status=bindparam("status"), frozen=bindparam("frozen"), board_version=maps.c.board_version + 1)
    .returning(maps.c.key),
    scalar,
)
# An increment that also locks the row until the commit, and returns the status under that lock: see `scores.recording`.
COUNT_PLAYS = Query(
    update(maps)
    .where(
        maps.c.key == bindparam("map_key"),
        # -1 for any version.
        or_(
            bindparam("seen_version", type_=BigInteger()) == -1,
            maps.c.board_version == bindparam("seen_version", type_=BigInteger()),
        ),
    )
    .values(
        plays=maps.c.plays + bindparam("by_plays"),
        passes=maps.c.passes + bindparam("by_passes"),
        board_version=maps.c.board_version + bindparam("by_version"),
    )
    .returning(maps.c.status),
    scalar,
)
