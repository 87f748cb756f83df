"""The bot's commands are declared as the house wants them, and their page is current."""

import asyncio
import inspect
from pathlib import Path

import pytest

from kiai.app import open_services
from kiai.chat.bot import Command
from kiai.faces.bot.reference import reference
from kiai.osu.privileges import PERMISSIONS, STAFF, TOURNEY_MANAGER
from kiai.settings import load_settings

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "bot.md"
POWERS = STAFF | TOURNEY_MANAGER | 2048


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[Command]:
    async def declared() -> list[Command]:
        async with open_services(load_settings(data=tmp_path_factory.mktemp("bot"))) as services:
            return services.bot.commands

    return asyncio.run(declared())


def test_the_page_of_commands_is_current(commands: list[Command]) -> None:
    page = reference(commands)
    if PAGE.read_text("utf-8") != page:
        PAGE.write_text(page, "utf-8")
        pytest.fail("docs/operate/bot.md was out of date; it is written anew, look at the difference and commit it")


def test_every_handler_takes_what_its_command_declares(commands: list[Command]) -> None:
    for command in commands:
        names = set(inspect.signature(command.handler).parameters) - {"asker"}
        declared = {argument.name for argument in command.arguments}
        assert names in (declared, {"given"}), command.usage


def test_optional_arguments_come_last_and_text_is_the_last_of_all(commands: list[Command]) -> None:
    for command in commands:
        optional = [argument.optional for argument in command.arguments]
        assert optional == sorted(optional), command.usage
        assert all(argument.kind.name != "TEXT" for argument in command.arguments[:-1]), command.usage


def test_what_only_powers_allow_leaves_a_trace(commands: list[Command]) -> None:
    reads = {"list", "info", "flags"}
    for command in commands:
        if command.permission and PERMISSIONS[command.permission] & POWERS and command.name not in reads:
            assert command.audit, f"{command.usage} is for staff and declares no audit action"
