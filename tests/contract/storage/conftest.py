"""The contract of storage also runs through a pooler, if it is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import engines, poolers


@pytest.fixture(params=[*engines.ENGINES, "pgbouncer"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database with the newest schema, on each engine in turn, and through PgBouncer."""
    if request.param == "pgbouncer":
        poolers.program()
        with engines.postgres_database() as url:
            yield poolers.a_pooler().url(url)
        return
    with engines.fresh(request.param, tmp_path) as url:
        yield url
