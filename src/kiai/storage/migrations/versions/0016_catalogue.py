"""The catalogue of sets with its words, titles in their own script, and comments on sets."""

import re
import unicodedata
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# A migration must not change with the code: these are copies of what kiai.beatmaps used at this revision.
WORD_MAX = 32
WORDS_OF_SET_MAX = 400
SORT_TEXT_MAX = 64
AT_ONCE = 500
BOARD_STATUSES = (2, 3, 4, 5)
ARTIST, TITLE, CREATOR, SOURCE, TAGS, VERSION = 1, 2, 4, 8, 16, 32
RANGES = {"stars": "diff", "bpm": "bpm", "length": "total_length", "ar": "ar", "od": "od", "cs": "cs", "hp": "hp"}

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_SETS = sa.text(
    "SELECT id, artist, title, creator, source, tags, last_update_ms, favourites FROM sets"
    " WHERE id > :after ORDER BY id LIMIT :limit"
)
_MAPS = sa.text(
    "SELECT set_id, mode, status, artist, title, version, creator, total_length, bpm, cs, od, ar, hp, diff, plays,"
    " rating_sum, rating_count FROM maps"
    ' WHERE "current" = 1 AND set_id > :after AND set_id <= :last ORDER BY set_id, id'
)


def upgrade() -> None:
    for name in ("artist_unicode", "title_unicode"):
        op.add_column("sets", sa.Column(name, sa.Text(), server_default=sa.text("''"), nullable=False))
    _catalogue()
    op.create_table(
        "set_words",
        _in_bytes("word", WORD_MAX),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("fields", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name="fk_set_words_set_id"),
        sa.PrimaryKeyConstraint("word", "set_id", name="pk_set_words"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_set_words_of", "set_words", ["set_id", "word", "fields"])
    op.create_table(
        "set_comments",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name="fk_set_comments_set_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_set_comments_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_set_comments"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_set_comments_user_id", "set_comments", ["user_id"])
    op.create_index("ix_set_comments_on", "set_comments", ["set_id", "id"])
    _fill()


def _in_bytes(name: str, length: int) -> "sa.Column[str]":
    kind = sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=False)


def _catalogue() -> None:
    ranges: list[sa.Column[float]] = [
        sa.Column(f"{name}_{bound}", sa.Double(), nullable=False) for name in RANGES for bound in ("min", "max")
    ]
    op.create_table(
        "catalogue",
        sa.Column("set_id", sa.Integer(), autoincrement=False, nullable=False),
        *[sa.Column(name, sa.Integer(), nullable=False) for name in ("modes", "statuses", "key_counts")],
        *ranges,
        sa.Column("ranked_at_ms", Big, nullable=False),
        sa.Column("updated_ms", Big, nullable=False),
        _in_bytes("title", SORT_TEXT_MAX),
        _in_bytes("artist", SORT_TEXT_MAX),
        sa.Column("plays", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("favourites", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("rating", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name="fk_catalogue_set_id"),
        sa.PrimaryKeyConstraint("set_id", name="pk_catalogue"),
    )
    for name, column in (
        ("ranked", "ranked_at_ms"),
        ("updated", "updated_ms"),
        ("title", "title"),
        ("artist", "artist"),
        ("stars", "stars_max"),
        ("plays", "plays"),
        ("favourites", "favourites"),
        ("rating", "rating"),
    ):
        op.create_index(f"ix_catalogue_{name}", "catalogue", [column, "set_id"])


def _fill() -> None:
    connection = op.get_bind()
    tables = sa.MetaData()
    catalogue = sa.Table("catalogue", tables, autoload_with=connection)
    set_words = sa.Table("set_words", tables, autoload_with=connection)
    after = 0
    while found := connection.execute(_SETS, {"after": after, "limit": AT_ONCE}).mappings().all():
        rows = connection.execute(_MAPS, {"after": after, "last": found[-1]["id"]}).mappings().all()
        after = found[-1]["id"]
        maps = {set_id: list(group) for set_id, group in groupby(rows, key=lambda row: row["set_id"])}
        with_maps = [one for one in found if one["id"] in maps]
        if not with_maps:
            continue
        connection.execute(catalogue.insert(), [_row(one, maps[one["id"]]) for one in with_maps])
        words = [row for one in with_maps for row in _words(one, maps[one["id"]])]
        if words:
            connection.execute(set_words.insert(), words)


def _row(one: Any, maps: list[Any]) -> dict[str, Any]:
    votes = sum(row["rating_count"] for row in maps)
    row = {
        "set_id": one["id"],
        "modes": _bits(row["mode"] for row in maps),
        "statuses": _bits(row["status"] for row in maps if row["status"] >= 0),
        "key_counts": _bits(round(row["cs"]) for row in maps if row["mode"] == 3),
        "ranked_at_ms": one["last_update_ms"] if any(row["status"] in BOARD_STATUSES for row in maps) else 0,
        "updated_ms": one["last_update_ms"],
        "title": _sort_text(one["title"]),
        "artist": _sort_text(one["artist"]),
        "plays": sum(row["plays"] for row in maps),
        "favourites": one["favourites"],
        "rating": sum(row["rating_sum"] for row in maps) / votes if votes else 0.0,
    }
    for name, column in RANGES.items():
        row[f"{name}_min"] = min(float(row[column]) for row in maps)
        row[f"{name}_max"] = max(float(row[column]) for row in maps)
    return row


def _words(one: Any, maps: list[Any]) -> list[dict[str, Any]]:
    texts = [
        (TITLE, one["title"]),
        (ARTIST, one["artist"]),
        (CREATOR, one["creator"]),
        *((VERSION, row["version"]) for row in maps),
        *((CREATOR, row["creator"]) for row in maps),
        *((ARTIST, row["artist"]) for row in maps),
        *((TITLE, row["title"]) for row in maps),
        (SOURCE, one["source"]),
        (TAGS, one["tags"]),
    ]
    fields: dict[str, int] = {}
    for field, text in texts:
        for word in _words_of(text):
            if word in fields or len(fields) < WORDS_OF_SET_MAX:
                fields[word] = fields.get(word, 0) | field
    return [{"word": word, "set_id": one["id"], "fields": bits} for word, bits in fields.items()]


def _words_of(text: str) -> Any:
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        yield word[:WORD_MAX]
        for found in _UNSPACED.finditer(word):
            if found.start():
                yield word[found.start() : found.start() + WORD_MAX]


def _sort_text(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()[:SORT_TEXT_MAX]


def _bits(numbers: Any) -> int:
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits
