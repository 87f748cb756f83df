"""`!help` lists exactly the commands that its author may use."""

import re

import pytest
from tests.faces.acts.desk import NORMAL, ROLES, Desk, weakest_role

from kiai.chat.bot import UNKNOWN
from kiai.osu.privileges import may


@pytest.mark.parametrize("role", ROLES)
def test_help_lists_exactly_what_its_author_may_use(desk: Desk, role: str) -> None:
    person = desk.person(role)
    usable = [one for one in desk.commands if not one.permission or may(NORMAL | ROLES[role], one.permission)]

    found = re.search(r"Page 1 of (\d+)\.", desk.say(person, "!help")[-1])
    assert found is not None
    lines = [line for page in range(1, int(found[1]) + 1) for line in desk.say(person, f"!help {page}")[:-1]]

    groups = dict.fromkeys(command.group for command in usable if command.group)
    names = {group: " | ".join(one.name for one in usable if one.group == group) for group in groups}
    assert lines == [
        *(f"{command.usage}: {command.help}" for command in usable if not command.group),
        *(f"!{group} {listed}" for group, listed in names.items()),
    ]
    for group, listed in names.items():
        assert desk.say(person, f"!help {group}") == [f"!{group} {listed}"]


@pytest.mark.parametrize("role", ROLES)
def test_help_explains_a_command_to_those_who_may_use_it(desk: Desk, role: str) -> None:
    person = desk.person(role)
    for command in desk.commands:
        for name in (command.name, *command.aliases):
            answer = desk.say(person, f"!help {command.group} {name}")
            if command.permission and not may(NORMAL | ROLES[role], command.permission):
                assert answer == [UNKNOWN], name
                continue
            usage, about = answer
            assert usage == command.usage
            assert all(alias in about for alias in command.aliases)
            weakest = weakest_role(command.permission)
            assert "For: " + ("everybody" if weakest == "player" else weakest) in about or weakest in about
