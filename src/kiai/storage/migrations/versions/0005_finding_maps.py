"""Search for maps: the words of their names, and indexes for the orders and filters of their lists."""

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# A migration must not change with the code: these are copies of what kiai.beatmaps used at this revision.
WORD_MAX = 32
WORDS_OF_MAP_MAX = 64
AT_ONCE = 1_000

_WORD = re.compile(r"[^\W_]+")
_READ = sa.text("SELECT key, artist, title, version, creator FROM maps WHERE key > :after ORDER BY key LIMIT :limit")
_WRITE = sa.text("INSERT INTO map_words (word, map_key) VALUES (:word, :map_key)")


def upgrade() -> None:
    _index("ix_maps_artist", "artist", "id")
    _index("ix_maps_creator", "creator", "id")
    _index("ix_maps_status", "status", "id", "mode", "frozen")
    _index("ix_maps_mode", "mode", "id", "frozen")
    _index("ix_maps_frozen", "frozen", "id")
    _index("ix_maps_updated", sa.text("last_update_ms DESC"), "id", "status", "mode", "frozen")
    _index("ix_maps_diff", "diff", "id", "status", "mode", "frozen")
    op.create_table(
        "map_words",
        sa.Column(
            "word",
            sa.String(WORD_MAX).with_variant(sa.String(WORD_MAX, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("map_key", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["map_key"], ["maps.key"], name="fk_map_words_map_key"),
        sa.PrimaryKeyConstraint("word", "map_key", name="pk_map_words"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_map_words_of", "map_words", ["map_key", "word"])
    _write_words()


def _index(name: str, *columns: "str | sa.TextClause") -> None:
    where = sa.text('"current" = 1')
    op.create_index(name, "maps", list(columns), sqlite_where=where, postgresql_where=where)


def _write_words() -> None:
    connection = op.get_bind()
    after = 0
    while rows := connection.execute(_READ, {"after": after, "limit": AT_ONCE}).all():
        after = rows[-1][0]
        words = [{"word": word, "map_key": row[0]} for row in rows for word in _words_of(row[1:])]
        if words:
            connection.execute(_WRITE, words)


def _words_of(texts: "tuple[str, ...]") -> list[str]:
    found = dict.fromkeys(
        word[:WORD_MAX] for text in texts for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    )
    return list(found)[:WORDS_OF_MAP_MAX]
