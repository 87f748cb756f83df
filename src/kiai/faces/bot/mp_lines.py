"""The bot's answers to `!mp`, to the letter: tools of referees were written for the official server and read these
lines with regular expressions (docs/operate/bot.md, Leading a match)."""

from collections.abc import Callable, Iterable
from typing import Final

from kiai.multiplayer.facts import Fact, TimerCleared
from kiai.multiplayer.model import BLUE, COUNTDOWN, NO_MAP, READY, START, Match, Slot, has_teams, occupied_seats
from kiai.osu.mods import mod_names
from kiai.osu.texts import chat_name, chat_text

Link = Callable[[str], str]

TEAM_MODES: Final = ("HeadToHead", "TagCoop", "TeamVs", "TagTeamVs")
CONDITIONS: Final = ("Score", "Accuracy", "Combo", "ScoreV2")
MODES: Final = ("Osu", "Taiko", "CatchTheBeat", "OsuMania")

NOT_SEATED: Final = "User is not in the match!"
NOT_IN_ROOM: Final = "User is not in the match room"
TOO_MANY_ROOMS: Final = (
    "You cannot create any more tournament matches. Please close any previous tournament matches you have open."
)
_STATUS_WIDTH: Final = 9
_NAME_WIDTH: Final = 15


def colour(team: int) -> str:
    """A team's name."""
    return "Blue" if team == BLUE else "Red"


def condition(match: Match) -> str:
    """What wins in the room now; a scrim's points may go by pp."""
    by_pp = match.scrim is not None and match.scrim.by_pp
    return "pp" if by_pp else CONDITIONS[match.win_condition]


def mods(match: Match) -> str:
    """The mods that the room has. With free mods, those that everybody was given count too."""
    bits = match.mods
    for _, slot in occupied_seats(match):
        bits |= slot.mods
    enabled = f"Enabled {', '.join(mod_names(bits))}" if bits else "Disabled all mods"
    return f"{enabled}, {'enabled' if match.free_mods else 'disabled'} FreeMod"


def settings(match: Match, link: Link) -> list[str]:
    """Everything about a room."""
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
    status = {READY: "Ready", NO_MAP: "No Map"}.get(slot.status, "Not Ready")
    about = ["Host"] if slot.player_id == match.host_id else []
    if has_teams(match):
        about.append(f"Team {colour(slot.team):<4}")
    if slot.mods:
        about.append(", ".join(mod_names(slot.mods)))
    bracket = f"[{' / '.join(about)}]" if about else ""
    # The blank before the bracket stays without one: tools want at least 16 characters from the name on.
    return (
        f"Slot {seat + 1:<2} {status:<{_STATUS_WIDTH}} {link(f'u/{slot.player_id}')} "
        f"{chat_name(slot.player_name):<{_NAME_WIDTH}} {bracket}"
    )


def timers_stopped(facts: Iterable[Fact]) -> list[str]:
    """Which timers were stopped."""
    lines = {COUNTDOWN: "Countdown aborted", START: "Aborted the match start timer"}
    return [lines[fact.kind] for fact in facts if isinstance(fact, TimerCleared) and fact.kind in lines]
