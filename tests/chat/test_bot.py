"""How the bot hears: what is a command, whose, with which arguments."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import Run, World, a_player

from kiai.chat.bot import LINES_MAX, Argument, Asker, Bot, Command, Kind, Where
from kiai.chat.model import Answer
from kiai.errors import Refused
from kiai.ids import SequenceIds
from kiai.realtime.port import Session
from kiai.storage.port import Database

PLAYER = Session(token="t", user_id=3, name="anna", priv=3, login_time_ms=0)
MODERATOR = Session(token="m", user_id=4, name="boris", priv=3 | 4096, login_time_ms=0)


class Heard:
    """A bot with a handful of commands, and what they were asked."""

    def __init__(self, world: World, *, limited: bool = False) -> None:
        self.world = world
        self.asked: list[dict[str, Any]] = []
        self.bot = Bot(world.accounts, world.realtime, world.clock, SequenceIds(), limited=limited)

        async def note(asker: Asker, **values: Any) -> Sequence[str]:
            self.asked.append(values)
            return ("done",)

        async def refuse(asker: Asker) -> Sequence[str]:
            raise Refused("the rules say no")

        async def fail(asker: Asker) -> Sequence[str]:
            raise ZeroDivisionError

        async def flood(asker: Asker) -> Sequence[str]:
            return ["line"] * 50

        text = Argument("text", Kind.TEXT, optional=True)
        self.bot.learn(
            [
                Command(name="note", aliases=("n",), handler=note, help="Notes.", arguments=(text,)),
                Command(
                    name="typed",
                    handler=note,
                    help="Typed.",
                    arguments=(
                        Argument("user", Kind.USER, optional=True),
                        Argument("mode", Kind.MODE, optional=True),
                    ),
                ),
                Command(
                    name="count", handler=note, help="Counts.", arguments=(Argument("n", Kind.NUMBER, least=1, most=9),)
                ),
                Command(
                    name="wait", handler=note, help="Waits.", arguments=(Argument("for", Kind.DURATION),), hidden=True
                ),
                Command(
                    name="pick",
                    handler=note,
                    help="Picks.",
                    arguments=(Argument("of", Kind.CHOICE, choices=("on", "off")),),
                ),
                Command(name="secret", handler=note, help="Staff.", permission="users.silence", audit="secret"),
                Command(name="private", handler=note, help="Alone.", where=Where.DM),
                Command(name="room", handler=note, help="In a match.", where=Where.MATCH),
                Command(name="refuse", handler=refuse, help="Refuses."),
                Command(name="fail", handler=fail, help="Fails."),
                Command(name="flood", handler=flood, help="Says much."),
                Command(name="one", handler=note, help="Of a group.", group="mp"),
            ]
        )

    def hear(self, text: str, where: str = "#osu", session: Session = PLAYER) -> Answer | None:
        found: Answer | None = self.world.run(self.bot.hear(session, where, text))
        return found

    def lines(self, text: str, where: str = "#osu", session: Session = PLAYER) -> tuple[str, ...]:
        answer = self.hear(text, where, session)
        assert answer is not None, text
        return answer.lines


@pytest.fixture
def heard(database: Database, run: Run, tmp_path: Path) -> Heard:
    world = World(database, run, tmp_path)
    world.add_player(a_player("anna"))
    world.add_player(a_player("Some One"))
    return Heard(world)


@pytest.mark.parametrize("text", ["!note hello", "!NOTE hello", "!n hello"])
def test_a_command_is_found_by_name_or_alias_in_any_case(heard: Heard, text: str) -> None:
    assert heard.hear(text) == Answer(("done",))
    assert heard.asked == [{"text": "hello"}]


def test_what_is_no_command_is_an_ordinary_line_in_a_channel_and_unknown_to_the_bot_alone(heard: Heard) -> None:
    assert heard.hear("!nosuch") is None
    assert heard.hear("hello") is None
    assert "do not know" in heard.lines("!nosuch", where="")[0]
    assert heard.lines("note hello", where="") == ("done",)


def test_a_command_that_one_may_not_use_does_not_exist(heard: Heard) -> None:
    assert heard.hear("!secret") is None
    assert heard.lines("!secret", where="") == heard.lines("!nosuch", where="")
    assert heard.lines("!secret", session=MODERATOR) == ("done",)


def test_some_commands_are_for_the_bot_alone_or_for_matches(heard: Heard) -> None:
    assert heard.hear("!private") is None
    assert heard.lines("!private", where="") == ("done",)
    assert heard.hear("!room") is None
    assert heard.lines("!room", where="#multi_7") == ("done",)


def test_a_group_has_commands_of_its_own(heard: Heard) -> None:
    assert heard.lines("!mp one") == ("done",)
    assert heard.hear("!one") is None
    assert heard.hear("!mp nosuch") is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("!typed", {"user": None, "mode": None}),
        ("!typed anna", {"user": "anna", "mode": None}),
        ('!typed "some one" vn!taiko', {"user": "Some One", "mode": 1}),
        ("!typed some_one rx!std", {"user": "Some One", "mode": 4}),
        ("!typed #3 8", {"user": "anna", "mode": 8}),
        ("!typed ap!std", {"user": None, "mode": 8}),
        ("!count 9", {"n": 9}),
        ("!wait 1h30m", {"for": 5_400}),
        ("!pick ON", {"of": "on"}),
    ],
)
def test_arguments_become_values(heard: Heard, text: str, values: dict[str, Any]) -> None:
    heard.hear(text)

    [asked] = heard.asked
    if asked.get("user") is not None:
        asked["user"] = asked["user"].name
    assert asked == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!count", "n is missing. Usage: !count <n>"),
        ("!count 10", "n is a whole number from 1 to 9. Usage: !count <n>"),
        ("!count ten", "n is a whole number from 1 to 9. Usage: !count <n>"),
        ("!count 1 2", "There is too much. Usage: !count <n>"),
        ("!typed nobody", "User not found"),
        ("!typed anna vn!nothing", "mode is a mode: 0-6, 8, or for example vn!std. Usage: !typed [user] [mode]"),
        (
            "!wait 10",
            "A duration is written like 30s, 10m, 1h30m, 7d or 2w, from 1 second to 1 year, not 10. Usage: !wait <for>",
        ),
        ("!pick maybe", "of is one of on, off. Usage: !pick <on|off>"),
        ("!refuse", "The rules say no."),
    ],
)
def test_wrong_arguments_get_the_usage_line(heard: Heard, text: str, said: str) -> None:
    assert heard.lines(text) == (said,)
    assert heard.asked == []


def test_a_fault_of_ours_is_an_id_and_nothing_else(heard: Heard) -> None:
    [line] = heard.lines("!fail")

    assert line.startswith("Internal error, id ")
    assert "Zero" not in line


def test_an_answer_has_ten_lines_at_most(heard: Heard) -> None:
    assert len(heard.lines("!flood")) == LINES_MAX


def test_a_hidden_command_says_so(heard: Heard) -> None:
    answer = heard.hear("!wait 10s")

    assert answer is not None
    assert answer.hidden


def test_players_are_slowed_down_and_staff_is_not(database: Database, run: Run, tmp_path: Path) -> None:
    heard = Heard(World(database, run, tmp_path), limited=True)

    said = [heard.lines("!note")[0] for _ in range(7)]
    staff = [heard.lines("!note", session=MODERATOR)[0] for _ in range(7)]

    assert said == ["done"] * 5 + ["Not so fast, please."] * 2
    assert staff == ["done"] * 7
    heard.world.clock.advance(1)
    assert heard.lines("!note") == ("done",)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60), count=st.integers(0, 40))
def test_nothing_that_is_said_breaks_the_bot(heard: Heard, text: str, count: int) -> None:
    for name in ("typed", "count", "wait", "pick", "note", "mp one", ""):
        answer = heard.hear(f"!{name} " + " ".join([text] * count), where="")
        assert answer is None or all("Internal error" not in line for line in answer.lines)
