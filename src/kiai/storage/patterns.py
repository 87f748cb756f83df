"""Conditions in words that engines treat alike: substring searches, and columns that lead no index."""

from typing import Any, Final

from sqlalchemy import ColumnElement, String, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Text

ESCAPE: Final = "\\"
LENGTH_MAX: Final = 200
"""Characters of one search term; no stored name, title or tag list is searched for more."""

_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_LITERAL: Final = str.maketrans({mark: ESCAPE + mark for mark in (ESCAPE, "%", "_")})


class ascii_lower(GenericFunction[str]):  # noqa: N801  # named as it is called
    """`lower()` for ASCII letters alone, on every engine and in every locale, as `containing` does it."""

    type = Text()
    inherit_cache = True


@compiles(ascii_lower, "sqlite")
def _in_sqlite(element: ascii_lower, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(ascii_lower, "postgresql")
def _in_postgresql(element: ascii_lower, compiler: Any, **options: Any) -> str:
    # Parentheses: COLLATE binds tighter than the operators of an expression.
    return f'lower(({compiler.process(element.clauses, **options)}) COLLATE "C")'


def containing(term: str) -> str | None:
    """The pattern of LIKE for texts that hold `term`, in which no character of `term` means anything to LIKE.

    None if nothing can hold it, so nothing is to be asked: SQLite ends a pattern at a NUL, PostgreSQL stores none, and
    neither takes text that is no valid Unicode. Letters A-Z are lowered; compare with `ascii_lower(column)`.
    """
    if not term or len(term) > LENGTH_MAX or "\0" in term or not _is_unicode(term):
        return None
    return f"%{term.translate(_LOWER).translate(_LITERAL)}%"


def holds(text: ColumnElement[Any], pattern: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether `text` matches a pattern that `containing` made, A-Z and a-z alike."""
    return ascii_lower(text).like(pattern, escape=ESCAPE)


def looked_at(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column as an expression: it is compared row by row, and no index is chosen for its sake."""
    if isinstance(column.type, String):
        return column.op("||")(literal_column("''"))
    return column.op("+")(literal_column("0"))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
