"""Events about timers, the ids of the stored history, and the end of a match."""

from msgspec.structs import replace

from kiai.multiplayer.events.base import CloseWhy, Event
from kiai.multiplayer.model import Match, Timer


class TimerSet(Event, frozen=True):
    """A timer was set. The service sends `TimerRang` at `rings_at_ms` (unix ms).

    `kind` is `START`, `COUNTDOWN`, `LOAD`, `FINISH` or `IDLE`.
    """

    timer_id: int
    kind: str
    rings_at_ms: int
    seconds: int = 0

    def apply_to(self, match: Match) -> Match:
        timer = Timer(self.timer_id, self.kind, self.rings_at_ms, self.seconds)
        return replace(match, timers=(*match.timers, timer), next_timer_id=self.timer_id + 1)


class TimerCleared(Event, frozen=True):
    """A timer was cleared. `rang`: it ran out."""

    timer_id: int
    kind: str
    rang: bool = False

    def apply_to(self, match: Match) -> Match:
        return replace(match, timers=tuple(timer for timer in match.timers if timer.id != self.timer_id))


class HistoryIdsSet(Event, frozen=True):
    """The database ids of the match and of its current play are known."""

    history_id: int
    game_id: int

    def apply_to(self, match: Match) -> Match:
        return replace(match, history_id=self.history_id, game_id=self.game_id)


class Closed(Event, frozen=True):
    """The match closed. Its players were removed by earlier events of the same command."""

    why: CloseWhy

    def apply_to(self, match: Match) -> Match:
        return replace(match, closed=True)
