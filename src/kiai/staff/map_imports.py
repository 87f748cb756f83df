"""Acts of staff that get files of maps."""

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.upstream import Upstream
from kiai.errors import Refused
from kiai.staff.audit import Actor
from kiai.staff.map_requests import MapRequests


class MapImports:
    """Gets sets from upstream again. Without an `upstream`, every request for it is refused."""

    def __init__(self, beatmaps: Beatmaps, requests: MapRequests, upstream: Upstream | None) -> None:
        self._beatmaps = beatmaps
        self._requests = requests
        self._upstream = upstream

    @property
    def has_upstream(self) -> bool:
        """Whether the server has an upstream."""
        return self._upstream is not None

    async def refresh(self, actor: Actor, beatmap: Beatmap) -> None:
        """Update the statuses and files of the set of a map from upstream.

        The audit row is written before the request. Raises NotAllowed, Refused without an upstream, and Unavailable if
        upstream fails.
        """
        if self._upstream is None:
            raise Refused("this server has no upstream for beatmaps")
        await self._requests.record_refresh(actor, beatmap)
        await self._upstream.refresh(await self._beatmaps.of_set(beatmap.set_id))
