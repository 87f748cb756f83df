"""The answers of each command of the bot to the wrong author, words or target, and to two authors at once."""

import asyncio
from typing import Any, Final

import msgspec
import pytest
from tests.faces.acts.chat_examples import EXAMPLES, Example, played_worse
from tests.faces.acts.desk import Desk, Person, Scene, role_below, weakest_role

from kiai.chat.bot import UNKNOWN, ArgumentKind, BotCommand
from kiai.staff.audit import OPERATOR

STAFF: Final = ("tournament", "nominator", "moderator", "administrator", "developer")
IN_ORDER: Final = [one for one in EXAMPLES if not one.fresh]
ON_PLAYERS: Final = [one for one in IN_ORDER if "{t}" in one.line]
RANKED: Final = frozenset(
    {
        "silence",
        "unsilence",
        "kick",
        "restrict",
        "unrestrict",
        "ban",
        "unban",
        "freeze",
        "unfreeze",
        "whitelist",
        "unwhitelist",
        "rename",
        "setcountry",
        "delavatar",
        "deluserpage",
    }
)
"""Commands on a player of a lower role. Developers may act on developers."""
CHANGES: Final = (
    RANKED
    | {"addpriv", "rmpriv", "addbn", "removebn", "givedonator", "removedonator", "deleteuser"}
    | {"wipeuser", "restorescores"}
    | {
        "addnote",
        "alertuser",
        "clearchat",
    }
)
NOT_ONESELF: Final = frozenset(("silence", "kick", "restrict", "ban", "freeze", "rmpriv", "deleteuser", "wipeuser"))


def is_one_of(example: Example, commands: frozenset[str]) -> bool:
    """Return whether an example is of one of these commands without group."""
    return not example.command[0] and example.command[1] in commands


def command_of(desk: Desk, example: Example) -> BotCommand:
    """Return the declaration of an example's command."""
    [found] = [one for one in desk.commands if (one.group, one.name) == example.command]
    return found


def names(example: Example) -> str:
    """Return the id of an example in the names of tests."""
    return example.line


def prepared(desk: Desk, example: Example, role: str = "") -> Scene:
    """Return the scene of an example, ready for its line."""
    scene = Scene(desk, role or example.by or weakest_role(command_of(desk, example).permission))
    for prepare in example.before:
        prepare(scene)
    return scene


def answer_of(desk: Desk, person: Person, line: str, channel: str) -> str:
    """Return the answer to a line, confirmed if it asks for that."""
    return "\n".join(desk.carry_out(person, line, channel))


# --- the wrong author


def test_without_the_right_the_command_does_not_exist(desk: Desk) -> None:
    for example in IN_ORDER:
        command = command_of(desk, example)
        if not command.permission:
            continue
        scene = prepared(desk, example)
        demoted = desk.person(weakest_role(command.permission))
        desk.run(desk.services.staff.revoke(OPERATOR, demoted.name, [demoted.role]))
        desk.run(desk.services.outbox.deliver())
        restricted = desk.person(weakest_role(command.permission), restricted=True)
        line, newest = scene.text(example.line), desk.newest_row()

        for other in (desk.person(role_below(command.permission)), restricted, demoted):
            # In a channel the line is ordinary chat.
            expected = "" if scene.channel else UNKNOWN
            assert answer_of(desk, other, line, scene.channel) == expected, (line, other.role)
            assert not desk.services.bot.is_private(desk.session(other), scene.channel, line), line

        assert [row.action for row in desk.rows_after(newest)] == [], line


def test_the_stored_role_counts_not_that_of_the_session(desk: Desk) -> None:
    for example in IN_ORDER:
        command = command_of(desk, example)
        role = example.by or weakest_role(command.permission)
        if role not in STAFF or command.audit == "" or example.row == "":
            continue
        scene = prepared(desk, example)
        desk.run(desk.services.staff.revoke(OPERATOR, scene.actor.name, [role]))
        newest = desk.newest_row()

        answer = answer_of(desk, scene.actor, scene.text(example.line), scene.channel)

        rows = [row.action for row in desk.rows_after(newest)]
        assert command.audit not in rows, (example.line, answer)
        if command.permission:
            assert answer in (UNKNOWN, ""), (example.line, answer)


