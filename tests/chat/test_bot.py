"""The bot's parser: commands, permissions, arguments, limits."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import Run, World, a_player

from kiai.accounts import User
from kiai.chat.bot import LINES_MAX, Argument, ArgumentKind, Bot, BotCommand, CommandContext, CommandScope
from kiai.chat.model import BotReply
from kiai.errors import Invalid, Refused
from kiai.ids import SequenceIds
from kiai.realtime.port import Session
from kiai.storage.port import Database

PLAYER = Session(token="t", user_id=3, name="anna", priv=3, login_time_ms=0)
NO_MODE = "mode must be a mode: 0-6, 8, or for example vn!std."
MODERATOR = Session(token="m", user_id=4, name="boris", priv=3 | 4096, login_time_ms=0)


class BotBench:
    """A bot with a few commands. `calls` are the arguments with which the handlers were called."""

    def __init__(self, world: World, *, limited: bool = False) -> None:
        self.world = world
        self.calls: list[dict[str, Any]] = []
        self.bot = Bot(world.accounts, world.realtime, world.clock, SequenceIds(), limited=limited)

        async def note(context: CommandContext, **values: Any) -> Sequence[str]:
            self.calls.append(values)
            return ("done",)

        async def refuse(context: CommandContext) -> Sequence[str]:
            raise Refused("the rules say no")

        async def strict(context: CommandContext, text: str | None) -> Sequence[str]:
            raise Invalid("text", "a colour", text)

        async def fail(context: CommandContext) -> Sequence[str]:
            raise ZeroDivisionError

        async def flood(context: CommandContext) -> Sequence[str]:
            return ["line"] * 50

        async def about(context: CommandContext, user: User, reason: str) -> str:
            if user.name == "Some One":
                raise Refused("you can't do that to yourself")
            return f"This hides all scores of {user.name}."

        text = Argument("text", ArgumentKind.TEXT, optional=True)
        self.bot.register(
            [
                BotCommand(name="note", aliases=("n",), handler=note, help="Notes.", arguments=(text,)),
                BotCommand(
                    name="typed",
                    handler=note,
                    help="Typed.",
                    arguments=(
                        Argument("user", ArgumentKind.USER, optional=True),
                        Argument("mode", ArgumentKind.MODE, optional=True),
                    ),
                ),
                BotCommand(
                    name="count",
                    handler=note,
                    help="Counts.",
                    arguments=(Argument("n", ArgumentKind.NUMBER, least=1, most=9),),
                ),
                BotCommand(
                    name="wait",
                    handler=note,
                    help="Waits.",
                    arguments=(Argument("for", ArgumentKind.DURATION),),
                    hidden=True,
                ),
                BotCommand(
                    name="pick",
                    handler=note,
                    help="Picks.",
                    arguments=(Argument("of", ArgumentKind.CHOICE, choices=("on", "off")),),
                ),
                BotCommand(name="secret", handler=note, help="Staff.", permission="users.silence", audit="secret"),
                BotCommand(name="private", handler=note, help="Alone.", scope=CommandScope.DM),
                BotCommand(name="room", handler=note, help="In a match.", scope=CommandScope.MATCH),
                BotCommand(name="refuse", handler=refuse, help="Refuses."),
                BotCommand(name="strict", handler=strict, help="Refuses values.", arguments=(text,)),
                BotCommand(name="fail", handler=fail, help="Fails."),
                BotCommand(name="flood", handler=flood, help="Says much."),
                BotCommand(name="one", handler=note, help="Of a group.", group="mp"),
                BotCommand(
                    name="wipe",
                    handler=note,
                    help="Wipes.",
                    permission="users.silence",
                    arguments=(Argument("user", ArgumentKind.USER), Argument("reason", ArgumentKind.REASON)),
                    hidden=True,
                    confirm=about,
                ),
                *(
                    BotCommand(
                        name=name,
                        handler=note,
                        help="Has an optional argument before a required one.",
                        arguments=(leading, Argument("reason", ArgumentKind.REASON)),
                    )
                    for name, leading in (
                        ("hide", Argument("mode", ArgumentKind.MODE, optional=True)),
                        ("lift", Argument("scores", ArgumentKind.CHOICE, optional=True, choices=("keep", "wipe"))),
                        ("hold", Argument("for", ArgumentKind.LENGTH, optional=True, choices=("perma",))),
                    )
                ),
            ]
        )

    def send(self, text: str, where: str = "#osu", session: Session = PLAYER) -> BotReply | None:
        reply: BotReply | None = self.world.run(self.bot.on_message(session, where, text))
        return reply

    def lines(self, text: str, where: str = "#osu", session: Session = PLAYER) -> tuple[str, ...]:
        answer = self.send(text, where, session)
        assert answer is not None, text
        return answer.lines


@pytest.fixture
def bench(database: Database, run: Run, tmp_path: Path) -> BotBench:
    world = World(database, run, tmp_path)
    world.add_player(a_player("anna"))
    world.add_player(a_player("Some One"))
    return BotBench(world)


@pytest.mark.parametrize("text", ["!note hello", "!NOTE hello", "!n hello"])
def test_command_is_found_by_name_or_alias_in_any_case(bench: BotBench, text: str) -> None:
    assert bench.send(text) == BotReply(("done",))
    assert bench.calls == [{"text": "hello"}]


def test_unknown_command_is_ignored_in_a_channel_and_answered_in_private(bench: BotBench) -> None:
    assert bench.send("!nosuch") is None
    assert bench.send("hello") is None
    assert "Unknown command" in bench.lines("!nosuch", where="")[0]
    assert bench.lines("note hello", where="") == ("done",)


def test_command_without_permission_is_answered_like_an_unknown_one(bench: BotBench) -> None:
    assert bench.send("!secret") is None
    assert bench.lines("!secret", where="") == bench.lines("!nosuch", where="")
    assert bench.lines("!secret", session=MODERATOR) == ("done",)


def test_scope_limits_commands_to_private_lines_or_matches(bench: BotBench) -> None:
    assert bench.send("!private") is None
    assert bench.lines("!private", where="") == ("done",)
    assert bench.send("!room") is None
    assert bench.lines("!room", where="#multi_7") == ("done",)


def test_command_of_a_group_needs_the_name_of_the_group(bench: BotBench) -> None:
    assert bench.lines("!mp one") == ("done",)
    assert bench.send("!one") is None
    assert bench.send("!mp nosuch") is None


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
        ("!hide vn!taiko relax", {"mode": 1, "reason": "relax"}),
        ("!hide relax", {"mode": None, "reason": "relax"}),
        ("!hide cheats taiko", {"mode": None, "reason": "cheats taiko"}),
        ("!lift WIPE aa", {"scores": "wipe", "reason": "aa"}),
        ("!lift wiped", {"scores": None, "reason": "wiped"}),
        ("!hold 7d rx", {"for": 604_800, "reason": "rx"}),
    ],
)
def test_arguments_are_parsed_by_type(bench: BotBench, text: str, values: dict[str, Any]) -> None:
    bench.send(text)

    [arguments] = bench.calls
    if arguments.get("user") is not None:
        arguments["user"] = arguments["user"].name
    assert arguments == values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!count", "n is missing. Usage: !count <n>"),
        ("!count 10", "n must be a whole number from 1 to 9. Usage: !count <n>"),
        ("!count ten", "n must be a whole number from 1 to 9. Usage: !count <n>"),
        ("!count 1 2", "Too many arguments. Usage: !count <n>"),
        ("!typed nobody", "User not found"),
        ("!typed anna vn!nothing", "mode must be a mode: 0-6, 8, or for example vn!std. Usage: !typed [user] [mode]"),
        (
            "!wait 10",
            "for must be a duration like 30s, 10m, 1h30m, 7d or 2w, from 1 second to 1 year, not 10. "
            "Usage: !wait <for>",
        ),
        ("!pick maybe", "of must be one of on, off. Usage: !pick <on|off>"),
        ("!hide vn!taiko", "reason is missing. Usage: !hide [mode] <reason>"),
        ("!hide taiko", f"{NO_MODE} Usage: !hide [mode] <reason>"),
        ("!hide osu cheats", f"{NO_MODE} Usage: !hide [mode] <reason>"),
        ("!hide rx!sdt cheats", f"{NO_MODE} Usage: !hide [mode] <reason>"),
        ("!hide 4", "reason is missing. Usage: !hide [mode] <reason>"),
        ("!lift wipe", "reason is missing. Usage: !lift [keep|wipe] <reason>"),
        ("!lift Keep  ", "reason is missing. Usage: !lift [keep|wipe] <reason>"),
        ("!hold perma", "reason is missing. Usage: !hold [for|perma] <reason>"),
        ("!strict seven", "text must be a colour, got 'seven'. Usage: !strict [text]"),
        ("!refuse", "The rules say no."),
    ],
)
def test_wrong_arguments_get_the_usage_line(bench: BotBench, text: str, expected: str) -> None:
    assert bench.lines(text) == (expected,)
    assert bench.calls == []


def test_internal_error_shows_only_an_id(bench: BotBench) -> None:
    [line] = bench.lines("!fail")

    assert line.startswith("Internal error, id ")
    assert "Zero" not in line


def test_answer_has_at_most_ten_lines(bench: BotBench) -> None:
    assert len(bench.lines("!flood")) == LINES_MAX


def test_answer_of_a_hidden_command_is_hidden(bench: BotBench) -> None:
    answer = bench.send("!wait 10s")

    assert answer is not None
    assert answer.hidden


def test_rate_limit_of_commands_does_not_apply_to_staff(database: Database, run: Run, tmp_path: Path) -> None:
    bench = BotBench(World(database, run, tmp_path), limited=True)

    player = [bench.lines("!note")[0] for _ in range(7)]
    staff = [bench.lines("!note", session=MODERATOR)[0] for _ in range(7)]

    assert player == ["done"] * 5 + ["You're sending commands too quickly."] * 2
    assert staff == ["done"] * 7
    bench.world.clock.advance(1)
    assert bench.lines("!note") == ("done",)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60), count=st.integers(0, 40))
def test_random_arguments_cause_no_internal_error(bench: BotBench, text: str, count: int) -> None:
    for name in ("typed", "count", "wait", "pick", "note", "mp one", ""):
        answer = bench.send(f"!{name} " + " ".join([text] * count), where="")
        assert answer is None or all("Internal error" not in line for line in answer.lines)


def code_in(lines: tuple[str, ...]) -> str:
    [line] = lines
    return line.split("!confirm ")[1].split(" ")[0]


def test_command_that_destroys_data_runs_once_when_its_author_confirms_it(bench: BotBench) -> None:
    lines = bench.lines("!wipe anna cheating", session=MODERATOR)

    assert lines[0].startswith("This hides all scores of anna. Type !confirm ")
    assert bench.calls == []
    code = code_in(lines)
    assert re.fullmatch(r"[0-9a-z]{6}", code)
    assert bench.lines(f"!confirm {code}") == ("Nothing to confirm.",)  # another player
    assert bench.lines(f"!confirm {code.upper()}", session=MODERATOR) == ("done",)
    [call] = bench.calls
    assert (call["user"].name, call["reason"]) == ("anna", "cheating")
    assert bench.lines(f"!confirm {code}", session=MODERATOR) == ("Nothing to confirm.",)
    assert len(bench.calls) == 1


def test_code_is_void_after_a_minute(bench: BotBench) -> None:
    code = code_in(bench.lines("!wipe anna cheating", session=MODERATOR))
    bench.world.clock.advance(61)

    assert bench.lines(f"!confirm {code}", session=MODERATOR) == ("Nothing to confirm.",)
    assert bench.lines("!confirm abcdef", session=MODERATOR) == ("Nothing to confirm.",)
    assert bench.calls == []


def test_rights_are_checked_again_when_a_command_is_confirmed(bench: BotBench) -> None:
    code = code_in(bench.lines("!wipe anna cheating", session=MODERATOR))

    demoted = msgspec.structs.replace(MODERATOR, priv=3)

    assert bench.lines(f"!confirm {code}", session=demoted) == ("Nothing to confirm.",)
    assert bench.calls == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!wipe anna", "reason is missing. Usage: !wipe <user> <reason>"),
        ("!wipe nobody", "reason is missing. Usage: !wipe <user> <reason>"),
        ("!wipe nobody because", "User not found"),
        (f"!wipe anna {'x' * 501}", "reason must have at most 500 characters. Usage: !wipe <user> <reason>"),
        ("!wipe some_one because", "You can't do that to yourself."),
    ],
)
def test_wrong_line_is_not_offered_for_confirmation(bench: BotBench, text: str, expected: str) -> None:
    assert bench.lines(text, session=MODERATOR) == (expected,)
    assert bench.calls == []
