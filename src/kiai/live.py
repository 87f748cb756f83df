"""The services behind live parts of pages: latest plays, players online, open matches, and the feed they follow."""

from collections.abc import Sequence

from kiai.accounts import Accounts
from kiai.accounts.model import FIRST_PLAYER_ID
from kiai.accounts.queries import NAMES_MAX
from kiai.beatmaps.newest import NewestRanked
from kiai.clock import Clock
from kiai.multiplayer.archive import MatchArchive
from kiai.multiplayer.rooms import Room, Rooms
from kiai.presence.online import OnlineList
from kiai.realtime.following import FeedFollower
from kiai.realtime.port import Realtime
from kiai.scores.highlights import Highlights
from kiai.scores.latest import LatestPlays
from kiai.scores.tally import Tally
from kiai.storage.port import Database


class Live:
    """The services of one process for live parts. `follower` reads the feed for all of them."""

    def __init__(self, database: Database, realtime: Realtime, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self.clock = clock
        self.follower = FeedFollower(realtime)
        self.plays = LatestPlays(database, self.follower)
        self.online = OnlineList(realtime, accounts, self.follower, clock)
        self.highlights = Highlights(database, clock)
        self.newest_ranked = NewestRanked(database)
        self.rooms = Rooms(realtime)
        self.archive = MatchArchive(database)
        self.tally = Tally(database, clock)

    async def host_names(self, rooms: Sequence[Room]) -> dict[int, str]:
        """Return the names of the visible hosts of open matches, by id."""
        hosts = sorted({room.match.host_id for room in rooms if room.match.host_id >= FIRST_PLAYER_ID})
        found: dict[int, str] = {}
        for start in range(0, len(hosts), NAMES_MAX):
            found |= await self._accounts.names_of(hosts[start : start + NAMES_MAX])
        return found