def test_who_does_not_lead_the_match_gets_no_answer(desk: Desk) -> None:
    for example in IN_ORDER:
        command = command_of(desk, example)
        if command.allowed is None:
            continue
        scene = prepared(desk, example)
        newest = desk.newest_row()

        assert answer_of(desk, desk.person(), scene.text(example.line), scene.channel) == "", example.line

        assert [row.action for row in desk.rows_after(newest)] == [], example.line


# --- the wrong words


def test_wrong_words_get_the_usage_line(desk: Desk) -> None:
    rest = (ArgumentKind.TEXT, ArgumentKind.REASON, ArgumentKind.USER, ArgumentKind.USERS)
    for example in IN_ORDER:
        command = command_of(desk, example)
        scene = prepared(desk, example)
        line, newest = scene.text(example.line), desk.newest_row()
        wrong = []
        if any(not argument.optional for argument in command.arguments):
            wrong.append(" ".join(line.split()[: 2 if command.group else 1]))
        if not command.ignores_extra and (not command.arguments or command.arguments[-1].kind not in rest):
            wrong.append(f"{line} a b c d e f g")

        for text in wrong:
            assert f"Usage: {command.usage}" in answer_of(desk, scene.actor, text, scene.channel), text

        assert [row.action for row in desk.rows_after(newest)] == [], line


LEADING: Final = {ArgumentKind.MODE: ("vn!taiko", "4", "taiko", "osu"), ArgumentKind.LENGTH: ("7d",)}
"""Kind of an argument that may stand before a reason -> words for it. For a CHOICE, the choices are the words."""


def test_an_optional_word_is_never_taken_for_the_missing_reason(desk: Desk) -> None:
    checked = set()
    for example in IN_ORDER:
        command = command_of(desk, example)
        for place, argument in enumerate(command.arguments[:-1]):
            following = command.arguments[place + 1]
            if not argument.optional or following.optional or following.kind is ArgumentKind.WORD:
                continue
            scene = prepared(desk, example)
            before = scene.text(example.line).split()[: place + (2 if command.group else 1)]
            newest = desk.newest_row()

            for value in argument.choices or LEADING[argument.kind]:
                line = " ".join((*before, value))
                assert f"Usage: {command.usage}" in answer_of(desk, scene.actor, line, scene.channel), line

            assert [row.action for row in desk.rows_after(newest)] == [], command.usage
            checked.add(command.name)

    assert checked == {"restrict", "unrestrict", "freeze", "wipeuser", "restorescores", "blockip"}


# --- the wrong target


def test_a_player_who_does_not_exist_is_not_found(desk: Desk) -> None:
    gone = desk.person()
    desk.run(desk.services.site.deletion_by_staff.delete(OPERATOR, gone.id))
    for example in ON_PLAYERS:
        scene = prepared(desk, example)
        newest = desk.newest_row()

        for name in ("nobodyhere", "#999999", gone.name, f"#{gone.id}"):
            line = scene.text(example.line.replace("{t}", name))
            assert "User not found" in answer_of(desk, scene.actor, line, scene.channel), line

        assert [row.action for row in desk.rows_after(newest)] == [], example.line


@pytest.mark.parametrize(
    "line",
    ["!rmpriv {t} badrole", "!addpriv {t} moderator badrole", "!setcountry {t} zz", "!rename {t} a"],
)
def test_wrong_words_come_before_a_player_who_does_not_exist(desk: Desk, line: str) -> None:
    developer = desk.person("developer")
    name = line.split()[0].removeprefix("!")
    [usage] = [one.usage for one in desk.commands if not one.group and one.name == name]

    for target in ("nobodyhere", developer.name):
        assert f"Usage: {usage}" in answer_of(desk, developer, line.format(t=target), "")


@pytest.mark.parametrize("example", [one for one in ON_PLAYERS if is_one_of(one, RANKED)], ids=names)
def test_an_equal_role_is_refused_with_a_row(desk: Desk, example: Example) -> None:
    command = command_of(desk, example)
    scene = Scene(desk, example.by or weakest_role(command.permission))
    equal = desk.person(scene.actor.role)
    newest = desk.newest_row()

    line = scene.text(example.line.replace("{t}", equal.name))
    assert "Only a higher role can act on this user" in answer_of(desk, scene.actor, line, "")

    [row] = desk.rows_after(newest)
    details: dict[str, Any] = msgspec.json.decode(row.details)
    assert (row.action, row.target_id, details["action"]) == ("denied", equal.id, command.audit)


