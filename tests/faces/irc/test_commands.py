"""Prices of commands: what a client pays for a line before the next one is read."""

import asyncio
from typing import Any, cast

import pytest

from kiai.faces.irc.channels import ChannelCommands
from kiai.faces.irc.commands import Commands
from kiai.faces.irc.connection import HEAVY
from kiai.faces.irc.login import IrcLogin
from kiai.faces.irc.people import PeopleCommands
from kiai.faces.irc.talking import Talking


class Anything:
    """Stands for every part of the gateway: each method does nothing."""

    def __getattr__(self, name: str) -> Any:
        async def method(*arguments: object, **options: object) -> None:
            del arguments, options

        return method


@pytest.fixture
def commands() -> Commands:
    part = Anything()
    return Commands(cast(IrcLogin, part), cast(ChannelCommands, part), cast(Talking, part), cast(PeopleCommands, part))


@pytest.mark.parametrize(
    ("command", "params", "price"),
    [
        ("PRIVMSG", ("anna", "hello"), 1),
        ("PRIVMSG", ("anna,boris,carla", "hello"), 3),
        ("PRIVMSG", (",".join(["anna"] * 50), "hello"), 4),
        ("PRIVMSG", ("anna", "\x01VERSION\x01"), 1),
        ("NOTICE", ("anna", "hello"), 1),
        ("JOIN", ("#osu",), HEAVY),
        ("JOIN", ("#osu,#lobby",), 2 * HEAVY),
        ("NAMES", (",".join(["#osu"] * 50),), 20 * HEAVY),
        ("NAMES", (), HEAVY),
        ("WHO", ("#osu",), HEAVY),
        ("AWAY", (), 1),
    ],
)
def test_command_has_a_price_for_each_target(
    commands: Commands, command: str, params: tuple[str, ...], price: float
) -> None:
    class Client:
        session = object()
        nick = "anna"

    assert asyncio.run(commands.handle(cast(Any, Client()), command, params)) == price
