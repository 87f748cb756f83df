"""Events about scrims and mappools."""

from typing import Final

from msgspec.structs import replace

from kiai.multiplayer.events.base import Event
from kiai.multiplayer.model import Match, Scrim, UnscoredRound

UNSCORED_MAX: Final = 4

Values = tuple[tuple[int, float], ...]
"""(side, value) of each side, highest value first."""
Points = tuple[tuple[int, int], ...]
"""(side, points) of each side with points."""


def _scrim(match: Match) -> Scrim:
    assert match.scrim is not None, "a scrim runs"
    return match.scrim


def _after_round(scrim: Scrim, started_at_ms: int) -> Scrim:
    unscored = tuple(played for played in scrim.unscored if played.started_at_ms > started_at_ms)
    return replace(scrim, scored_ms=started_at_ms, unscored=unscored)


def _with_points(points: Points, side: int, count: int) -> Points:
    by_side = dict(points) | {side: count}
    # Without zeros and in a fixed order, so that equal scores are equal values.
    return tuple(sorted(pair for pair in by_side.items() if pair[1]))


class ScrimBegan(Event, frozen=True):
    """A scrim started, or restarted without points."""

    best_of: int
    at_ms: int

    def apply_to(self, match: Match) -> Match:
        scrim = Scrim(self.best_of, self.at_ms)
        return replace(match, scrimming=True, scrim=scrim, last_best_of=self.best_of)


class PpScoring(Event, frozen=True):
    """The value that decides the points of the scrim changed: pp, or the win condition."""

    on: bool

    def apply_to(self, match: Match) -> Match:
        return replace(match, scrim=replace(_scrim(match), by_pp=self.on))


class RoundPlayed(Event, frozen=True):
    """A play of the scrim ended and waits for its results."""

    played: UnscoredRound

    def apply_to(self, match: Match) -> Match:
        scrim = _scrim(match)
        # The results of a play arrive before the second play after it ends; the bound is for a job that stands still.
        return replace(match, scrim=replace(scrim, unscored=(*scrim.unscored, self.played)[-UNSCORED_MAX:]))


class PointWon(Event, frozen=True):
    """A side won a play and now has `points`. `values` decided the play. `missing`: the players without a result."""

    side: int
    name: str
    points: int
    values: Values
    started_at_ms: int
    missing: tuple[str, ...] = ()

    def apply_to(self, match: Match) -> Match:
        scrim = _after_round(_scrim(match), self.started_at_ms)
        return replace(
            match,
            scrim=replace(
                scrim,
                points=_with_points(scrim.points, self.side, self.points),
                # `!mp points` can lower points, so a side can win more plays than the scrim is long.
                winners=(*scrim.winners, self.side)[-scrim.best_of :],
            ),
        )


class RoundTied(Event, frozen=True):
    """Two sides shared the highest value, or no player has a value. No side gets the point."""

    values: Values
    started_at_ms: int
    missing: tuple[str, ...] = ()

    def apply_to(self, match: Match) -> Match:
        return replace(match, scrim=_after_round(_scrim(match), self.started_at_ms))


class PointTaken(Event, frozen=True):
    """The last point was taken back. Its side now has `points`."""

    side: int
    name: str
    points: int

    def apply_to(self, match: Match) -> Match:
        scrim = _scrim(match)
        points = _with_points(scrim.points, self.side, self.points)
        return replace(match, scrim=replace(scrim, points=points, winners=scrim.winners[:-1]))


class PointsSet(Event, frozen=True):
    """A referee corrected the points of a side."""

    side: int
    name: str
    points: int

    def apply_to(self, match: Match) -> Match:
        scrim = _scrim(match)
        return replace(match, scrim=replace(scrim, points=_with_points(scrim.points, self.side, self.points)))


class ScrimWon(Event, frozen=True):
    """A side reached the points that win the scrim. `ScrimEnded` follows."""

    side: int
    name: str
    points: Points


class ScrimEnded(Event, frozen=True):
    """The scrim ended with these points. Bans and picks are cleared."""

    best_of: int
    points: Points

    def apply_to(self, match: Match) -> Match:
        return replace(match, scrimming=False, scrim=None, banned_picks=(), used_picks=())


class PoolLoaded(Event, frozen=True):
    """A mappool was loaded. The bans and picks of the former pool are cleared."""

    pool_id: int
    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, pool_id=self.pool_id, pool_name=self.name, banned_picks=(), used_picks=())


class PoolUnloaded(Event, frozen=True):
    """The mappool was unloaded."""

    name: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, pool_id=0, pool_name="", banned_picks=(), used_picks=())


class PickUsed(Event, frozen=True):
    """A pick of the pool was selected. The changes of map and mods follow as separate events."""

    pick: str

    def apply_to(self, match: Match) -> Match:
        # `!mp pick NAME force` selects a pick again.
        used = match.used_picks if self.pick in match.used_picks else (*match.used_picks, self.pick)
        return replace(match, used_picks=used)


class PickBanned(Event, frozen=True):
    """A pick of the pool was banned."""

    pick: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, banned_picks=(*match.banned_picks, self.pick))


class PickUnbanned(Event, frozen=True):
    """The ban of a pick was lifted."""

    pick: str

    def apply_to(self, match: Match) -> Match:
        return replace(match, banned_picks=tuple(pick for pick in match.banned_picks if pick != self.pick))
