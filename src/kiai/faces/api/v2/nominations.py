"""Version 2: nominations of sets."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.params import NoParameters
from kiai.faces.api.replies import utc
from kiai.faces.api.v2.paging import ID_IN_PATH, NoMeta, Success, get, number_in_path, post
from kiai.staff import Actor
from kiai.staff.map_requests import SETS_STATUS
from kiai.staff.nominations import NominationMode
from kiai.staff.reasons import REASON_MAX

PATH: Final = "/maps/{id}/nominations"


class NominatorData(msgspec.Struct, frozen=True):
    """A player."""

    id: int
    name: str


class NominationData(msgspec.Struct, frozen=True):
    """A nomination. `at` is in UTC."""

    player: NominatorData
    at: str


class NominationsData(msgspec.Struct, frozen=True):
    """The nominations of the set of a map.

    `mode` is how the server ranks sets: `simple`, where one nominator sets the status, or `nominations`. `count` of
    `needed` nominations are given; those of hidden players do not count. `ranks_at` is the time in UTC at which a
    qualified set becomes ranked, else null.
    """

    set_id: int
    mode: Literal["simple", "nominations"]
    count: int
    needed: int
    ranks_at: str | None
    nominations: list[NominationData]


class NominationsPage(msgspec.Struct, frozen=True):
    """The response of /maps/{id}/nominations."""

    status: Success
    data: NominationsData
    meta: NoMeta = NoMeta()


class NewNomination(msgspec.Struct, frozen=True):
    """A nomination of the set of the map."""

    reason: Annotated[str, Meta(max_length=REASON_MAX, description="The reason, for the audit log.")] = ""


class NominationReset(msgspec.Struct, frozen=True):
    """The end of all nominations of the set of the map."""

    reason: Annotated[
        str, Meta(min_length=1, max_length=REASON_MAX, description="The reason, which the nominators get.")
    ]


class NominationsV2:
    """The endpoints about nominations."""

    def __init__(self, beatmaps: Beatmaps, nominations: NominationMode) -> None:
        self._beatmaps = beatmaps
        self._nominations = nominations

    async def nominations(self, caller: Caller, query: NoParameters, id: str) -> NominationsPage:  # noqa: A002
        """The nominations of the set of a map."""
        return await self._page(await self._map(id))

    async def nominate(
        self,
        caller: Caller,
        query: NoParameters,
        body: NewNomination,
        id: str,  # noqa: A002
    ) -> NominationsPage:
        """Nominate the set of a map, for nominators. The last nomination that is needed qualifies it."""
        beatmap = await self._map(id)
        await self._nominations.nominate(_actor(caller), beatmap, body.reason)
        return await self._page(beatmap)

    async def reset(self, caller: Caller, query: NoParameters, body: NominationReset, id: str) -> NominationsPage:  # noqa: A002
        """Reset the nominations of the set of a map, for nominators. A qualified set becomes pending."""
        beatmap = await self._map(id)
        await self._nominations.reset(_actor(caller), beatmap, body.reason)
        return await self._page(beatmap)

    async def _map(self, id_in_path: str) -> Beatmap:
        return await self._beatmaps.find(id=number_in_path("id", id_in_path))

    async def _page(self, beatmap: Beatmap) -> NominationsPage:
        found = await self._nominations.of_set(beatmap.set_id)
        data = NominationsData(
            found.set_id,
            "nominations" if self._nominations.rules.on else "simple",
            found.count,
            found.needed,
            None if found.ranks_at_ms is None else utc(found.ranks_at_ms),
            [NominationData(NominatorData(one.user_id, one.name), utc(one.at_ms)) for one in found.nominators],
        )
        return NominationsPage("success", data)

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        by_id = {"id": ID_IN_PATH}
        return [
            get(PATH, self.nominations, NominationsPage, tag="sets", in_path=by_id),
            post(
                PATH,
                self.nominate,
                NominationsPage,
                NewNomination,
                tag="staff",
                permission=SETS_STATUS,
                in_path=by_id,
                creates=True,
                optional=True,
            ),
            post(
                PATH,
                self.reset,
                NominationsPage,
                NominationReset,
                tag="staff",
                permission=SETS_STATUS,
                in_path=by_id,
                method="DELETE",
            ),
        ]


def _actor(caller: Caller) -> Actor:
    return Actor(user_id=caller.viewer.user_id, source="api")
