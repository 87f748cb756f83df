"""`osu-addfavourite.php` and `osu-getfavourites.php` (docs/spec/web.md#favourites)."""

from typing import Final

from kiai.beatmaps.favourites import Favourites
from kiai.errors import Conflict, Refused
from kiai.faces.client.gateway import ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit

MARKING: Final = RateLimit("favourite", 30, 60.0)


class FavouriteEndpoints:
    """The handlers of a player's favourite sets."""

    def __init__(self, favourites: Favourites) -> None:
        self._favourites = favourites

    async def add(self, request: ClientRequest) -> ClientResponse:
        """Add the set `a` to the player's favourites. The game shows the body to the player."""
        try:
            total = await self._favourites.add(request.player.id, request.whole("a"))
        except Conflict:
            return ClientResponse(b"This beatmap is already one of your favourites.")
        except Refused as error:
            return ClientResponse(f"You have too many favourites: {error.reason}.".encode())
        return ClientResponse(f"Added to your favourites! You now have {total}.".encode())

    async def listed(self, request: ClientRequest) -> ClientResponse:
        """Return the ids of the player's favourite sets, one per line, newest first."""
        return ClientResponse("\n".join(map(str, await self._favourites.of(request.player.id))).encode())

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [
            Endpoint("GET", "/web/osu-addfavourite.php", self.add, credentials=("u", "h"), rate_limit=MARKING),
            Endpoint("GET", "/web/osu-getfavourites.php", self.listed, credentials=("u", "h")),
        ]