@pytest.mark.parametrize("example", [one for one in ON_PLAYERS if is_one_of(one, CHANGES)], ids=names)
def test_the_bot_is_never_a_target(desk: Desk, example: Example) -> None:
    scene = Scene(desk, "developer")
    newest = desk.newest_row()

    line = scene.text(example.line.replace("{t}", "BanchoBot"))
    answer = answer_of(desk, scene.actor, line, "#osu" if "clearchat" in line else "")

    assert "You can't do that to the bot" in answer
    assert [row.action for row in desk.rows_after(newest)] == []


@pytest.mark.parametrize("example", [one for one in ON_PLAYERS if is_one_of(one, NOT_ONESELF)], ids=names)
def test_nobody_does_it_to_oneself(desk: Desk, example: Example) -> None:
    scene = Scene(desk, "developer")
    newest = desk.newest_row()

    line = scene.text(example.line.replace("{t}", scene.actor.name))
    assert "You can't do that to yourself" in answer_of(desk, scene.actor, line, "")

    assert [row.action for row in desk.rows_after(newest)] == []


def test_overwriting_is_confirmed_for_the_score_that_was_shown(desk: Desk) -> None:
    scene = Scene(desk, "supporter")
    played_worse(scene)
    [asked] = desk.say(scene.actor, "!overwrite")
    assert "800,000 points" in asked
    played_worse(scene)
    newest = desk.newest_row()

    answer = desk.say(scene.actor, f"!confirm {asked.partition('!confirm ')[2][:6]}")

    assert answer == ["Your last score is another one now; send the command again."]
    assert [row.action for row in desk.rows_after(newest)] == []
    assert "Your best score on this beatmap is now" in answer_of(desk, scene.actor, "!overwrite", "")


# --- two at once

ONCE: Final = frozenset(
    {
        "!unsilence {t} fine",
        "!reports close {report} handled",
        "!flags close {flag} clean fine",
        "!restrict {t} 7d rx",
        "!unrestrict {t} aa",
        "!unrestrict {t} wipe aa",
        "!hidescore {score} rx",
        "!unhidescore {score} aa",
        "!wipeuser {t} rx",
        "!restorescores {t} aa",
        "!wipemap broken",
        "!restoremap repaired",
        "!ban {t} rx",
        "!unban {t} aa",
        "!unfreeze {t} seen",
        "!whitelist {t} trusted",
        "!unwhitelist {t} done",
        "!removedonator {t} refunded",
        "!deleteuser {t}",
        "!close not finished",
        "!pool create pool{n}",
        "!pool delete {pool}",
        "!pool add {pool} HD1 75",
        "!pool remove {pool} NM1",
        "!pool publish {pool} on",
        "!report {t} (Spamming) loud",
        "!delavatar {t} rude",
        "!deluserpage {t} rude",
        "!blockip {ip} 7d spam",
        "!recalc user {t}",
        "!unblockip {ip} fixed",
    }
)
"""Acts that change a state only once. Of two at once, one is refused."""


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.line in ONCE], ids=names)
def test_of_two_at_once_one_is_refused(desk: Desk, example: Example) -> None:
    command = command_of(desk, example)
    scene = prepared(desk, example, "player" if command.name == "report" else "developer")
    second = scene.actor if command.name == "report" else desk.person("developer")
    if "map" in scene.values and command.group == "":
        link = f"https://osu.ppy.sh/b/{scene.values['map']}"
        desk.say(second, f"\x01ACTION is playing [{link} A - B [C]]\x01", "#osu")
    lines = [scene.text(example.line)] * 2
    if command.confirm is not None:
        asked = ["".join(desk.say(person, lines[0])) for person in (scene.actor, second)]
        lines = [f"!confirm {text.partition('!confirm ')[2][:6]}" for text in asked]
    newest = desk.newest_row()

    async def both() -> list[Any]:
        on_message = desk.services.bot.on_message
        sessions = [await desk.services.realtime.session(person.token) for person in (scene.actor, second)]
        return list(
            await asyncio.gather(
                *(on_message(session, "", line) for session, line in zip(sessions, lines, strict=True))
            )
        )

    answers = ["\n".join(answer.lines) for answer in desk.run(both())]

    assert [row.action for row in desk.rows_after(newest)] == [command.audit], answers
    done = [scene.text(example.answer) in answer for answer in answers]
    assert sorted(done) == [False, True] or answers[0] != answers[1], answers


def test_every_line_that_happens_once_is_an_example() -> None:
    assert {one.line for one in EXAMPLES} >= ONCE
