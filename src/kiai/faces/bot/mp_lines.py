"""The fixed answers to `!mp` commands.

Referee tools parse these lines with regular expressions that were written for the official server, so the wording is
fixed to the letter (docs/operate/bot.md, Leading a match).
"""

from collections.abc import Callable, Iterable
from typing import Final

from kiai.multiplayer.events import Event, TimerCleared
from kiai.multiplayer.model import BLUE, COUNTDOWN, NO_MAP, READY, START, Match, Slot, has_teams, occupied_seats
from kiai.osu.mods import mod_names
from kiai.osu.texts import chat_name, chat_text

Link = Callable[[str], str]

TEAM_MODES: Final = ("HeadToHead", "TagCoop", "TeamVs", "TagTeamVs")
CONDITIONS: Final = ("Score", "Accuracy", "Combo", "ScoreV2")
MODES: Final = ("Osu", "Taiko", "CatchTheBeat", "OsuMania")

# The official server has both texts, the second only for `!mp move`.
NOT_SEATED: Final = "User is not in the match!"
NOT_IN_ROOM: Final = "User is not in the match room"
TOO_MANY_ROOMS: Final = (
    "You cannot create any more tournament matches. Please close any previous tournament matches you have open."
)
# Column widths of `!mp settings`. Tools cut the name out by position.
_STATUS_WIDTH: Final = 9
_NAME_WIDTH: Final = 15


def colour(team: int) -> str:
    """Return the name of a team."""
    return "Blue" if team == BLUE else "Red"


def condition(match: Match) -> str:
    """Return the win condition of the match: pp if it decides the running scrim."""
    by_pp = match.scrim is not None and match.scrim.by_pp
    return "pp" if by_pp else CONDITIONS[match.win_condition]


def mods(match: Match) -> str:
    """Return the answer about the mods of a match. With free mods, it includes those of the players."""
    # The command gave each slot its mods, so the union is what the referee typed.
    bits = match.mods
    for _, slot in occupied_seats(match):
        bits |= slot.mods
    enabled = f"Enabled {', '.join(mod_names(bits))}" if bits else "Disabled all mods"
    return f"{enabled}, {'enabled' if match.free_mods else 'disabled'} FreeMod"


def settings(match: Match, link: Link) -> list[str]:
    """Return the answer to `!mp settings`: up to 5 lines about the match and one for each player."""
    lines = [f"Room name: {chat_text(match.name)}, History: {link(f'mp/{match.history_id}')}"]
    if match.map_id > 0:
        lines.append(f"Beatmap: {link(f'b/{match.map_id}')} {chat_text(match.map_name)}")
    lines.append(f"Team mode: {TEAM_MODES[match.team_type]}, Win condition: {condition(match)}")
    active = [*mod_names(match.mods), *(["Freemod"] if match.free_mods else [])]
    if active:
        lines.append(f"Active mods: {', '.join(active)}")
    seats = list(occupied_seats(match))
    lines.append(f"Players: {len(seats)}")
    return lines + [_seat(match, seat, slot, link) for seat, slot in seats]


def _seat(match: Match, seat: int, slot: Slot, link: Link) -> str:
    status = {READY: "Ready", NO_MAP: "No Map"}.get(slot.status, "Not Ready")  # also while playing
    about = ["Host"] if slot.player_id == match.host_id else []
    if has_teams(match):
        about.append(f"Team {colour(slot.team):<4}")
    if slot.mods:
        about.append(", ".join(mod_names(slot.mods)))
    bracket = f"[{' / '.join(about)}]" if about else ""
    # The blank before the bracket stays if there is no bracket: tools expect at least 16 characters from the name on.
    return (
        f"Slot {seat + 1:<2} {status:<{_STATUS_WIDTH}} {link(f'u/{slot.player_id}')} "
        f"{chat_name(slot.player_name):<{_NAME_WIDTH}} {bracket}"
    )


def timers_stopped(events: Iterable[Event]) -> list[str]:
    """Return a line for each timer that was cancelled."""
    lines = {COUNTDOWN: "Countdown aborted", START: "Aborted the match start timer"}
    return [lines[event.kind] for event in events if isinstance(event, TimerCleared) and event.kind in lines]
