"""Multiplayer matches that run now, clans, mappools."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from kiai.accounts import Accounts
from kiai.accounts.model import ID_MAX
from kiai.accounts.queries import NAMES_MAX
from kiai.beatmaps import Beatmaps
from kiai.clans import Clans
from kiai.clans.service import ROLES
from kiai.errors import NotFound
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.replies import MapReply, Reply, map_reply, utc
from kiai.multiplayer.match import Match, Slot
from kiai.multiplayer.pools import Pools
from kiai.realtime.port import Realtime
from kiai.realtime.reading import shown_online

AnyId = Annotated[int, Meta(ge=1, le=ID_MAX, description="The id of the one that is wanted.")]


class IdQuery(msgspec.Struct, frozen=True):
    """An endpoint whose only parameter is an id."""

    id: AnyId


class Person(msgspec.Struct, frozen=True):
    """A player in a match."""

    id: int
    name: str


class MatchMap(msgspec.Struct, frozen=True):
    """The map that is picked."""

    id: int
    md5: str
    name: str


class SlotReply(msgspec.Struct, frozen=True):
    """An occupied slot. `player` is null for somebody who is not shown."""

    loaded: bool
    mods: int
    player: Person | None
    skipped: bool
    status: int
    team: int


class MatchReply(msgspec.Struct, frozen=True):
    """A running match; `active_slots` keyed by seat, "0" to "15"; never a password."""

    name: str
    mode: int
    mods: int
    seed: int
    host: Person | None
    refs: list[Person]
    in_progress: bool
    is_scrimming: bool
    map: MatchMap
    active_slots: dict[str, SlotReply]
    has_password: bool


class GetMatchReply(Reply, frozen=True):
    """get_match."""

    match: MatchReply


class ClanPerson(msgspec.Struct, frozen=True):
    """A member of a clan."""

    id: int
    name: str
    country: str
    rank: str


class ClanReply(Reply, frozen=True):
    """get_clan: the clan beside the status, without an envelope."""

    id: int
    name: str
    tag: str
    members: list[ClanPerson]
    owner: ClanPerson | None


class PoolCreator(msgspec.Struct, frozen=True):
    """Who made a mappool."""

    id: int
    name: str
    country: str
    clan: "PoolClan | None"
    online: bool


class PoolClan(msgspec.Struct, frozen=True):
    """The clan of a mappool's creator."""

    id: int
    name: str
    tag: str


class PoolReply(Reply, frozen=True):
    """get_mappool: maps keyed "HD1", "NM2"; null for a map that is not here."""

    id: int
    name: str
    created_at: str
    created_by: PoolCreator | None
    maps: dict[str, MapReply | None]


class Matches:
    """The handlers of this page."""

    def __init__(self, realtime: Realtime, accounts: Accounts, clans: Clans, pools: Pools, beatmaps: Beatmaps) -> None:
        self._realtime = realtime
        self._accounts = accounts
        self._clans = clans
        self._pools = pools
        self._beatmaps = beatmaps

    async def get_match(self, caller: Caller, query: IdQuery) -> GetMatchReply:
        """A multiplayer match that runs now."""
        match = await self._realtime.match(query.id, Match)
        if match is None:
            raise NotFound("match")
        return GetMatchReply("success", await self.match_reply(match))

    async def match_reply(self, match: Match) -> MatchReply:
        """A match as the API shows it: players whom nobody may see sit there without a name."""
        people = {slot.player_id for slot in match.slots if slot.player_id} | {ref for ref, _ in match.referees}
        shown = await self._names_of([match.host_id, *people])
        return MatchReply(
            name=match.name,
            mode=match.mode,
            mods=match.mods,
            seed=match.seed,
            host=_person(match.host_id, shown),
            refs=[Person(ref, shown[ref]) for ref, _ in match.referees if ref in shown],
            in_progress=match.in_progress,
            is_scrimming=match.scrimming,
            map=MatchMap(match.map_id, match.map_md5, match.map_name),
            active_slots={str(seat): _slot(slot, shown) for seat, slot in enumerate(match.slots) if slot.player_id},
            has_password=bool(match.password),
        )

    async def _names_of(self, user_ids: Sequence[int]) -> dict[int, str]:
        found: dict[int, str] = {}
        for start in range(0, len(user_ids), NAMES_MAX):
            found |= await self._accounts.names_of(user_ids[start : start + NAMES_MAX])
        return found

    async def get_clan(self, caller: Caller, query: IdQuery) -> ClanReply:
        """A clan with its members."""
        clan = await self._clans.clan(query.id)
        members = [
            ClanPerson(one.id, one.name, one.country, ROLES[one.clan_priv])
            for one in await self._clans.members(clan.id)
        ]
        owner = next((one for one in members if one.id == clan.owner_id), None)
        return ClanReply("success", clan.id, clan.name, clan.tag, members, owner)

    async def get_mappool(self, caller: Caller, query: IdQuery) -> PoolReply:
        """A mappool with its maps."""
        pool = await self._pools.pool(query.id)
        maps: dict[str, MapReply | None] = {}
        for pick in await self._pools.picks(pool.id):
            try:
                found = await self._beatmaps.find(id=pick.map_id)
            except NotFound:
                maps[f"{pick.mods}{pick.slot}"] = None
                continue
            maps[f"{pick.mods}{pick.slot}"] = map_reply(found)
        return PoolReply(
            "success", pool.id, pool.name, utc(pool.created_at_ms), await self._creator(pool.created_by), maps
        )

    async def _creator(self, user_id: int) -> PoolCreator | None:
        try:
            player = await self._accounts.player(id=user_id)
        except NotFound:
            return None
        clan = None
        if player.clan_id is not None and player.clan_name is not None and player.clan_tag is not None:
            clan = PoolClan(player.clan_id, player.clan_name, player.clan_tag)
        online = await shown_online(self._realtime, [player.id])
        return PoolCreator(player.id, player.name, player.country, clan, player.id in online)

    def operations(self) -> list[Operation]:
        """What this page serves."""
        return [
            _get("get_match", GetMatchReply, self.get_match, "matches"),
            _get("get_clan", ClanReply, self.get_clan, "clans"),
            _get("get_mappool", PoolReply, self.get_mappool, "matches"),
        ]


def _get(name: str, reply: type[msgspec.Struct], handler: object, tag: str) -> Operation:
    return Operation(
        path=f"/{name}",
        method="GET",
        summary=(handler.__doc__ or "").strip(),
        query=IdQuery,
        reply=reply,
        handler=handler,  # type: ignore[arg-type]
        tag=tag,
    )


def _person(user_id: int, shown: dict[int, str]) -> Person | None:
    return Person(user_id, shown[user_id]) if user_id in shown else None


def _slot(slot: Slot, shown: dict[int, str]) -> SlotReply:
    return SlotReply(
        loaded=slot.loaded,
        mods=slot.mods,
        player=_person(slot.player_id, shown),
        skipped=slot.skipped,
        status=slot.status,
        team=slot.team,
    )
