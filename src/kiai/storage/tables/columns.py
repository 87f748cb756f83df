"""The shared metadata of all tables, and functions for common columns and indexes."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    Text,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex

# Names are explicit, because a migration can change a constraint only by its name.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

WORD_MAX = 32  # characters of a word in `map_words`

# 64 bits on both engines. SQLite numbers a primary key itself only when its type is exactly INTEGER.
Big = BigInteger().with_variant(Integer(), "sqlite")


def flag_column(name: str, default: int = 0) -> Column[int]:
    """Return a column with the value 0 or 1."""
    return Column(name, Integer, nullable=False, server_default=text(str(default)))


def count_column(name: str) -> Column[int]:
    """Return a 64-bit column with the default 0."""
    return Column(name, Big, nullable=False, server_default=text("0"))


def text_column(name: str) -> Column[str]:
    """Return a text column with the default ''."""
    return Column(name, Text, nullable=False, server_default=text("''"))


def partial_index(name: str, where: str, *columns: object, unique: bool = False) -> Index:
    """Return an index of the rows that satisfy `where`, which is SQL for both engines."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where))  # type: ignore[arg-type]


@compiles(CreateIndex, "postgresql")
def _create_in_postgresql(create: CreateIndex, compiler: Any, **options: Any) -> str:
    # Not an argument of the index: for `postgresql_where`, SQLAlchemy loads the dialect, which takes 2 MB.
    index = create.element
    index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]
    return str(compiler.visit_create_index(create, **options))
