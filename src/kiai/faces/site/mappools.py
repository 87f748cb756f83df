"""The published mappools."""

import asyncio
import contextlib
from typing import Final

import msgspec

from kiai.accounts import Accounts
from kiai.accounts.model import BOT_ID
from kiai.beatmaps.model import MapSummary
from kiai.errors import Invalid, NotFound, Unavailable
from kiai.faces.site.page import Head, Page, Response, SiteRequest, View
from kiai.faces.site.templating import url
from kiai.multiplayer.pools import FREE_MOD_PICKS, Mappools, PooledMap
from kiai.osu.mods import clock_rate, difficulty_mods, parse_mods
from kiai.scores.performance import CannotCalculate, Difficulties

SHOWN: Final = 50
ORDER: Final = ("NM", "HD", "HR", "DT", "FM", "TB")
CALCULATED_AT_ONCE: Final = 8
CALCULATED_S: Final = 1.0
ID_MAX: Final = 2**31 - 1


class ShownPick(msgspec.Struct, frozen=True):
    """A pick of a pool. `stars` are those with its mods, None if they are not known yet. `rate` is the speed."""

    name: str
    map_id: int
    mods: int
    rate: float
    stars: float | None
    beatmap: MapSummary | None


class MappoolPages:
    """The list of mappools, and the page of one."""

    def __init__(self, pools: Mappools, difficulties: Difficulties, accounts: Accounts) -> None:
        self._pools = pools
        self._difficulties = difficulties
        self._accounts = accounts

    def pages(self) -> list[Page]:
        """Return the pages."""
        return [Page("GET", "/mappools", self._list), Page("GET", "/mappools/{pool}", self._pool)]

    async def _list(self, request: SiteRequest) -> Response:
        before = request.query.whole("before", ID_MAX, at_least=1, at_most=ID_MAX)
        found = await self._pools.published(before=before, limit=SHOWN + 1)
        owners = {pool.created_by for pool in found}
        values = {
            "pools": found[:SHOWN],
            "players": await self._accounts.players_among(owners) if owners else {},
            "bot_id": BOT_ID,
            "bot_name": await self._accounts.bot_name() if BOT_ID in owners else "",
            "older": url("/mappools", before=found[SHOWN - 1].id) if len(found) > SHOWN else None,
        }
        text = request.locale.text
        head = Head(text("Mappools"), text("The maps of tournaments and scrims, by slot."), "/mappools")
        return View("mappools.html", values, head)

    async def _pool(self, request: SiteRequest) -> Response:
        pool_id = request.id("pool")
        if pool_id is None:
            raise NotFound("mappool")
        pool = await self._pools.pool(pool_id)
        maps = sorted(await self._pools.maps(pool_id), key=_place)
        picks = [self._shown(pick) for pick in maps]
        await self._calculate([pick for pick, shown in zip(maps, picks, strict=True) if shown.stars is None])
        if any(pick.stars is None for pick in picks):
            picks = [self._shown(pick) for pick in sorted(await self._pools.maps(pool_id), key=_place)]
        owners = await self._accounts.players_among([pool.created_by])
        values = {
            "pool": pool,
            "owner": owners.get(pool.created_by),
            "bot_name": await self._accounts.bot_name() if pool.created_by == BOT_ID else "",
            "picks": picks,
            "ids": " ".join(str(pick.map_id) for pick in picks),
        }
        description = request.locale.text("The maps of the mappool %(name)s, by slot.", name=pool.name)
        return View("mappool.html", values, Head(pool.name, description, f"/mappools/{pool.id}"))

    def _shown(self, pick: PooledMap) -> ShownPick:
        mods = _mods(pick)
        wanted = difficulty_mods(mods)
        stars = None if pick.beatmap is None else pick.beatmap.diff if not wanted else pick.stars.get(wanted)
        return ShownPick(f"{pick.mods}{pick.slot}", pick.map_id, mods, clock_rate(mods), stars, pick.beatmap)

    async def _calculate(self, picks: list[PooledMap]) -> None:
        """Calculate and store the stars of a few picks, for at most `CALCULATED_S`. The others follow later."""

        async def one(pick: PooledMap) -> None:
            assert pick.beatmap is not None
            with contextlib.suppress(CannotCalculate, Unavailable):
                await self._difficulties.of(pick.map_key, pick.beatmap.md5, pick.beatmap.mode, _mods(pick))

        wanted = [pick for pick in picks if pick.beatmap is not None][:CALCULATED_AT_ONCE]
        if wanted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CALCULATED_S):
                    await asyncio.gather(*(one(pick) for pick in wanted))


def _mods(pick: PooledMap) -> int:
    if pick.mods == "NM" or pick.mods in FREE_MOD_PICKS:
        return 0
    try:
        return parse_mods(pick.mods)
    except (Invalid, ValueError):  # unknown letters
        return 0


def _place(pick: PooledMap) -> tuple[int, str, int]:
    return (ORDER.index(pick.mods) if pick.mods in ORDER else ORDER.index("FM"), pick.mods, pick.slot)
