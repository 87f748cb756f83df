"""The board of countries: sums over the ranked players of each country.

The sums change with every play, so requests do not compute them. A job reads all profiles every few seconds and writes
the sums into one row for each country and mode.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, bindparam, cast, delete, func, insert, literal_column, select

from kiai.accounts.visibility import visible
from kiai.clock import Clock
from kiai.scores.statements.expressions import named, sum_where
from kiai.storage.port import Command, Database, Lane, Query, Transaction, columns_for
from kiai.storage.tables import country_totals, stats, users

ACTIVE_MS: Final = 90 * 86_400_000
"""A player is active in a mode for this time after the latest play in it."""
COUNTRIES_MAX: Final = 300


class CountryTotals(msgspec.Struct, frozen=True):
    """The sums over a country's visible players with pp in a mode. `active` of them played in the last 90 days."""

    country: str
    players: int
    active: int
    plays: int
    rscore: int
    pp: int

    @property
    def average_pp(self) -> int:
        """The pp of an average player, rounded."""
        return round(self.pp / self.players) if self.players else 0


COUNTRIES = Query(
    select(*columns_for(CountryTotals, country_totals))
    .where(country_totals.c.mode == bindparam("mode"))
    .order_by(country_totals.c.pp.desc(), country_totals.c.country)
    .limit(COUNTRIES_MAX),
    CountryTotals,
)


_FIELDS: Final = ("mode", *CountryTotals.__struct_fields__)


def _row(*row: Any) -> dict[str, Any]:
    return dict(zip(_FIELDS, row, strict=True))


def _sum(column: Any) -> Any:
    return cast(func.sum(column), BigInteger)


SUMS = Query(
    select(
        stats.c.mode,
        stats.c.country,
        func.count(),
        sum_where(literal_column("1"), stats.c.last_play_ms >= bindparam("since_ms")),
        _sum(stats.c.plays),
        _sum(stats.c.rscore),
        _sum(stats.c.pp),
    )
    .select_from(stats.join(users, users.c.id == stats.c.user_id))
    .where(stats.c.pp > literal_column("0"), visible())
    .group_by(stats.c.mode, stats.c.country)
    .order_by(stats.c.mode, stats.c.country),
    _row,
    lane=Lane.JOB,
    scans="a job sums all profiles",
)
_STORED = Query(
    select(*[country_totals.c[name] for name in _FIELDS]).order_by(country_totals.c.mode, country_totals.c.country),
    _row,
    lane=Lane.JOB,
)
_CLEAR = Command(delete(country_totals))
_WRITE = Command(insert(country_totals).values(named(*_FIELDS)))


class Countries:
    """Keeps and reads the sums of countries."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def board(self, mode: int) -> list[CountryTotals]:
        """Return the countries with ranked players in a mode, by the sum of their pp."""
        return await self._database.all(COUNTRIES, mode=mode)

    async def refresh(self) -> None:
        """Compute all sums again, and write them if they have changed."""
        sums = await self._database.all(SUMS, since_ms=self._clock.now_ms() - ACTIVE_MS)
        if sums == await self._database.all(_STORED):
            return

        async def body(tx: Transaction) -> None:
            await tx.run(_CLEAR)
            await tx.run_many(_WRITE, sums)

        await self._database.transaction(body)
