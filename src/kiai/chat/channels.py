"""The channels that have a row: who may read them, who may write, who is in them from log-in on."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from kiai.chat import queries
from kiai.errors import NotFound
from kiai.osu.privileges import effective
from kiai.storage.port import Database, Transaction


class Channel(msgspec.Struct, frozen=True):
    """A channel; masks hold privileges of which one is enough, 0 asks for none. `moderated`: only staff writes."""

    name: str
    topic: str
    read_priv: int
    write_priv: int
    auto_join: bool
    moderated: bool


def may_read(channel: Channel, priv: int) -> bool:
    """Whether an account with these stored privileges may be in the channel."""
    return not channel.read_priv or channel.read_priv & effective(priv) != 0


def may_write(channel: Channel, priv: int) -> bool:
    """Whether it may write there when the channel is not moderated."""
    return not channel.write_priv or channel.write_priv & effective(priv) != 0


class Channels:
    """The rows, kept in memory until `reload`: every line asks for one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_name: Mapping[str, Channel] = {}

    async def reload(self) -> None:
        """Reads the rows. Before the first time there are no channels."""
        rows = await self._database.all(queries.CHANNELS)
        self._by_name = {
            name: Channel(name, topic, read_priv, write_priv, bool(auto_join), bool(moderated))
            for name, topic, read_priv, write_priv, auto_join, moderated in rows
        }

    def all(self) -> list[Channel]:
        """Every channel that is not archived, the oldest first."""
        return list(self._by_name.values())

    def find(self, name: str) -> Channel | None:
        """The channel with this name, `#` included."""
        return self._by_name.get(name)

    def readable(self, priv: int) -> list[Channel]:
        """Those that an account with these privileges may be in."""
        return [channel for channel in self._by_name.values() if may_read(channel, priv)]

    def auto_join(self, priv: int) -> list[Channel]:
        """Those that it is in from log-in on."""
        return [channel for channel in self.readable(priv) if channel.auto_join]

    async def set_moderated(
        self, name: str, moderated: bool, also: Callable[[Transaction], Awaitable[None]] | None = None
    ) -> None:
        """From now on only staff writes there, or everybody may again; `also` (its audit row) is of the same
        transaction. Who may do this is the caller's rule. Raises NotFound."""

        async def body(tx: Transaction) -> None:
            if not await tx.run(queries.SET_MODERATED, channel=name, on=int(moderated)):
                raise NotFound("channel")
            if also is not None:
                await also(tx)

        await self._database.transaction(body)
        await self.reload()
