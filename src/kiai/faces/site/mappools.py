"""The mappools: published ones for everybody, and for tournament staff all of them, with the forms to change them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from kiai.accounts import Accounts
from kiai.accounts.model import BOT_ID
from kiai.beatmaps.model import MapSummary
from kiai.errors import Conflict, Invalid, KiaiError, NotFound, Refused, Unavailable
from kiai.faces.site.confirming import ActConfirmation, confirmation_page, is_confirmed
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import (
    Access,
    FormState,
    Handler,
    Head,
    Page,
    Redirect,
    Response,
    SiteRequest,
    View,
)
from kiai.faces.site.settings import common
from kiai.faces.site.templating import url
from kiai.multiplayer.pools import FREE_MOD_PICKS, Mappool, Mappools, PooledMap
from kiai.osu.mods import clock_rate, difficulty_mods, parse_mods
from kiai.osu.numbers import whole_number
from kiai.scores.performance import CannotCalculate, Difficulties
from kiai.staff import Actor
from kiai.staff.pool_acts import PERMISSION, PoolActs

SHOWN: Final = 50
ORDER: Final = ("NM", "HD", "HR", "DT", "FM", "TB")
CALCULATED_AT_ONCE: Final = 8
CALCULATED_S: Final = 1.0
ID_MAX: Final = 2**31 - 1
_REFUSALS: Final = (Conflict, Invalid, NotFound, Refused)
"""The errors of acts that a form explains."""


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

    def __init__(self, pools: Mappools, acts: PoolActs, difficulties: Difficulties, accounts: Accounts) -> None:
        self._pools = pools
        self._acts = acts
        self._difficulties = difficulties
        self._accounts = accounts

    def pages(self) -> list[Page]:
        """Return the pages, and the forms of tournament staff."""
        pool = "/mappools/{pool}"
        return [
            Page("GET", "/mappools", self._list),
            Page("GET", pool, self._pool),
            _form("/mappools", self._create),
            _form(f"{pool}/name", self._rename),
            _form(f"{pool}/picks", self._add),
            _form(f"{pool}/picks/remove", self._remove),
            _form(f"{pool}/published", self._publish),
            _form(f"{pool}/delete", self._delete),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        return await self._listed(request, None)

    async def _listed(self, request: SiteRequest, form: FormState | None) -> Response:
        before = request.query.whole("before", ID_MAX, at_least=1, at_most=ID_MAX)
        manages = request.visitor.may(PERMISSION)
        found = await (self._pools.all if manages else self._pools.published)(before=before, limit=SHOWN + 1)
        owners = {pool.created_by for pool in found}
        values = {
            "pools": found[:SHOWN],
            "players": await self._accounts.players_among(owners) if owners else {},
            "bot_id": BOT_ID,
            "bot_name": await self._accounts.bot_name() if BOT_ID in owners else "",
            "older": url("/mappools", before=found[SHOWN - 1].id) if len(found) > SHOWN else None,
            "manages": manages,
            "pool_form": form,
            "saved": _message(request),
        }
        text = request.locale.text
        head = Head(text("Mappools"), text("The maps of tournaments and scrims, by slot."), "/mappools")
        return View("mappools.html", values, head, 200 if form is None else 422)

    async def _pool(self, request: SiteRequest) -> Response:
        return await self._page(request, await self._find(request))

    async def _find(self, request: SiteRequest) -> Mappool:
        pool_id = request.id("pool")
        if pool_id is None:
            raise NotFound("mappool")
        if request.visitor.may(PERMISSION):
            return await self._pools.any_pool(pool_id)
        return await self._pools.pool(pool_id)

    async def _page(self, request: SiteRequest, pool: Mappool, failed: tuple[str, FormState] | None = None) -> Response:
        """Return the page of a pool. `failed` is a form that was refused: its name and its state."""
        pool_id = pool.id
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
            "manages": request.visitor.may(PERMISSION),
            "forms_of": {} if failed is None else {failed[0]: failed[1]},
            "saved": _message(request),
            "path": f"/mappools/{pool.id}",
        }
        description = request.locale.text("The maps of the mappool %(name)s, by slot.", name=pool.name)
        path = f"/mappools/{pool.id}" if pool.published else None
        return View("mappool.html", values, Head(pool.name, description, path), 200 if failed is None else 422)

    # --- the forms of tournament staff

    async def _create(self, request: SiteRequest) -> Response:
        typed = common.typed(request, "name")
        try:
            pool_id = await self._acts.create(_actor(request), typed["name"])
        except _REFUSALS as error:
            return await self._listed(request, _refusal(request.locale, typed, error))
        return Redirect(f"/mappools/{pool_id}?done=created")

    async def _rename(self, request: SiteRequest) -> Response:
        typed = common.typed(request, "name")
        return await self._do(
            request, "name", typed, lambda pool: self._acts.rename(_actor(request), pool.name, typed["name"])
        )

    async def _add(self, request: SiteRequest) -> Response:
        typed = common.typed(request, "pick", "map")
        map_id = whole_number(typed["map"], least=1)
        if map_id is None:
            wrong = request.locale.text("Type the id of a beatmap.")
            return await self._page(
                request, await self._find(request), ("add", common.wrong(request.locale, typed, "map", wrong))
            )
        return await self._do(
            request, "add", typed, lambda pool: self._acts.add(_actor(request), pool.name, typed["pick"], map_id)
        )

    async def _remove(self, request: SiteRequest) -> Response:
        typed = common.typed(request, "pick")
        return await self._do(
            request, "remove", typed, lambda pool: self._acts.remove(_actor(request), pool.name, typed["pick"])
        )

    async def _publish(self, request: SiteRequest) -> Response:
        on = request.form.text("published") == "1"
        done = "published" if on else "hidden"
        return await self._do(request, done, {}, lambda pool: self._acts.publish(_actor(request), pool.name, on))

    async def _delete(self, request: SiteRequest) -> Response:
        """Ask, then delete a pool. Its creator and developers may."""
        pool, text = await self._find(request), request.locale.text
        try:
            _, picks = await self._acts.to_delete(_actor(request), pool.name)
            if not is_confirmed(request):
                heading = text("Delete the mappool %(name)s?", name=pool.name)
                sentence = text("It has %(count)s picks. This cannot be undone.", count=request.locale.number(picks))
                path = f"/mappools/{pool.id}"
                return confirmation_page(ActConfirmation(heading, sentence, f"{path}/delete", path, danger=True))
            await self._acts.delete(_actor(request), pool.name)
        except Refused as error:
            return await self._page(request, pool, ("delete", common.refused(request.locale, {}, error.reason)))
        return Redirect("/mappools?done=deleted")

    async def _do(
        self, request: SiteRequest, name: str, typed: Mapping[str, str], act: Callable[[Mappool], Awaitable[None]]
    ) -> Response:
        """Do an act and return to the page of the pool, or show its form again."""
        pool = await self._find(request)
        try:
            await act(pool)
        except _REFUSALS as error:
            if isinstance(error, NotFound) and error.what == "mappool":
                raise
            return await self._page(request, pool, (name, _refusal(request.locale, typed, error)))
        return Redirect(f"/mappools/{pool.id}?done={name}")

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


def _form(path: str, handler: Handler) -> Page:
    return Page("POST", path, handler, Access.STAFF, permission=PERMISSION)


def _actor(request: SiteRequest) -> Actor:
    return Actor(request.visitor.player.id, "web")


def _message(request: SiteRequest) -> str:
    """Return the message about a form that was sent before, or an empty text."""
    text = request.locale.text
    messages = {
        "created": text("The mappool is created. Only tournament staff sees it until it is published."),
        "name": text("The mappool is renamed."),
        "add": text("The pick is added."),
        "remove": text("The pick is removed."),
        "published": text("The mappool is public now."),
        "hidden": text("The mappool is hidden now."),
        "deleted": text("The mappool is deleted."),
    }
    return messages.get(request.query.values.get("done", ""), "")


def _refusal(locale: Locale, typed: Mapping[str, str], error: KiaiError) -> FormState:
    """Return the state of a refused form."""
    match error:
        case Invalid():
            return common.invalid(locale, typed, error, {})
        case Conflict(what="mappool"):
            return common.wrong(locale, typed, "name", locale.text("This name is already taken."))
        case Conflict():
            return common.wrong(locale, typed, "pick", locale.text("The mappool has this pick or this map already."))
        case Refused(reason=reason):
            return common.refused(locale, typed, reason)
    return FormState(typed, message=locale.text("The mappool has no such pick."))


def _mods(pick: PooledMap) -> int:
    if pick.mods == "NM" or pick.mods in FREE_MOD_PICKS:
        return 0
    try:
        return parse_mods(pick.mods)
    except (Invalid, ValueError):  # unknown letters
        return 0


def _place(pick: PooledMap) -> tuple[int, str, int]:
    return (ORDER.index(pick.mods) if pick.mods in ORDER else ORDER.index("FM"), pick.mods, pick.slot)
