"""What the bot says in a room about what happens there. Tools of referees read these lines with regular expressions
that were written for the official server, so each is fixed to the letter (docs/operate/bot.md, Leading a match)."""

from collections.abc import Callable, Mapping, Sequence

from kiai.multiplayer import commands, facts
from kiai.multiplayer.match import side_name
from kiai.multiplayer.model import BLUE, COUNTDOWN, READY, START, Match, has_teams, occupied_seats
from kiai.osu.durations import duration_text
from kiai.osu.texts import chat_name, chat_text

Link = Callable[[str], str]


def lines_about(
    command: commands.Command,
    match: Match,
    told: Sequence[facts.Fact],
    *,
    scores: Mapping[int, int],
    link: Link,
) -> list[str]:
    """The lines about one act, in order; `match` is as it is afterwards.

    `scores` are the total scores of those who reached the end, by user id: a match does not know them.
    """
    names = {slot.player_id: chat_name(slot.player_name) for _, slot in occupied_seats(match)}
    started = any(isinstance(fact, facts.Started) for fact in told)
    lines: list[str] = []
    for fact in told:
        match fact:
            case facts.Joined():
                team = f" for team {_colour(fact.team).lower()}" if has_teams(match) else ""
                lines.append(f"{chat_name(fact.name)} joined in slot {fact.slot + 1}{team}.")
            case facts.Left() if fact.why != "closed":
                lines.append(f"{chat_name(fact.name)} left the game.")
            case facts.SlotMoved():
                lines.append(f"{names.get(fact.user_id, '')} moved to slot {fact.to_slot + 1}")
            case facts.HostPassed() if fact.user_id:
                lines.append(f"{chat_name(fact.name)} became the host.")
            case facts.TeamChanged():
                lines.append(f"{names.get(fact.user_id, '')} changed to {_colour(fact.team)}")
            case facts.MapChoosing():
                lines.append("Host is changing map...")
            case facts.MapChanged() if fact.another and isinstance(command, commands.ChangeSettings):
                lines.append(f"Beatmap changed to: {chat_text(fact.map_name)} ({link(f'b/{fact.map_id}')})")
            case facts.StatusChanged() if fact.status == READY and _all_ready(match):
                lines.append("All players are ready")
            case facts.TimerCleared(rang=True, kind=kind) if kind == START and started:
                lines.append("Good luck, have fun!")
            case facts.TimerCleared(rang=True, kind=kind) if kind == COUNTDOWN:
                lines.append("Countdown finished")
            case facts.Started():
                lines.append("The match has started!")
            case facts.PlayerCompleted():
                outcome = "FAILED" if fact.failed else "PASSED"
                score = scores.get(fact.user_id, 0)
                lines.append(f"{names.get(fact.user_id, '')} finished playing (Score: {score}, {outcome}).")
            case facts.Finished():
                lines.append("The match has finished!")
            case _:
                lines += _of_scrims(match, fact)
    return lines


def _of_scrims(match: Match, fact: facts.Fact) -> list[str]:
    match fact:
        case facts.CouldNotStart():
            return [f"Could not start: {chat_text(fact.reason)}."]
        case facts.ScrimBegan():
            return [f"A scrim begins: best of {fact.best_of}."]
        case facts.PointWon():
            return [f"{chat_text(fact.name)} wins the point ({_values(match, fact.values)}) and has {fact.points}."]
        case facts.RoundTied():
            return [f"Nobody wins the point ({_values(match, fact.values)})."]
        case facts.PointTaken():
            return [f"The last point is taken back: {chat_text(fact.name)} has {fact.points}."]
        case facts.ScrimWon():
            return [f"{chat_text(fact.name)} wins the match!"]
        case facts.ScrimEnded():
            points = ", ".join(f"{chat_text(side_name(match, side))} {count}" for side, count in fact.points)
            return [f"The scrim is over: {points or 'no points'}."]
        case _:
            return []


def counting_down(kind: str, left_s: int) -> str:
    """How long a start or a countdown still takes."""
    return f"{'Match starts' if kind == START else 'Countdown ends'} in {duration_text(left_s)}"


def _colour(team: int) -> str:
    return "Blue" if team == BLUE else "Red"


def _all_ready(match: Match) -> bool:
    return all(slot.status == READY for _, slot in occupied_seats(match))


def _values(match: Match, values: facts.Values) -> str:
    return ", ".join(f"{chat_text(side_name(match, side))} {value:,.2f}".removesuffix(".00") for side, value in values)
