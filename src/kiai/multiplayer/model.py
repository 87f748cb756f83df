"""The match as a frozen value. It depends on no clock, session or database.

Numbers have the values of the wire format (docs/spec/protocol.md#match). Module `match` holds the commands that change
a match, module `events` the changes.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

SLOTS: Final = 16

# The status of a slot is exactly one of these. The wire gives each status a bit of its own, so that clients can test
# for groups such as HAS_PLAYER with one mask (docs/spec/protocol.md#slot-statuses).
OPEN: Final = 1
LOCKED: Final = 2
NOT_READY: Final = 4
READY: Final = 8
NO_MAP: Final = 16
PLAYING: Final = 32
COMPLETE: Final = 64
QUIT: Final = 128
"""The player left during the play. The slot is empty."""

HAS_PLAYER: Final = NOT_READY | READY | NO_MAP | PLAYING | COMPLETE
IN_PLAY: Final = PLAYING | COMPLETE

NEUTRAL: Final = 0
BLUE: Final = 1
RED: Final = 2

HEAD_TO_HEAD: Final = 0
TAG_COOP: Final = 1
TEAM_VS: Final = 2
TAG_TEAM_VS: Final = 3
TEAM_TYPES_WITH_TEAMS: Final = (TEAM_VS, TAG_TEAM_VS)
TAG_TYPES: Final = (TAG_COOP, TAG_TEAM_VS)

PP: Final = 4
"""A win condition of scrims only: points by pp. The wire format has no such value."""

# The purpose of a timer. At most one timer of each kind runs, so a kind identifies a timer within a match.
START: Final = "start"
COUNTDOWN: Final = "countdown"
LOAD: Final = "load"
FINISH: Final = "finish"
IDLE: Final = "idle"

IDLE_MS: Final = 30 * 60 * 1000
"""Default time in ms after which an empty match made by command closes (docs/spec/multiplayer.md#made-by-command)."""


class Slot(msgspec.Struct, frozen=True):
    """One of the 16 slots.

    `team` is 0 neutral, 1 blue or 2 red. `player_id` is 0 in an empty slot. `mods` apply only with free mods. `loaded`,
    `skipped` and `failed` describe the running play and are False between plays.
    """

    status: int = OPEN
    team: int = NEUTRAL
    mods: int = 0
    player_id: int = 0
    player_name: str = ""
    loaded: bool = False
    skipped: bool = False
    failed: bool = False

    @property
    def occupied(self) -> bool:
        """Whether a player sits in the slot."""
        return self.status & HAS_PLAYER != 0


class Timer(msgspec.Struct, frozen=True):
    """A timer that rings at `rings_at_ms` (unix ms) unless it is cleared first.

    `id` is unique within the match. `seconds` is the duration that a player requested, 0 for timers of the server.
    """

    id: int
    kind: str
    rings_at_ms: int
    seconds: int = 0


class MapChoice(msgspec.Struct, frozen=True):
    """A map, identified as in the packets of clients. `map_md5` may be empty."""

    map_id: int
    map_md5: str
    map_name: str


class RoundPlayer(msgspec.Struct, frozen=True):
    """A player of a play of a scrim. `mods` include those of the match. `passed`: played to the end without failing."""

    user_id: int
    name: str
    team: int
    mods: int
    passed: bool


class UnscoredRound(msgspec.Struct, frozen=True):
    """A play of a scrim that has ended and is not scored yet. Its results are awaited until `until_ms` (unix ms).

    `win_condition` is 0-3, or `PP`. `mode` is 0-3.
    """

    started_at_ms: int
    until_ms: int
    map_md5: str
    mode: int
    win_condition: int
    players: tuple[RoundPlayer, ...]


class Scrim(msgspec.Struct, frozen=True):
    """A best-of series (docs/spec/multiplayer.md#scrims).

    A side is a team (1 blue, 2 red) in team modes, otherwise a user id. `points` lists (side, points) without zeros.
    `winners` lists the sides that won the last points, oldest first. With `by_pp`, pp replace the win condition. A play
    counts if it started at or after `began_at_ms` and after `scored_ms`, the start of the last play that was scored.
    `unscored` lists the plays whose results are awaited, oldest first.
    """

    best_of: int
    began_at_ms: int
    points: tuple[tuple[int, int], ...] = ()
    winners: tuple[int, ...] = ()
    by_pp: bool = False
    scored_ms: int = -1
    unscored: tuple[UnscoredRound, ...] = ()

    @property
    def needed(self) -> int:
        """The number of points that wins the scrim."""
        return self.best_of // 2 + 1

    def points_of(self, side: int) -> int:
        """Return the points of a side, 0 if it has none."""
        return dict(self.points).get(side, 0)


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A multiplayer match. The realtime port assigns its id.

    `mode` is 0-3. `host_id` is 0 while there is no host, as in a match made by command. `referees` lists (user id,
    name), the creator first. While the host chooses a map, `map_id` is -1, md5 and name are empty, and `previous` is
    the former map. `win_condition`: 0 score, 1 accuracy, 2 combo, 3 ScoreV2. `team_type`: 0 head-to-head, 1 tag co-op,
    2 team vs, 3 tag team vs. With `free_mods`, `mods` holds only the speed mods and each slot holds the others. Only
    seated players may see `password`; lists and APIs leave it out.

    `by_command`: made by `!mp make`; the match stays open for `idle_ms` while it is empty. `private`: only participants
    and staff see its history. `seats_locked`: only referees change slots and teams. `banned`: user ids that cannot
    join. `all_loaded`, `all_skipped`: the players of this play were already notified. `events`: number of events in
    the history. `history_id` and `game_id`: database ids, 0 until known. `started_at_ms`: start of the current or last
    play, 0 before the first.
    """

    name: str
    password: str = ""
    mode: int = 0
    mods: int = 0
    seed: int = 0
    host_id: int
    host_name: str
    referees: tuple[tuple[int, str], ...] = ()
    in_progress: bool = False
    scrimming: bool = False
    map_id: int = -1
    map_md5: str = ""
    map_name: str = ""
    team_type: int = HEAD_TO_HEAD
    win_condition: int = 0
    free_mods: bool = False
    slots: tuple[Slot, ...] = (Slot(),) * SLOTS

    created_by: int = 0
    created_at_ms: int = 0
    by_command: bool = False
    private: bool = False
    idle_ms: int = IDLE_MS
    seats_locked: bool = False
    banned: tuple[int, ...] = ()
    previous: MapChoice | None = None
    all_loaded: bool = False
    all_skipped: bool = False
    started_at_ms: int = 0
    timers: tuple[Timer, ...] = ()
    next_timer_id: int = 1
    scrim: Scrim | None = None
    last_best_of: int = 0
    pool_id: int = 0
    pool_name: str = ""
    banned_picks: tuple[str, ...] = ()
    events: int = 0
    used_picks: tuple[str, ...] = ()
    history_id: int = 0
    game_id: int = 0
    closed: bool = False


def seat_of(match: Match, user_id: int) -> int | None:
    """Return the slot (0-15) of a user, None if the user has no seat."""
    for seat, slot in enumerate(match.slots):
        if slot.occupied and slot.player_id == user_id:
            return seat
    return None


def players(match: Match) -> tuple[int, ...]:
    """Return the user ids of the seated players, by slot."""
    return tuple(slot.player_id for slot in match.slots if slot.occupied)


def playing(match: Match) -> tuple[int, ...]:
    """Return the user ids of the players who have not completed the running play, by slot."""
    return tuple(slot.player_id for slot in match.slots if slot.status == PLAYING)


def everybody_in(match: Match) -> frozenset[int]:
    """Return the user ids of the seated players and of all referees."""
    return frozenset(players(match)) | {user_id for user_id, _ in match.referees}


def timer_of(match: Match, kind: str) -> Timer | None:
    """Return the running timer of a kind, None if there is no such timer."""
    return next((timer for timer in match.timers if timer.kind == kind), None)


def has_teams(match: Match) -> bool:
    """Whether players are on teams."""
    return match.team_type in TEAM_TYPES_WITH_TEAMS


def occupied_seats(match: Match) -> Iterator[tuple[int, Slot]]:
    """Yield (slot number, slot) for each seated player."""
    return ((seat, slot) for seat, slot in enumerate(match.slots) if slot.occupied)
