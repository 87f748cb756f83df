"""The channels that have a row: their rights, and which of them a session joins at login."""

from collections.abc import Mapping

import msgspec

from kiai.chat import queries
from kiai.osu.privileges import effective
from kiai.storage.port import Database


class Channel(msgspec.Struct, frozen=True):
    """A channel of the database.

    `read_priv` and `write_priv`: masks of privileges. One of them is enough; 0 admits everybody.
    `moderated`: only staff may write.
    """

    name: str
    topic: str
    read_priv: int
    write_priv: int
    auto_join: bool
    moderated: bool


def may_read(channel: Channel, priv: int) -> bool:
    """Return whether an account with these stored privileges may join and read the channel."""
    return not channel.read_priv or channel.read_priv & effective(priv) != 0


def may_write(channel: Channel, priv: int) -> bool:
    """Return whether the account may write in the channel while the channel is not moderated."""
    return not channel.write_priv or channel.write_priv & effective(priv) != 0


class Channels:
    """The channels, cached in memory until `reload`, because every line needs one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_name: Mapping[str, Channel] = {}

    async def reload(self) -> None:
        """Read the rows. Without a first call there are no channels."""
        rows = await self._database.all(queries.CHANNELS)
        self._by_name = {
            name: Channel(name, topic, read_priv, write_priv, bool(auto_join), bool(moderated))
            for name, topic, read_priv, write_priv, auto_join, moderated in rows
        }

    def all(self) -> list[Channel]:
        """Return all channels that are not archived, the oldest first."""
        return list(self._by_name.values())

    def get(self, name: str) -> Channel | None:
        """Return the channel, or None. `name` includes the `#`."""
        return self._by_name.get(name)

    def readable(self, priv: int) -> list[Channel]:
        """Return the channels that an account with these privileges may join."""
        return [channel for channel in self._by_name.values() if may_read(channel, priv)]

    def auto_join(self, priv: int) -> list[Channel]:
        """Return the channels that a session with these privileges joins at login."""
        return [channel for channel in self.readable(priv) if channel.auto_join]
