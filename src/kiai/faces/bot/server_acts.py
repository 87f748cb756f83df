"""Commands of developers about the whole server: `!maintenance`, `!registration`, `!shutdown`, `!blockip`,
`!unblockip`, `!debug`, `!reload`.

The services check the stored permissions, and write the audit rows.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from kiai.chat.bot import PERMANENT, Argument, ArgumentKind, BadArgument, BotCommand, CommandContext
from kiai.errors import Invalid
from kiai.faces.bot.acting import actor_of
from kiai.osu.durations import duration_text
from kiai.osu.texts import chat_text
from kiai.staff.address_blocks import AddressBlocks
from kiai.staff.debug_log import LASTS_S, DebugLog
from kiai.staff.live_settings import RELOADED, LiveSettings
from kiai.staff.maintenance import Maintenance
from kiai.staff.registration_switch import CHOICES, WORDS, RegistrationSwitch
from kiai.staff.shutdown import Shutdown

CANCEL: Final = "cancel"


@contextlib.contextmanager
def _misuse() -> Iterator[None]:
    """Turn an argument that the service rejects into the answer with the usage line."""
    try:
        yield
    except Invalid as error:
        raise BadArgument(f"{error}.") from error


class ServerActCommands:
    """Handlers of the commands."""

    def __init__(
        self,
        maintenance: Maintenance,
        registration: RegistrationSwitch,
        address_blocks: AddressBlocks,
        shutdown: Shutdown,
        debug_log: DebugLog,
        live_settings: LiveSettings,
    ) -> None:
        self._maintenance = maintenance
        self._registration = registration
        self._address_blocks = address_blocks
        self._shutdown = shutdown
        self._debug_log = debug_log
        self._live_settings = live_settings

    async def maintenance(self, context: CommandContext, state: str | None) -> Sequence[str]:
        """`!maintenance`."""
        if state is None:
            is_on = await self._maintenance.is_on(actor_of(context))
            return (f"Maintenance is {'on' if is_on else 'off'}.",)
        await self._maintenance.switch(actor_of(context), on=state == "on")
        if state == "on":
            return ("Maintenance is on: only staff can log in. Other players are logged out after their match.",)
        return ("Maintenance is off: everybody can log in.",)

    async def registration(self, context: CommandContext, state: str | None) -> Sequence[str]:
        """`!registration`."""
        if state is None:
            now = await self._registration.state(actor_of(context))
        else:
            now = await self._registration.switch(actor_of(context), state)
        return (f"Registration is {WORDS[now]}.",)

    async def block_address(
        self, context: CommandContext, address: str, duration: int | None, reason: str
    ) -> Sequence[str]:
        """`!blockip`."""
        with _misuse():
            block = await self._address_blocks.block(actor_of(context), address, reason, seconds=duration)
        length = "" if duration is None else f" for {duration_text(duration)}"
        return (f"{block.network} is blocked{length}: {chat_text(block.reason)}",)

    async def unblock_address(self, context: CommandContext, address: str, reason: str) -> Sequence[str]:
        """`!unblockip`."""
        with _misuse():
            block = await self._address_blocks.unblock(actor_of(context), address, reason)
        return (f"{block.network} is unblocked.",)

    async def shutdown(self, context: CommandContext, delay: int | None, reason: str | None) -> Sequence[str]:
        """`!shutdown`, confirmed."""
        if delay == PERMANENT:  # the value of `cancel`
            await self._shutdown.cancel(actor_of(context), reason or "")
            return ("The planned stop is cancelled. All players are notified.",)
        with _misuse():
            seconds = await self._shutdown.plan(actor_of(context), delay, reason or "")
        return (f"The server stops in {duration_text(seconds)}. All players are notified.",)

    async def before_shutdown(self, context: CommandContext, delay: int | None, reason: str | None) -> str:
        """Check `!shutdown` and return what it will do."""
        if delay == PERMANENT:
            await self._shutdown.check_cancel(actor_of(context))
            return "This cancels the planned stop."
        with _misuse():
            seconds = await self._shutdown.check(actor_of(context), delay)
        return f"This stops the server with all its workers in {duration_text(seconds)}."

    async def debug(self, context: CommandContext, state: str | None) -> Sequence[str]:
        """`!debug`."""
        if state is None:
            is_on = await self._debug_log.is_on(actor_of(context))
            return (f"Debug lines are {'on' if is_on else 'off'}.",)
        await self._debug_log.switch(actor_of(context), on=state == "on")
        if state == "on":
            return (f"All workers log debug lines for {duration_text(LASTS_S)}.",)
        return ("Debug lines are off.",)

    async def reload(self, context: CommandContext, what: str) -> Sequence[str]:
        """`!reload`."""
        done = await self._live_settings.reload(actor_of(context))
        changed = ", ".join(done.changed) or "nothing"
        lines = [f"The settings were read again. Changed: {changed}."]
        if done.need_restart:
            lines.append(f"These changes need a restart: {', '.join(done.need_restart)}.")
        return lines

    def commands(self) -> list[BotCommand]:
        """Return the declarations of the commands."""
        address, reason = Argument("address"), Argument("reason", ArgumentKind.REASON)
        on_or_off = Argument("state", ArgumentKind.CHOICE, optional=True, choices=("on", "off"))
        return [
            BotCommand(
                name="maintenance",
                aliases=("panic",),
                handler=self.maintenance,
                permission="server.maintenance",
                arguments=(on_or_off,),
                audit="maintenance",
                help="Lets only staff log in, and logs out the others after their match. Without on or off: the state.",
                hidden=True,
            ),
            BotCommand(
                name="registration",
                handler=self.registration,
                permission="settings.write",
                arguments=(Argument("state", ArgumentKind.CHOICE, optional=True, choices=CHOICES),),
                audit="registration",
                help="Lets everybody, people with an invite code or nobody register, or follows the setting again. "
                "Without a state: the state.",
                hidden=True,
            ),
            BotCommand(
                name="blockip",
                handler=self.block_address,
                permission="addresses.block",
                arguments=(address, Argument("duration", ArgumentKind.LENGTH, optional=True), reason),
                audit="ip_block",
                help="Refuses connections from an address or a network, for a time or without an end.",
                hidden=True,
            ),
            BotCommand(
                name="unblockip",
                handler=self.unblock_address,
                permission="addresses.block",
                arguments=(address, reason),
                audit="ip_unblock",
                help="Ends the block of an address or a network.",
                hidden=True,
            ),
            BotCommand(
                name="shutdown",
                aliases=("restart",),
                handler=self.shutdown,
                permission="server.shutdown",
                arguments=(
                    Argument("delay", ArgumentKind.LENGTH, optional=True, choices=(CANCEL,)),
                    Argument("reason", ArgumentKind.REASON, optional=True),
                ),
                audit="shutdown",
                help="Stops the server after 15 seconds or the given delay, or cancels that. Players are notified.",
                hidden=True,
                confirm=self.before_shutdown,
            ),
            BotCommand(
                name="debug",
                handler=self.debug,
                permission="server.debug",
                arguments=(on_or_off,),
                audit="debug",
                help="Logs debug lines for an hour, or ends that. Without on or off: the state.",
                hidden=True,
            ),
            BotCommand(
                name="reload",
                handler=self.reload,
                permission="settings.write",
                arguments=(Argument("what", ArgumentKind.CHOICE, choices=("settings",)),),
                audit="reload",
                help=f"Reads kiai.toml again and applies {', '.join(RELOADED)}; names the changes that need a restart.",
                hidden=True,
            ),
        ]
