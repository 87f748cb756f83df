"""`osu-addfavourite.php` and `osu-getfavourites.php` (docs/spec/web.md#favourites)."""

from typing import Final

from kiai.beatmaps.favourites import Favourites
from kiai.errors import Conflict, Refused
from kiai.faces.client.door import Answer, Ask, Haste, Page

MARKING: Final = Haste("favourite", 30, 60.0)


class FavouriteSets:
    """The handlers."""

    def __init__(self, favourites: Favourites) -> None:
        self._favourites = favourites

    async def add(self, ask: Ask) -> Answer:
        """Marks the set `a`; the body is what the game shows."""
        try:
            total = await self._favourites.add(ask.player.id, ask.whole("a"))
        except Conflict:
            return Answer(b"This beatmap is one of your favourites already.")
        except Refused as error:
            return Answer(f"You have too many favourites: {error.reason}.".encode())
        return Answer(f"Added to your favourites! You have {total} now.".encode())

    async def listed(self, ask: Ask) -> Answer:
        """The ids of the player's favourite sets, one a line, newest first."""
        return Answer("\n".join(map(str, await self._favourites.of(ask.player.id))).encode())

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [
            Page("GET", "/web/osu-addfavourite.php", self.add, credentials=("u", "h"), haste=MARKING),
            Page("GET", "/web/osu-getfavourites.php", self.listed, credentials=("u", "h")),
        ]
