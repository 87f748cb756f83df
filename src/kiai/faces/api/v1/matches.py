"""Endpoints about open multiplayer matches, clans and mappools."""

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
from kiai.multiplayer.model import Slot
from kiai.multiplayer.pools import Mappools
from kiai.multiplayer.rooms import Room, Rooms
from kiai.realtime.port import Realtime
from kiai.realtime.while_unavailable import online_or_nobody

AnyId = Annotated[int, Meta(ge=1, le=ID_MAX, description="The id.")]


class IdQuery(msgspec.Struct, frozen=True):
    """The parameters of an endpoint that needs only an id."""

    id: AnyId


class Person(msgspec.Struct, frozen=True):
    """A player in a match."""

    id: int
    name: str


class MatchMap(msgspec.Struct, frozen=True):
    """The map that the host has picked. `id` is -1 while the host picks one."""

    id: int
    md5: str
    name: str


class SlotReply(msgspec.Struct, frozen=True):
    """An occupied slot. `player` is null for a player who is not visible."""

    loaded: bool
    mods: int
    player: Person | None
    skipped: bool
    status: int
    team: int


class MatchReply(msgspec.Struct, frozen=True):
    """An open match. The keys of `active_slots` are the numbers of occupied slots, "0" to "15"."""

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
    """The response of get_match."""

    match: MatchReply


class ClanPerson(msgspec.Struct, frozen=True):
    """A member of a clan."""

    id: int
    name: str
    country: str
    rank: str


class ClanReply(Reply, frozen=True):
    """The response of get_clan. The clan's fields are next to `status`, without an envelope."""

    id: int
    name: str
    tag: str
    members: list[ClanPerson]
    owner: ClanPerson | None


class PoolCreator(msgspec.Struct, frozen=True):
    """The creator of a mappool."""

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
    """The response of get_mappool. The keys of `maps` are picks such as "HD1"; a map that is not stored is null."""

    id: int
    name: str
    created_at: str
    created_by: PoolCreator | None
    maps: dict[str, MapReply | None]


class MatchesV1:
    """The endpoints about matches, clans and mappools."""

    def __init__(
        self, realtime: Realtime, rooms: Rooms, accounts: Accounts, clans: Clans, pools: Mappools, beatmaps: Beatmaps
    ) -> None:
        self._realtime = realtime
        self._rooms = rooms
        self._accounts = accounts
        self._clans = clans
        self._pools = pools
        self._beatmaps = beatmaps

    async def get_match(self, caller: Caller, query: IdQuery) -> GetMatchReply:
        """An open multiplayer match."""
        return GetMatchReply("success", await self.match_reply(await self._rooms.room(query.id, caller.viewer)))

    async def match_reply(self, room: Room) -> MatchReply:
        """Return the JSON object of a match. Players who are not visible keep their slot, but have no name."""
        match = room.match
        people = {slot.player_id for slot in match.slots if slot.player_id} | {ref for ref, _ in match.referees}
        names = await self._names_of([match.host_id, *people])
        return MatchReply(
            name=match.name,
            mode=match.mode,
            mods=match.mods,
            seed=match.seed,
            host=_person(match.host_id, names),
            refs=[Person(ref, names[ref]) for ref, _ in match.referees if ref in names],
            in_progress=match.in_progress,
            is_scrimming=match.scrimming,
            map=MatchMap(match.map_id, match.map_md5, match.map_name),
            active_slots={str(number): _slot(slot, names) for number, slot in enumerate(match.slots) if slot.player_id},
            has_password=room.locked,
        )

    async def _names_of(self, user_ids: Sequence[int]) -> dict[int, str]:
        names: dict[int, str] = {}
        # One statement has a bound on its ids; a match has no bound on its referees.
        for start in range(0, len(user_ids), NAMES_MAX):
            names |= await self._accounts.names_of(user_ids[start : start + NAMES_MAX])
        return names

    async def get_clan(self, caller: Caller, query: IdQuery) -> ClanReply:
        """A clan with its members."""
        clan = await self._clans.clan(query.id)
        members = [
            ClanPerson(member.id, member.name, member.country, ROLES[member.clan_priv])
            for member in await self._clans.members(clan.id)
        ]
        # An owner who is restricted is not among the visible members.
        owner = next((member for member in members if member.id == clan.owner_id), None)
        return ClanReply("success", clan.id, clan.name, clan.tag, members, owner)

    async def get_mappool(self, caller: Caller, query: IdQuery) -> PoolReply:
        """A mappool with its maps."""
        pool = await self._pools.pool(query.id)
        maps: dict[str, MapReply | None] = {}
        # One lookup per pick by primary key, of which a pool has at most PICKS_MAX.
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
        online = await online_or_nobody(self._realtime, [player.id])
        return PoolCreator(player.id, player.name, player.country, clan, player.id in online)

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [
            _get("get_match", GetMatchReply, self.get_match, "matches"),
            _get("get_clan", ClanReply, self.get_clan, "clans"),
            _get("get_mappool", PoolReply, self.get_mappool, "matches"),
        ]


# The docstrings of handlers that `_get` declares are the summaries in the OpenAPI document.
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


def _person(user_id: int, names: dict[int, str]) -> Person | None:
    return Person(user_id, names[user_id]) if user_id in names else None


def _slot(slot: Slot, names: dict[int, str]) -> SlotReply:
    return SlotReply(
        loaded=slot.loaded,
        mods=slot.mods,
        player=_person(slot.player_id, names),
        skipped=slot.skipped,
        status=slot.status,
        team=slot.team,
    )
