"""The index of names: finds players and clans by the beginning of a name, or by a part of it.

`name_parts` has a row for each name, and one for the rest of the name after each character. So a search for a part is a
range of the primary key, on both engines and for any number of accounts. A name has 2 to 15 characters,
which is at most 14 rows.
"""

from enum import IntEnum
from typing import Final

from sqlalchemy import ColumnElement, Select, String, bindparam, delete, insert, literal_column, select

from kiai.osu.names import safe_name
from kiai.storage.port import Command, Transaction, Value
from kiai.storage.tables import name_parts

PART_MIN: Final = 2
"""The shortest stored part inside a name, in characters. Shorter ones would find most names."""
READ_MAX: Final = 100
"""Rows that one search reads."""
LAST: Final = "\U0010ffff"
"""The last code point: a prefix and this character sort behind all names with the prefix."""
TEXT_MAX: Final = 32


class NameKind(IntEnum):
    """The kinds of rows of `name_parts`. `subject` is the id of an account, of a row of `old_names`, or of a clan."""

    NAME = 0
    """An account's whole name."""
    INSIDE = 1
    """A part inside an account's name."""
    FORMER = 2
    """A former name of an account, whole or a part."""
    CLAN = 3
    """A clan's name or tag, whole or a part."""


_ADD: Final = Command(insert(name_parts).values({n: bindparam(n) for n in ("kind", "part", "subject")}))
_REMOVE: Final = Command(
    delete(name_parts).where(
        name_parts.c.kind == bindparam("of_kind"),
        name_parts.c.part == bindparam("of_part"),
        name_parts.c.subject == bindparam("of_subject"),
    )
)


def parts_of(kind: NameKind, *names: str) -> list[tuple[int, str]]:
    """Return the rows (kind, part) of names, each once. An account's name has two kinds, all others have one."""
    inside = NameKind.INSIDE if kind is NameKind.NAME else kind
    safe = [safe_name(name) for name in names]
    found = [(int(kind), name) for name in safe]
    found += [(int(inside), name[at:]) for name in safe for at in range(1, len(name) - PART_MIN + 1)]
    return list(dict.fromkeys(found))


def rows_of(kind: NameKind, subject: int, *names: str) -> list[dict[str, Value]]:
    """Return the rows of `name_parts` for the names of a subject."""
    return [{"kind": of, "part": part, "subject": subject} for of, part in parts_of(kind, *names)]


async def add_names(tx: Transaction, kind: NameKind, subject: int, *names: str) -> None:
    """Add the names of a subject."""
    await tx.run_many(_ADD, rows_of(kind, subject, *names))


async def remove_names(tx: Transaction, kind: NameKind, subject: int, *names: str) -> None:
    """Remove the names of a subject."""
    rows = [{f"of_{n}": value for n, value in row.items()} for row in rows_of(kind, subject, *names)]
    await tx.run_many(_REMOVE, rows)


def subjects(kind: NameKind) -> Select[tuple[int]]:
    """Return a subquery of the first `READ_MAX` subjects of a kind whose part is in the range of `range_of`."""
    first: ColumnElement[str] = bindparam("from_part", type_=String())
    last: ColumnElement[str] = bindparam("to_part", type_=String())
    return (
        select(name_parts.c.subject)
        .where(
            name_parts.c.kind == literal_column(str(int(kind))), name_parts.c.part >= first, name_parts.c.part < last
        )
        .order_by(name_parts.c.part, name_parts.c.subject)
        .limit(READ_MAX)
    )


def range_of(text: str) -> dict[str, Value] | None:
    """Return the parameters of `subjects` for a searched text, or None for a text that no name can contain."""
    safe = safe_name(" ".join(text.split()))
    if not safe or len(safe) > TEXT_MAX or not safe.isprintable() or not _is_unicode(safe):
        return None
    return {"from_part": safe, "to_part": safe + LAST}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
