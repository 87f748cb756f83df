"""Search for parts of names, the number of players with each medal, and the minutes in which the server was up."""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

# A migration must not change with the code: these are copies of what kiai used at this revision.
PART_MIN = 2
AT_ONCE = 1_000
NAME, INSIDE, FORMER, CLAN = 0, 1, 2, 3
MEDALS = 115

_USERS = sa.text("SELECT id, safe_name FROM users WHERE id > :after ORDER BY id LIMIT :limit")
_FORMER = sa.text("SELECT id, safe_name FROM old_names WHERE id > :after ORDER BY id LIMIT :limit")
_CLANS = sa.text("SELECT id, safe_name, tag FROM clans WHERE id > :after ORDER BY id LIMIT :limit")
_WRITE = sa.text("INSERT INTO name_parts (kind, part, subject) VALUES (:kind, :part, :subject)")
_HOLDERS = sa.text(
    "INSERT INTO medal_holders (medal_id, holders) SELECT medals.medal_id, count(*) FROM medals"
    " JOIN users ON users.id = medals.user_id WHERE (users.priv & 3) = 3 GROUP BY medals.medal_id"
)
_KNOWN = sa.text("SELECT medal_id FROM medal_holders")
_NO_HOLDER = sa.text("INSERT INTO medal_holders (medal_id, holders) VALUES (:medal_id, 0)")


def upgrade() -> None:
    op.create_table(
        "name_parts",
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("part", sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql"), nullable=False),
        sa.Column("subject", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("kind", "part", "subject", name="pk_name_parts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "medal_holders",
        sa.Column("medal_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "holders",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            server_default=sa.text("0"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("medal_id", name="pk_medal_holders"),
    )
    op.create_table(
        "uptime_days",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_minute", sa.Integer(), nullable=False),
        sa.Column("last_minute", sa.Integer(), nullable=False),
        sa.Column("up", sa.Integer(), nullable=False),
        sa.Column("impaired", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_uptime_days"),
    )
    for query, kinds in ((_USERS, (NAME, INSIDE)), (_FORMER, (FORMER, FORMER)), (_CLANS, (CLAN, CLAN))):
        _write_parts(query, *kinds)
    connection = op.get_bind()
    connection.execute(_HOLDERS)
    known = set(connection.execute(_KNOWN).scalars())
    connection.execute(_NO_HOLDER, [{"medal_id": n} for n in range(1, MEDALS + 1) if n not in known])


def _write_parts(query: sa.TextClause, whole: int, inside: int) -> None:
    connection = op.get_bind()
    after = 0
    while rows := connection.execute(query, {"after": after, "limit": AT_ONCE}).all():
        after = rows[-1][0]
        parts = [
            {"kind": kind, "part": part, "subject": row[0]}
            for row in rows
            for kind, part in dict.fromkeys(_parts_of(row[1:], whole, inside))
        ]
        if parts:
            connection.execute(_WRITE, parts)


def _parts_of(names: "Iterable[str]", whole: int, inside: int) -> "list[tuple[int, str]]":
    lowered = [name.lower() for name in names]
    return [(whole, name) for name in lowered] + [
        (inside, name[at:]) for name in lowered for at in range(1, len(name) - PART_MIN + 1)
    ]
