"""The declarations of the bot's commands follow the conventions, and their page is current."""

import asyncio
import inspect
from pathlib import Path

import pytest

from kiai.app import open_services
from kiai.chat.bot import BotCommand
from kiai.faces.bot.reference import reference
from kiai.osu.privileges import PERMISSIONS, STAFF, TOURNEY_MANAGER
from kiai.settings import load_settings

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "bot.md"
POWERS = STAFF | TOURNEY_MANAGER | 2048


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[BotCommand]:
    async def declared() -> list[BotCommand]:
        async with open_services(load_settings(data=tmp_path_factory.mktemp("bot"))) as services:
            return services.bot.commands

    return asyncio.run(declared())


def test_the_page_of_commands_is_current(commands: list[BotCommand]) -> None:
    page = reference(commands)
    if PAGE.read_text("utf-8") != page:
        PAGE.write_text(page, "utf-8")
        pytest.fail("docs/operate/bot.md was out of date; it is written anew, look at the difference and commit it")


def test_every_handler_takes_what_its_command_declares(commands: list[BotCommand]) -> None:
    for command in commands:
        names = set(inspect.signature(command.handler).parameters) - {"context"}
        declared = {argument.key for argument in command.arguments}
        assert names in (declared, {"given"}), command.usage


def test_optional_arguments_come_last_and_text_is_the_last_of_all(commands: list[BotCommand]) -> None:
    for command in commands:
        # A length, a mode and a choice differ from the text behind them by their form.
        leading = {"LENGTH"}
        if command.arguments and command.arguments[-1].kind.name in {"TEXT", "REASON"}:
            leading |= {"MODE", "CHOICE"}
        optional = [argument.optional for argument in command.arguments if argument.kind.name not in leading]
        assert optional == sorted(optional), command.usage
        rest_of_line = {"TEXT", "REASON"}
        assert all(argument.kind.name not in rest_of_line for argument in command.arguments[:-1]), command.usage


def test_what_only_powers_allow_leaves_a_trace(commands: list[BotCommand]) -> None:
    reads = {"list", "info", "flags", "spectators", "requests"}
    for command in commands:
        if command.permission and PERMISSIONS[command.permission] & POWERS and command.name not in reads:
            assert command.audit, f"{command.usage} is for staff and declares no audit action"
