"""The bot's lines about the events of a match.

Referee tools parse these lines with regular expressions that were written for the official server, so the wording is
fixed to the letter (docs/operate/bot.md, Leading a match).
"""

from collections.abc import Callable, Mapping, Sequence

from kiai.multiplayer import commands, events
from kiai.multiplayer.match import side_name
from kiai.multiplayer.model import BLUE, COUNTDOWN, READY, RED, START, Match, has_teams, occupied_seats
from kiai.osu.durations import duration_text
from kiai.osu.texts import chat_name, chat_text

Link = Callable[[str], str]


def event_lines(
    command: commands.MatchCommand,
    match: Match,
    emitted: Sequence[events.Event],
    *,
    scores: Mapping[int, int],
    link: Link,
) -> list[str]:
    """Return the lines about the events of one command, in order.

    `match` is the match after the command. `scores` holds the total scores of players who completed, by user id,
    because a match does not contain scores.
    """
    # Chat treats some characters specially, such as brackets in links. chat_name and chat_text replace them.
    names = {slot.player_id: chat_name(slot.player_name) for _, slot in occupied_seats(match)}
    started = any(isinstance(event, events.Started) for event in emitted)
    lines: list[str] = []
    for event in emitted:
        # The guards below leave out events that get no line on the official server.
        match event:
            case events.Joined():
                team = f" for team {_colour(event.team).lower()}" if has_teams(match) else ""
                lines.append(f"{chat_name(event.name)} joined in slot {event.slot + 1}{team}.")
            case events.Left() if event.why != "closed":  # "Closed the match" covers all players
                lines.append(f"{chat_name(event.name)} left the game.")
            case events.SlotMoved():
                lines.append(f"{names.get(event.user_id, '')} moved to slot {event.to_slot + 1}")
            case events.HostPassed() if event.user_id:
                lines.append(f"{chat_name(event.name)} became the host.")
            case events.TeamChanged():
                lines.append(f"{names.get(event.user_id, '')} changed to {_colour(event.team)}")
            case events.MapChoosing():
                lines.append("Host is changing map...")
            # `!mp map` answers with a line of its own, "Changed beatmap to ...". Also for a host who picks the former
            # map again: tools wait for this line after "Host is changing map...".
            case events.MapChanged() if isinstance(command, commands.ChangeSettings):
                lines.append(f"Beatmap changed to: {chat_text(event.map_name)} ({link(f'b/{event.map_id}')})")
            # Only when a player becomes ready, not when the last player who was not ready leaves.
            case events.StatusChanged() if event.status == READY and _all_ready(match):
                lines.append("All players are ready")
            # Not if the start failed: CouldNotStart has its own line.
            case events.TimerCleared(rang=True, kind=kind) if kind == START and started:
                lines.append("Good luck, have fun!")
            case events.TimerCleared(rang=True, kind=kind) if kind == COUNTDOWN:
                lines.append("Countdown finished")
            case events.Started():
                lines.append("The match has started!")
            case events.PlayerCompleted():
                outcome = "FAILED" if event.failed else "PASSED"
                score = scores.get(event.user_id, 0)
                lines.append(f"{names.get(event.user_id, '')} finished playing (Score: {score}, {outcome}).")
            case events.Finished():
                lines.append("The match has finished!")
            case _:
                lines += _scrim_lines(match, event)
    return lines


def _scrim_lines(match: Match, event: events.Event) -> list[str]:
    # The official server has no scrims, so this wording is not fixed.
    match event:
        case events.CouldNotStart():
            return [f"Could not start: {chat_text(event.reason)}."]
        case events.ScrimBegan():
            return [f"The scrim has started: best of {event.best_of}."]
        case events.PointWon():
            points = _points_text(event.points)
            won = f"{chat_text(event.name)} wins the point ({_values(match, event.values)}) and now has {points}."
            return [*_missing(event.missing), won, *_standing(match)]
        case events.RoundTied():
            tied = f"It's a tie, so no one gets the point ({_values(match, event.values)})."
            return [*_missing(event.missing), tied, *_standing(match)]
        case events.PointTaken():
            return [f"The last point was removed. {chat_text(event.name)} now has {_points_text(event.points)}."]
        case events.ScrimWon():
            return [f"{chat_text(event.name)} wins the match!"]
        case events.ScrimEnded():
            result = ", ".join(f"{chat_text(side_name(match, side))} {count}" for side, count in event.points)
            return [f"The scrim has ended: {result or 'no points'}."]
        case _:
            return []


def _missing(names: Sequence[str]) -> list[str]:
    return [f"No result from {', '.join(map(chat_name, names))}: this counts as 0."] if names else []


def _standing(match: Match) -> list[str]:
    scrim = match.scrim
    if scrim is None:
        return []  # the end of the scrim has a line of its own
    sides = ((BLUE, RED) if has_teams(match) else [side for side, _ in scrim.points]) or ()
    score = ", ".join(f"{chat_text(side_name(match, side))} {scrim.points_of(side)}" for side in sides)
    return [f"Score: {score or 'no points'} (best of {scrim.best_of})."]


def countdown_line(kind: str, left_s: int) -> str:
    """Return the line about the remaining time of a queued start or a countdown."""
    return f"{'Match starts' if kind == START else 'Countdown ends'} in {duration_text(left_s)}"


def _points_text(points: int) -> str:
    return f"{points} point{'' if points == 1 else 's'}"


def _colour(team: int) -> str:
    return "Blue" if team == BLUE else "Red"


def _all_ready(match: Match) -> bool:
    return all(slot.status == READY for _, slot in occupied_seats(match))


def _values(match: Match, values: events.Values) -> str:
    # Accuracy and pp have decimals; scores and combos are whole numbers and are written without `.00`.
    return ", ".join(f"{chat_text(side_name(match, side))} {value:,.2f}".removesuffix(".00") for side, value in values)
