"""Open matches as lists and pages show them: without passwords, and private ones only to those who may see them."""

import msgspec

from kiai.accounts.visibility import Viewer
from kiai.chat.model import match_channel, match_of
from kiai.errors import NotFound
from kiai.multiplayer.history import MatchHistory
from kiai.multiplayer.model import LOCKED, READY, Match, everybody_in
from kiai.realtime.port import Realtime


class Room(msgspec.Struct, frozen=True):
    """An open match. `number` is its id in the game, `match.history_id` the one of its page. `locked`: by a password.

    `match` has no password.
    """

    number: int
    locked: bool
    match: Match

    @property
    def players(self) -> int:
        """The number of seated players."""
        return sum(slot.occupied for slot in self.match.slots)

    @property
    def ready(self) -> int:
        """The number of players who are ready."""
        return sum(slot.status == READY for slot in self.match.slots)

    @property
    def seats(self) -> int:
        """The number of slots that are not locked."""
        return sum(slot.status != LOCKED for slot in self.match.slots)


def room_of(number: int, match: Match) -> Room:
    """Return a match as it may be shown."""
    return Room(number, bool(match.password), msgspec.structs.replace(match, password=""))


def _may_see(match: Match, viewer: Viewer) -> bool:
    return not match.private or viewer.is_staff or viewer.user_id in everybody_in(match)


class MatchChannels:
    """Maps the history ids of open matches to their channels and back.

    The channel `#multi_<number>` has the number that the game uses, which is free for another match after the end. IRC,
    the pages and the API use the history id, which is unique.
    """

    def __init__(self, realtime: Realtime, history: MatchHistory) -> None:
        self._realtime = realtime
        self._history = history

    async def number_of(self, history_id: int) -> int | None:
        """Return the number of the open match with this history id, or None."""
        past = await self._history.row_of(history_id)
        if past is None or past.ended_at_ms is not None:
            return None
        room = await Rooms(self._realtime).of_history(past.room, history_id)
        return None if room is None else room.number

    async def channel_of(self, history_id: int) -> str | None:
        """Return the channel of the open match with this history id, e.g. `#multi_3`, or None."""
        number = await self.number_of(history_id)
        return None if number is None else match_channel(number)

    async def history_id_of(self, channel: str) -> int | None:
        """Return the history id of the open match whose channel this is, or None for another channel."""
        number = match_of(channel)
        match = None if number is None else await self._realtime.match(number, Match)
        return None if match is None else match.history_id


class Rooms:
    """Reads the open matches."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime

    async def visible_to(self, viewer: Viewer) -> list[Room]:
        """Return the open matches, newest first. Private ones only to their players, their referees and staff."""
        found = [
            room_of(number, match) for number, match in await self._realtime.matches(Match) if _may_see(match, viewer)
        ]
        return sorted(found, key=lambda room: room.match.history_id, reverse=True)

    async def room(self, number: int, viewer: Viewer) -> Room:
        """Return the open match with this number, if the viewer may see it. Raises NotFound("match")."""
        match = await self._realtime.match(number, Match)
        if match is None or not _may_see(match, viewer):
            raise NotFound("match")
        return room_of(number, match)

    async def of_history(self, number: int, history_id: int) -> Room | None:
        """Return the open match with this number and history id, or None after its end."""
        if not number:  # the row has no number yet: the journal writes it a moment after the match was opened
            every = await self._realtime.matches(Match)
            return next((room_of(number, match) for number, match in every if match.history_id == history_id), None)
        match = await self._realtime.match(number, Match)
        # The history can lack the end of a match, e.g. after a crash. Its number may then belong to another match.
        return room_of(number, match) if match is not None and match.history_id == history_id else None
