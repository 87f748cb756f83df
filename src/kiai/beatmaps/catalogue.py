"""The catalogue: what the search of sets filters and sorts by, a row for each set with current maps.

`refresh` computes the row and the words of a set from its current maps. It runs in the transaction of each import and
each change of a status. The number of plays follows the plays within a second (`scores/feed.py`). `rebuild` computes
everything again.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from sqlalchemy import BigInteger, Double, bindparam, cast, delete, func, insert, select, update

from kiai.beatmaps import queries
from kiai.beatmaps.model import BOARD_STATUSES, Beatmap, MapStatus
from kiai.beatmaps.words import TextOfSet, index_set_words
from kiai.storage.port import Command, Database, Lane, Query, Transaction, Value, columns_for, scalar
from kiai.storage.tables import catalogue, maps, sets

SORT_TEXT_MAX: Final = 64
SETS_AT_ONCE: Final = 100
_MANIA: Final = 3
_RANGES: Final = {
    "stars": "diff",
    "bpm": "bpm",
    "length": "total_length",
    "ar": "ar",
    "od": "od",
    "cs": "cs",
    "hp": "hp",
}
"""The columns of `catalogue` with the suffixes `_min` and `_max`, and the columns of maps that they cover."""

_FIELDS: Final = tuple(column.name for column in catalogue.columns)
_TEXTS: Final = Query(
    select(
        *[
            sets.c[name]
            for name in (
                "artist",
                "title",
                "artist_unicode",
                "title_unicode",
                "creator",
                "source",
                "tags",
                "last_update_ms",
                "favourites",
            )
        ]
    ).where(sets.c.id == bindparam("id")),
    lambda *row: row,
)
_RANKED_AT: Final = Query(select(catalogue.c.ranked_at_ms).where(catalogue.c.set_id == bindparam("set_id")), scalar)
_FORGET: Final = Command(delete(catalogue).where(catalogue.c.set_id == bindparam("of_set")))
_ADD: Final = Command(insert(catalogue).values({name: bindparam(name) for name in _FIELDS}))
_IDS: Final = Query(
    select(sets.c.id).where(sets.c.id > bindparam("after")).order_by(sets.c.id).limit(SETS_AT_ONCE),
    scalar,
    scans="computes the catalogue of every set again, a page at a time",
)
_ROWS: Final = Query(
    select(catalogue).where(catalogue.c.set_id.between(bindparam("first"), bindparam("last"))),
    lambda *row: row,
    lane=Lane.JOB,
)
_FAVOURITES: Final = Query(
    select(sets.c.id, sets.c.favourites).where(sets.c.id.between(bindparam("first"), bindparam("last"))),
    lambda set_id, count: (set_id, count),
    lane=Lane.JOB,
)
_MAPS: Final = Query(
    select(*columns_for(Beatmap, maps))
    .where(maps.c.set_id.between(bindparam("first"), bindparam("last")), maps.c.current == 1)
    .order_by(maps.c.set_id, maps.c.id),
    Beatmap,
    lane=Lane.JOB,
)
_set_of_map = select(maps.c.set_id).where(maps.c.key == bindparam("map_key")).scalar_subquery()
_plays = (
    select(cast(func.coalesce(func.sum(maps.c.plays), 0), BigInteger))
    .where(maps.c.set_id == catalogue.c.set_id, maps.c.current == 1)
    .scalar_subquery()
)
COUNT_PLAYS_OF_SET: Final = Command(update(catalogue).where(catalogue.c.set_id == _set_of_map).values(plays=_plays))
"""Adds up the plays of the set of a map again. Run it last in a transaction: other players wait for the row."""
_rating = (
    select(
        cast(func.coalesce(func.sum(maps.c.rating_sum), 0), Double)
        / func.nullif(cast(func.sum(maps.c.rating_count), Double), 0.0)
    )
    .where(maps.c.set_id == catalogue.c.set_id, maps.c.current == 1)
    .scalar_subquery()
)
COUNT_VOTES: Final = Command(
    update(catalogue).where(catalogue.c.set_id == _set_of_map).values(rating=func.coalesce(_rating, 0.0))
)
"""Computes the rating of the set of a map again."""
COUNT_FAVOURITES: Final = Command(
    update(catalogue)
    .where(catalogue.c.set_id == bindparam("of_set"))
    .values(favourites=select(sets.c.favourites).where(sets.c.id == catalogue.c.set_id).scalar_subquery())
)


async def refresh(tx: Transaction, set_id: int, now_ms: int) -> None:
    """Compute the row and the words of a set again. `now_ms` becomes the date of a set that has just got a board.

    Call it after all other writes of the transaction that lock maps: a play locks its map first, then this row.
    """
    found = await tx.one(_TEXTS, id=set_id)
    of_set = await tx.all(queries.OF_SET, set_id=set_id)
    ranked_at = await tx.one(_RANKED_AT, set_id=set_id)
    await tx.run(_FORGET, of_set=set_id)
    if found is None or not of_set:
        await index_set_words(tx, set_id, ())
        return
    artist, title, artist_unicode, title_unicode, creator, source, tags, updated_ms, favourites = found
    has_board = any(beatmap.status in BOARD_STATUSES for beatmap in of_set)
    if not has_board:
        ranked_at = 0
    elif not ranked_at:
        # The first row of a set has no date of its status. The file is as old as the set, or older.
        ranked_at = updated_ms if ranked_at is None else now_ms
    await tx.run(
        _ADD,
        set_id=set_id,
        **figures_of(of_set),
        ranked_at_ms=ranked_at,
        updated_ms=updated_ms,
        title=sort_text(title),
        artist=sort_text(artist),
        favourites=favourites,
    )
    await index_set_words(
        tx,
        set_id,
        [
            (TextOfSet.TITLE, title),
            (TextOfSet.TITLE, title_unicode),
            (TextOfSet.ARTIST, artist),
            (TextOfSet.ARTIST, artist_unicode),
            (TextOfSet.CREATOR, creator),
            *((TextOfSet.VERSION, beatmap.version) for beatmap in of_set),
            # A difficulty can have another mapper or artist than the set.
            *((TextOfSet.CREATOR, beatmap.creator) for beatmap in of_set if beatmap.creator != creator),
            *((TextOfSet.ARTIST, beatmap.artist) for beatmap in of_set if beatmap.artist != artist),
            *((TextOfSet.TITLE, beatmap.title) for beatmap in of_set if beatmap.title != title),
            (TextOfSet.SOURCE, source),
            (TextOfSet.TAGS, tags),
        ],
    )


def figures_of(of_set: Sequence[Beatmap]) -> dict[str, Value]:
    """Return the figures of a row of the catalogue, for the current maps of a set, at least one."""
    figures: dict[str, Value] = {
        "modes": _bits(beatmap.mode for beatmap in of_set),
        "statuses": _bits(beatmap.status for beatmap in of_set if beatmap.status != MapStatus.NOT_SUBMITTED),
        "key_counts": _bits(round(beatmap.cs) for beatmap in of_set if beatmap.mode == _MANIA),
        "plays": sum(beatmap.plays for beatmap in of_set),
    }
    for name, column in _RANGES.items():
        values = [float(getattr(beatmap, column)) for beatmap in of_set]
        figures |= {f"{name}_min": min(values), f"{name}_max": max(values)}
    votes = sum(beatmap.rating_count for beatmap in of_set)
    figures["rating"] = sum(beatmap.rating_sum for beatmap in of_set) / votes if votes else 0.0
    return figures


def sort_text(text: str) -> str:
    """Return a text as the catalogue sorts it: casefolded, without spaces around it, cut at 64 characters."""
    return unicodedata.normalize("NFKC", text).casefold().strip()[:SORT_TEXT_MAX]


async def rebuild(database: Database, now_ms: int, progress: Callable[[int], None] = lambda sets_done: None) -> int:
    """Compute the catalogue of all sets again, `SETS_AT_ONCE` in a transaction. Return the number of sets."""
    after = done = 0
    while ids := await database.all(_IDS, after=after):

        async def body(tx: Transaction, ids: list[int] = ids) -> None:
            for set_id in ids:
                await refresh(tx, set_id, now_ms)

        await database.transaction(body)
        after, done = ids[-1], done + len(ids)
        progress(done)
    return done


async def wrong_sets(database: Database) -> list[int]:
    """Return the ids of the sets whose row is missing or differs from their current maps, or should not exist.

    The number of plays is not compared: it follows the plays through the outbox.
    """
    wrong: list[int] = []
    after = 0
    while ids := await database.all(_IDS.in_lane(Lane.JOB), after=after):
        between = {"first": ids[0], "last": ids[-1]}
        rows = {row[0]: dict(zip(_FIELDS, row, strict=True)) for row in await database.all(_ROWS, **between)}
        favourites = dict(await database.all(_FAVOURITES, **between))
        of_sets: dict[int, list[Beatmap]] = {}
        for beatmap in await database.all(_MAPS, **between):
            of_sets.setdefault(beatmap.set_id, []).append(beatmap)
        for set_id in ids:
            row, of_set = rows.get(set_id), of_sets.get(set_id)
            if row is None or of_set is None:
                if row is not None or of_set is not None:
                    wrong.append(set_id)
                continue
            expected = figures_of(of_set) | {"favourites": favourites[set_id]}
            if any(row[name] != value for name, value in expected.items() if name != "plays"):
                wrong.append(set_id)
        after = ids[-1]
    return wrong


def _bits(numbers: Iterable[int]) -> int:
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits
