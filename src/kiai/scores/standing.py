"""What a player's visibility means for boards: hidden players leave first places, map counters and ranks, and return.

Their scores and stats stay as they are; every board joins the visibility predicate by itself.
"""

from kiai.accounts.visibility import BOARDS_LOOK_CHANGED
from kiai.beatmaps import Beatmaps
from kiai.clock import Clock
from kiai.scores import statements
from kiai.scores.rebuilding import Rebuilder
from kiai.scores.recording import settle_first_place
from kiai.storage.outbox import tell
from kiai.storage.port import Database, Transaction


class Standing:
    """Moves players and maps in and out of what everybody sees; each verb joins the caller's transaction."""

    def __init__(self, database: Database, beatmaps: Beatmaps, rebuilder: Rebuilder, clock: Clock) -> None:
        self._database = database
        self._beatmaps = beatmaps
        self._rebuilder = rebuilder
        self._clock = clock

    async def changed(self, tx: Transaction, user_id: int, *, visible: bool) -> None:
        """The account `user_id` has just become visible or hidden in this transaction."""
        sign = 1 if visible else -1
        for map_key, plays, passes in await tx.all(statements.PLAYS_OF, user_id=user_id):
            await self._beatmaps.count_plays(tx, map_key, plays=sign * plays, passes=sign * passes)
        boards = statements.BOARDS_OF if visible else statements.FIRST_PLACES_OF
        now = self._clock.now_ms()
        for map_key, mode in await tx.all(boards, user_id=user_id):
            await settle_first_place(tx, map_key, mode, since_ms=now)
        await tell(tx, "ranks", user_id, now)

    async def moved(self, tx: Transaction, user_id: int, country: str) -> None:
        """The account's country has changed: its profiles move to the other country's lists."""
        await tx.run(statements.SET_COUNTRY, player_id=user_id, country=country)
        await tx.run(statements.SET_SCORES_COUNTRY, player_id=user_id, country=country)
        await tx.run(BOARDS_LOOK_CHANGED)
        await tell(tx, "ranks", user_id, self._clock.now_ms())

    async def rejudged(self, map_keys: list[int]) -> int:
        """These map revisions have another status now: totals of everybody with a best on them are computed again.

        One transaction a player; how many players.
        """
        players = sorted({u for key in map_keys for u in await self._database.all(statements.PLAYERS_ON, map_key=key)})
        now = self._clock.now_ms()
        for user_id in players:
            await self._rebuilder.users(user_id, user_id)

            async def body(tx: Transaction, user_id: int = user_id) -> None:
                await tell(tx, "ranks", user_id, now)

            await self._database.transaction(body)
        for key in map_keys:
            await self._rebuilder.maps(key, key)
        return len(players)
