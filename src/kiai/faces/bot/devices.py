"""`!multi`: other accounts on the devices of a player."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from kiai.accounts import User
from kiai.chat.bot import Argument, ArgumentKind, BotCommand, CommandContext
from kiai.faces.bot.acting import actor_of
from kiai.osu.texts import chat_name
from kiai.staff.devices import PERMISSION, Devices

SHOWN: Final = 9  # an answer has at most 10 lines


class DeviceCommands:
    """Handler of `!multi`."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    async def multi(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!multi`."""
        actor = actor_of(context)
        matches = await self._devices.matches(actor, user)
        name = chat_name(user.name)
        if not matches:
            return (f"{name} shares no device with another account.",)
        lines = [
            f"{chat_name(match.player.name)}{' (restricted)' if match.player.restricted else ''}: "
            f"{', '.join(match.kinds)}, last seen {datetime.fromtimestamp(match.last_at, UTC):%Y-%m-%d}"
            for match in matches[:SHOWN]
        ]
        more = f", of which {SHOWN} are shown" if len(matches) > SHOWN else ""
        accounts = "account" if len(matches) == 1 else "accounts"
        return (f"{name} shares hardware or an address with {len(matches)} {accounts}{more}:", *lines)

    def commands(self) -> list[BotCommand]:
        """Return the declaration of `!multi`."""
        return [
            BotCommand(
                name="multi",
                aliases=("hardware",),
                handler=self.multi,
                help="Lists other accounts that share hardware or an address with a player.",
                arguments=(Argument("user", ArgumentKind.USER),),
                permission=PERMISSION,
                audit="multi_check",
                hidden=True,
            )
        ]
