"""Statements to SQL text, once per dialect."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.engine import Dialect

from kiai.storage.port import Command, Query


class Sql(msgspec.Struct, frozen=True):
    """The text of a statement and, for positional dialects, the order of its parameters."""

    text: str
    positions: Sequence[str]


class Compiler(dict[Query[Any] | Command, Sql]):
    """Compiles a statement when it is first looked up. Grows to the number of statements in the code, no further."""

    # PERF: a dict with __missing__, so that the common case is one C-level lookup by identity (28 ns).

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        dialect.statement_compiler = _with_constants(dialect.statement_compiler)
        self._dialect = dialect

    def __missing__(self, statement: Query[Any] | Command) -> Sql:
        compiled: Any = statement.statement.compile(dialect=self._dialect)  # type: ignore[attr-defined]
        sql = self[statement] = Sql(text=str(compiled), positions=tuple(compiled.positiontup or ()))
        return sql


def _with_constants(compiler: type[Any]) -> type[Any]:
    """The dialect's compiler, rendering constants into the text: partial indexes match only literals."""

    class ConstantsInText(compiler):  # type: ignore[misc]
        def visit_bindparam(self, bindparam: Any, **kw: Any) -> str:
            if not bindparam.required:
                kw["literal_binds"] = True
            return str(super().visit_bindparam(bindparam, **kw))

    return ConstantsInText
