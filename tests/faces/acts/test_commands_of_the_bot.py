"""Every command of the bot, carried out on a whole server: its answer, its audit row, and its refusals."""

from pathlib import Path

import pytest
from tests.builders import Run
from tests.faces.acts.chat_examples import EXAMPLES, Example
from tests.faces.acts.desk import Desk, Scene, opened, weakest_role
from tests.faces.acts.rows import check_row

from kiai.chat.bot import BotCommand


def command_of(desk: Desk, example: Example) -> BotCommand:
    [found] = [one for one in desk.commands if (one.group, one.name) == example.command]
    return found


def test_every_command_has_an_example(desk: Desk) -> None:
    declared = {(command.group, command.name) for command in desk.commands}

    assert {example.command for example in EXAMPLES} == declared


def test_every_declared_action_has_an_example(desk: Desk) -> None:
    shown = {example.command for example in EXAMPLES if example.row is None or example.row}
    silent = [
        command.usage for command in desk.commands if command.audit and (command.group, command.name) not in shown
    ]

    assert silent == []


def carried_out(desk: Desk, example: Example, *, irc: bool) -> None:
    command = command_of(desk, example)
    scene = Scene(desk, example.by or weakest_role(command.permission), irc=irc)
    for prepare in example.before:
        prepare(scene)
    newest = desk.newest_row()

    answer = desk.carry_out(scene.actor, scene.text(example.line), scene.channel)

    assert scene.text(example.answer) in "\n".join(answer), answer
    action = command.audit if example.row is None else example.row
    rows = desk.rows_after(newest)
    if not action:
        assert [row.action for row in rows] == []
        return
    about = (scene.target.id, scene.actor.id)
    check_row(rows, action, actor_id=scene.actor.id, source="irc" if irc else "game", about=about)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if not one.fresh], ids=lambda one: one.line)
def test_command_in_the_game_leaves_the_row_it_declares(desk: Desk, example: Example) -> None:
    carried_out(desk, example, irc=False)


@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if not one.seated and not one.fresh and one.row != ""], ids=lambda one: one.line
)
def test_command_in_irc_leaves_the_row_it_declares(desk: Desk, example: Example) -> None:
    carried_out(desk, example, irc=True)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.fresh], ids=lambda one: one.line)
def test_command_on_a_server_of_its_own(run: Run, tmp_path: Path, example: Example) -> None:
    with opened(run, tmp_path / "data", **dict(example.settings)) as desk:
        carried_out(desk, example, irc=False)
