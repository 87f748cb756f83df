"""Conditions that mean the same on SQLite and PostgreSQL: substring searches, and columns that use no index."""

from typing import Any, Final

from sqlalchemy import ColumnElement, String, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Text

ESCAPE: Final = "\\"
LENGTH_MAX: Final = 200
"""Maximum length of one search term, in characters. Longer terms match nothing."""

_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_LITERAL: Final = str.maketrans({mark: ESCAPE + mark for mark in (ESCAPE, "%", "_")})


class ascii_lower(GenericFunction[str]):  # noqa: N801  # named as it is called
    """`lower()` that changes only A-Z on every engine and in every locale, as `containing` does."""

    type = Text()
    inherit_cache = True


@compiles(ascii_lower, "sqlite")
def _in_sqlite(element: ascii_lower, compiler: Any, **options: Any) -> str:
    # Without the ICU extension, lower() of SQLite changes only ASCII letters.
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(ascii_lower, "postgresql")
def _in_postgresql(element: ascii_lower, compiler: Any, **options: Any) -> str:
    # Collation "C" lowers only ASCII letters. The parentheses are needed: COLLATE binds tighter than operators.
    return f'lower(({compiler.process(element.clauses, **options)}) COLLATE "C")'


def containing(term: str) -> str | None:
    """Return the LIKE pattern that finds `term` inside a text, with the wildcards of LIKE in `term` escaped.

    Return None when no stored text can contain `term`; the caller then runs no query. The pattern has A-Z in lower
    case; compare it with `ascii_lower(column)`.
    """
    # SQLite ends a pattern at a NUL, PostgreSQL cannot store one, and neither accepts lone surrogates.
    if not term or len(term) > LENGTH_MAX or "\0" in term or not _is_unicode(term):
        return None
    return f"%{term.translate(_LOWER).translate(_LITERAL)}%"


def contains_pattern(text: ColumnElement[Any], pattern: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that `text` matches a pattern from `containing`; A-Z and a-z are equal."""
    return ascii_lower(text).like(pattern, escape=ESCAPE)


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column as an expression that no index covers.

    Wrap a filter in it when the planner would choose the index of that filter instead of the index of the order.
    """
    if isinstance(column.type, String):
        return column.op("||")(literal_column("''"))
    return column.op("+")(literal_column("0"))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
