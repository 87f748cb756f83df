"""The match as a value: frozen, complete, and without a clock, a session or a look-up in it.

The numbers are those of the wire (docs/spec/protocol.md#match). What may happen to a match is in `match`, what has
happened in `facts`.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

SLOTS: Final = 16

# The status of a slot: exactly one of these (docs/spec/protocol.md#slot-statuses).
OPEN: Final = 1
LOCKED: Final = 2
NOT_READY: Final = 4
READY: Final = 8
NO_MAP: Final = 16
PLAYING: Final = 32
COMPLETE: Final = 64
QUIT: Final = 128
"""Left during the play: such a slot holds nobody."""

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
"""No win condition of the wire: the points of a scrim go by pp."""

# What a timer is for. At most one of each runs.
START: Final = "start"
COUNTDOWN: Final = "countdown"
LOAD: Final = "load"
FINISH: Final = "finish"
IDLE: Final = "idle"

IDLE_MS: Final = 30 * 60 * 1000
"""How long an empty room made by command stays, unless the settings say otherwise.

See docs/spec/multiplayer.md#made-by-command.
"""


class Slot(msgspec.Struct, frozen=True):
    """One seat. `team` is 0 neutral, 1 blue, 2 red; `player_id` 0 is nobody; `mods` count only with free mods.

    `loaded`, `skipped` and `failed` hold from the start of a play to its end.
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
        """Whether somebody sits here."""
        return self.status & HAS_PLAYER != 0


class Timer(msgspec.Struct, frozen=True):
    """Something that will happen at `rings_at_ms`, unix ms, unless it is cleared before. Its id is never used again.

    `seconds` is how long somebody asked it to run, 0 for a timer of the house.
    """

    id: int
    kind: str
    rings_at_ms: int
    seconds: int = 0


class MapChoice(msgspec.Struct, frozen=True):
    """A map as clients name it."""

    map_id: int
    map_md5: str
    map_name: str


class Scrim(msgspec.Struct, frozen=True):
    """A best-of (docs/spec/multiplayer.md#scrims). A side is a team (1 blue, 2 red) in team modes, else a user id.

    `points` are (side, points) without zeros; `winners` the sides of the last points, oldest first. `by_pp`: pp decide
    instead of the win condition. Plays that started before `began_at_ms`, or not after `scored_ms`, do not count.
    """

    best_of: int
    began_at_ms: int
    points: tuple[tuple[int, int], ...] = ()
    winners: tuple[int, ...] = ()
    by_pp: bool = False
    scored_ms: int = -1

    @property
    def needed(self) -> int:
        """The points that win it."""
        return self.best_of // 2 + 1

    def points_of(self, side: int) -> int:
        """How many points a side has."""
        return dict(self.points).get(side, 0)


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One room. Its id is the realtime port's.

    `mode` is the game's own, 0-3. `host_id` 0 is nobody (rooms made by command, until a host is set). `referees` are
    (user id, name), the creator first. `map_id` -1 with empty md5 and name: the host is choosing, and `previous` is
    what to return to. `win_condition`: 0 score, 1 accuracy, 2 combo, 3 ScoreV2. `team_type`: 0 head-to-head, 1 tag
    co-op, 2 team vs, 3 tag team vs. With `free_mods`, `mods` are the speed mods and the rest is on the slots. The
    password is for who sits here: no list and no API shows it.

    `by_command`: made by `!mp make`, so it stays when empty, for `idle_ms`. `private`: its history is for those who
    were in it. `seats_locked`: only referees change slots and teams. `banned`: user ids that may not come back.
    `all_loaded`, `all_skipped`: already said for this play. `events`: how many are in its history. `history_id` and
    `game_id` are the database's, 0 until known; `started_at_ms` is that of the present or last play, 0 before the
    first.
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
    """The slot, 0-15, that a user sits in."""
    for seat, slot in enumerate(match.slots):
        if slot.occupied and slot.player_id == user_id:
            return seat
    return None


def players(match: Match) -> tuple[int, ...]:
    """The user ids of those who sit here, by slot."""
    return tuple(slot.player_id for slot in match.slots if slot.occupied)


def playing(match: Match) -> tuple[int, ...]:
    """The user ids of those whom the play still waits for, by slot."""
    return tuple(slot.player_id for slot in match.slots if slot.status == PLAYING)


def everybody_in(match: Match) -> frozenset[int]:
    """The user ids of who belongs to the room: those who sit here, and the referees wherever they are."""
    return frozenset(players(match)) | {user_id for user_id, _ in match.referees}


def timer_of(match: Match, kind: str) -> Timer | None:
    """The timer of that kind that runs now."""
    return next((timer for timer in match.timers if timer.kind == kind), None)


def has_teams(match: Match) -> bool:
    """Whether players are on teams."""
    return match.team_type in TEAM_TYPES_WITH_TEAMS


def occupied_seats(match: Match) -> Iterator[tuple[int, Slot]]:
    """(slot number, slot) of everybody who sits here."""
    return ((seat, slot) for seat, slot in enumerate(match.slots) if slot.occupied)
