"""The match, pure: frozen values, and the home of its state machine.

What a match becomes is a function of the match and what is asked of it, nothing else: no clock, no session, no look-up.
So it can be kept behind the realtime port, where a change is a rule that may be run again. The numbers are those of the
wire (bancho-protocol 9.5, 13.7, 14.1).
"""

from typing import Final

import msgspec

SLOTS: Final = 16

# The status of a slot: exactly one of these.
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


class Slot(msgspec.Struct, frozen=True):
    """One seat. `team` is 0 neutral, 1 blue, 2 red; `player_id` 0 is nobody; `mods` count only with free mods.

    `loaded` and `skipped` hold from the start of a play to its end.
    """

    status: int = OPEN
    team: int = 0
    mods: int = 0
    player_id: int = 0
    player_name: str = ""
    loaded: bool = False
    skipped: bool = False

    @property
    def occupied(self) -> bool:
        """Whether somebody sits here."""
        return self.status & HAS_PLAYER != 0


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One room. Its id is the realtime port's.

    `mode` is the game's own, 0-3. `host_id` 0 is nobody (tournament rooms). `referees` are (user id, name). `map_id` -1
    with empty md5 and name: the host is choosing. `win_condition`: 0 score, 1 accuracy, 2 combo, 3 ScoreV2.
    `team_type`: 0 head-to-head, 1 tag co-op, 2 team vs, 3 tag team vs. The password is for who sits here: no list and
    no API shows it.
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
    team_type: int = 0
    win_condition: int = 0
    free_mods: bool = False
    slots: tuple[Slot, ...] = (Slot(),) * SLOTS
