"""Every command of the command line that changes something leaves one audit row of the operator."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.faces.acts.cli_examples import EXAMPLES, WITHOUT_ROW, CommandExample
from tests.faces.acts.desk import Desk, Scene
from tests.faces.acts.rows import check_row
from tests.wire.kit import run_kiai

from kiai.cli.main import command_tree


def declared(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the commands of a group with the groups before them."""
    if not hasattr(group, "commands"):
        yield " ".join(path)
        return
    for name, inner in group.commands.items():
        yield from declared(inner, (*path, name))


def test_every_command_has_an_example_or_a_reason() -> None:
    commands = set(declared(command_tree()))
    shown = {example.command for example in EXAMPLES}

    assert shown & WITHOUT_ROW.keys() == set()
    assert shown | WITHOUT_ROW.keys() == commands


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: " ".join((one.command, *one.words)))
def test_command_leaves_one_row_of_the_operator(desk: Desk, example: CommandExample) -> None:
    scene = Scene(desk, "player")
    for prepare in example.before:
        prepare(scene)
    newest = desk.newest_row()
    words = [scene.text(word) for word in example.words]

    done = run_kiai(desk.data, *example.command.split(), *words, "--json")

    assert done.returncode == 0, done
    about: tuple[int, ...] = (scene.target.id, scene.actor.id)
    if example.command == "users add":
        about = (desk.run(desk.services.accounts.account(words[0])).id,)
    check_row(desk.rows_after(newest), example.row, actor_id=0, source="cli", about=about)
