"""Commands about channels: JOIN, PART, NAMES, LIST, TOPIC, MODE and WHO."""

import itertools
from typing import Final

from kiai.chat.channels import Channel, Channels, may_read
from kiai.chat.history import ChannelHistory
from kiai.chat.model import (
    CLAN,
    INSTANCE_TOPICS,
    is_clan_channel,
    is_match_channel,
    match_of,
    referee_topic,
    split_action,
    time_of_line,
)
from kiai.chat.service import Chat
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.faces.irc.connection import Connection
from kiai.faces.irc.hub import Hub
from kiai.faces.irc.names import BOT_NICK, ROOM, nick_of, room_of
from kiai.multiplayer.model import Match
from kiai.multiplayer.rooms import MatchChannels
from kiai.osu.privileges import STAFF, effective
from kiai.realtime.port import Realtime, Session, chat_topic

TARGETS_MAX: Final = 20
"""Channels or nicks in one command; further ones are ignored."""
ROOM_TOPIC: Final = "multiplayer game #{number}"  # tools take the number for links into the game


class ChannelCommands:
    """The commands, and the state of a connection in its channels."""

    def __init__(
        self,
        hub: Hub,
        chat: Chat,
        channels: Channels,
        match_channels: MatchChannels,
        realtime: Realtime,
        clock: Clock,
        history: ChannelHistory,
        *,
        history_lines: int,
    ) -> None:
        self._hub = hub
        self._history = history
        self._history_lines = history_lines
        self._chat = chat
        self._channels = channels
        self._match_channels = match_channels
        self._realtime = realtime
        self._started_s = clock.now_ms() // 1000

    # --- joining and leaving

    async def join(self, connection: Connection, params: tuple[str, ...]) -> None:
        """JOIN."""
        if params[0] == "0":  # leave all channels
            await self.part(connection, (",".join(connection.joined.values()),))
            return
        for name in _targets(params[0]):
            await self._join(connection, name)

    async def _join(self, connection: Connection, name: str) -> None:
        channel = await self._server_name(connection, name)
        if channel in connection.joined:
            return
        session = await self._hub.refresh(connection)
        try:
            joined = None if channel is None else await self._chat.join(session, channel)
        except NotFound:
            joined = None
        if channel is None or joined is None:  # one answer for an unknown channel and for one that is not allowed
            connection.reply("403", name[:64] or "*", text=f"No such channel {name[:64]}")
            return
        connection.session = joined.session
        await self._show(connection, channel, await self._shown_name(channel))

    async def part(self, connection: Connection, params: tuple[str, ...]) -> None:
        """PART."""
        for name in _targets(params[0]):
            channel = self.joined_as(connection, name)
            if channel is None:
                connection.reply("442", name[:64] or "*", text="You're not on that channel")
                continue
            shown = self._hub.leave(connection, channel)
            connection.session = await self._chat.part(await self._hub.refresh(connection), channel)
            connection.send(f":{connection.names.mask(connection.nick)} PART :{shown}")

    async def join_refereed(self, connection: Connection) -> None:
        """Join the channels of the matches that the player referees, at the login."""
        session = connection.known
        for _, match in await self._realtime.matches(Match):
            created = match.by_command and match.created_by == session.user_id
            if created or any(user_id == session.user_id for user_id, _ in match.referees):
                await self._join(connection, f"{ROOM}{match.history_id}")

    def noticed(self, connection: Connection, session: Session) -> list[str]:
        """Register the channels that a command has opened for the session. Return them; `show` tells the client."""
        connection.session = session
        opened = [
            f"#{topic.removeprefix('chat:#').removesuffix('/referees')}"
            for topic in sorted(session.follows)
            if topic.startswith("chat:#multi_")
        ]
        return [channel for channel in opened if channel not in connection.joined]

    async def show_new(self, connection: Connection, opened: list[str]) -> None:
        """Tell the client about channels that a command has opened."""
        for channel in opened:
            await self._show(connection, channel, await self._shown_name(channel))

    async def _show(self, connection: Connection, channel: str, shown: str) -> None:
        """Add the connection to the channel, and send JOIN, MODE, 332, 333, 353 and 366."""
        if not self._hub.join(connection, channel, shown):
            return
        names, nick = connection.names, connection.nick
        connection.send(
            f":{names.mask(nick)} JOIN :{shown}",
            f":{BOT_NICK}!cho@{names.server} MODE {shown} +v {nick}",
        )
        # After JOIN: a line of the channel may arrive while the topic is read.
        topic, since_s = await self._topic(channel)
        connection.reply("332", shown, text=topic)
        connection.reply("333", shown, f"{BOT_NICK}!{BOT_NICK}@{names.server}", str(since_s))
        await self._names(connection, channel, shown)
        await self._replay(connection, channel, shown)

    async def _replay(self, connection: Connection, channel: str, shown: str) -> None:
        """Send the latest lines of a public channel, each with its time.

        Not to chat bots, and not in the channels of matches, because tools would take old lines for new ones.
        """
        if not self._history_lines or connection.chat_bot or self._channels.get(channel) is None:
            return
        blocked = connection.known.blocked
        for line in await self._history.latest(channel, self._history_lines, but_of=blocked):
            head, text, end = split_action(line.text)
            at = time_of_line(line.at_ms)
            connection.message(line.user_id, line.name, shown, f"{head}[{at}] {text}{end}")

    # --- what a channel is

    def joined_as(self, connection: Connection, name: str) -> str | None:
        """Return the server's name of a channel in which the connection is, or None."""
        wanted = name.lower()
        return next((channel for channel, shown in connection.joined.items() if shown.lower() == wanted), None)

    async def _server_name(self, connection: Connection, name: str) -> str | None:
        """Return the server's name of a channel that exists, or None."""
        if (joined := self.joined_as(connection, name)) is not None:
            return joined
        if (room := room_of(name)) is not None:
            return await self._match_channels.channel_of(room)
        if name.lower() == CLAN:
            return await self._chat.clan_channel_of(connection.user_id)
        row = self.row(name)
        return None if row is None else row.name

    def row(self, name: str) -> Channel | None:
        """Return the channel of the database with this name, in any case."""
        found = self._channels.get(name)
        if found is None:
            found = next((row for row in self._channels.all() if row.name.lower() == name.lower()), None)
        return found

    def readable_row(self, session: Session, name: str) -> Channel | None:
        """Return the channel of the database if the session may read it."""
        found = self.row(name)
        return found if found is not None and may_read(found, session.priv) else None

    async def _shown_name(self, channel: str) -> str:
        if is_clan_channel(channel):
            return CLAN
        history_id = await self._match_channels.history_id_of(channel) if is_match_channel(channel) else None
        return channel if history_id is None else f"{ROOM}{history_id}"

    async def _topic(self, channel: str) -> tuple[str, int]:
        """Return the topic, and the unix time in seconds since when the channel has it."""
        row = self._channels.get(channel)
        if row is not None:
            return row.topic, self._started_s
        if is_clan_channel(channel):
            return INSTANCE_TOPICS[CLAN], self._started_s
        number = match_of(channel)
        match = None if number is None else await self._realtime.match(number, Match)
        since_s = self._started_s if match is None else match.created_at_ms // 1000
        return ROOM_TOPIC.format(number=number), since_s

    async def members(self, channel: str) -> list[Session]:
        """Return the visible members: of a match, only those who are connected by IRC."""
        in_match = is_match_channel(channel)
        topic = referee_topic(channel) if in_match else chat_topic(channel)
        found = await self._realtime.following(topic)
        shown = [session for session in found if not session.hidden and (session.irc or not in_match)]
        # A player with the game and IRC is shown once, as connected by IRC.
        return list({session.user_id: session for session in sorted(shown, key=lambda each: each.irc)}.values())

    # --- lists

    async def names(self, connection: Connection, params: tuple[str, ...]) -> None:
        """NAMES."""
        for name in _targets(params[0] if params else ""):
            channel = await self._known_channel(connection, name)
            if channel is None:
                connection.reply("366", name[:64] or "*", text="End of /NAMES list.")
            else:
                await self._names(connection, channel, await self._shown_name(channel))
        if not params:
            connection.reply("366", "*", text="End of /NAMES list.")

    async def _names(self, connection: Connection, channel: str, shown: str) -> None:
        members = await self.members(channel)
        words = itertools.chain([f"@{BOT_NICK}"], (f"{_mark(member)}{nick_of(member.name)}" for member in members))
        most = 400 - len(shown) - len(connection.nick) - 40
        await connection.words("353", "=", shown, words=words, most=most)
        connection.reply("366", shown, text="End of /NAMES list.")

    async def _known_channel(self, connection: Connection, name: str) -> str | None:
        """Return the server's name of a channel whose members the connection may see, or None."""
        if (joined := self.joined_as(connection, name)) is not None:
            return joined
        row = self.readable_row(connection.known, name)
        return None if row is None else row.name

    async def who(self, connection: Connection, name: str) -> None:
        """WHO of a channel."""
        channel = await self._known_channel(connection, name)
        if channel is not None:
            names = connection.names
            connection.reply("352", name, "cho", names.host, names.server, BOT_NICK, "H@", text=f"0 {BOT_NICK}")
            members = await self.members(channel)
            await connection.send_all(_who_line(connection, name, member) for member in members)
        connection.reply("315", name, text="End of /WHO list.")

    async def list_all(self, connection: Connection, params: tuple[str, ...]) -> None:
        """LIST."""
        wanted = {name.lower() for name in _targets(params[0])} if params else None
        rows = [
            row
            for row in self._channels.readable(connection.known.priv)
            if wanted is None or row.name.lower() in wanted
        ]
        counts = await self._realtime.followers([chat_topic(row.name) for row in rows]) if rows else []
        connection.reply("321", "Channel", text="Users  Name")
        for row, users in zip(rows, counts, strict=True):
            connection.reply("322", row.name, str(users), text=row.topic)
        connection.reply("323", text="End of /LIST")

    async def topic(self, connection: Connection, params: tuple[str, ...]) -> None:
        """TOPIC: shows it; nobody changes it by IRC."""
        channel = await self._known_channel(connection, params[0])
        if channel is None:
            connection.reply("403", params[0][:64], text=f"No such channel {params[0][:64]}")
        elif len(params) > 1:
            connection.reply("482", params[0], text="You're not channel operator")
        else:
            topic, since_s = await self._topic(channel)
            if not topic:
                connection.reply("331", params[0], text="No topic is set")
                return
            connection.reply("332", params[0], text=topic)
            who = f"{BOT_NICK}!{BOT_NICK}@{connection.names.server}"
            connection.reply("333", params[0], who, str(since_s))

    async def mode(self, connection: Connection, params: tuple[str, ...]) -> None:
        """MODE of a channel: shows it; nobody changes it by IRC."""
        channel = await self._known_channel(connection, params[0])
        if channel is None:
            connection.reply("403", params[0][:64], text=f"No such channel {params[0][:64]}")
        elif len(params) > 1 and params[1].lstrip("+") == "b":  # clients ask for the list of bans
            connection.reply("368", params[0], text="End of channel ban list")
        elif len(params) > 1:
            connection.reply("482", params[0], text="You're not channel operator")
        else:
            _, since_s = await self._topic(channel)
            connection.reply("324", params[0], "+nt")
            connection.reply("329", params[0], str(since_s))

    def channels_of(self, asker: Connection, sessions: list[Session]) -> list[str]:
        """Return the channels of a player that the asker may know."""
        topics = frozenset[str]().union(*(session.follows for session in sessions))
        rows = [row.name for row in self._channels.readable(asker.known.priv) if chat_topic(row.name) in topics]
        shared = [
            shown
            for channel, shown in asker.joined.items()
            if is_match_channel(channel) and referee_topic(channel) in topics
        ]
        return rows + shared


def _targets(text: str) -> list[str]:
    return list(dict.fromkeys(name for name in text.split(",") if name))[:TARGETS_MAX]


def _who_line(asker: Connection, channel: str, member: Session) -> str:
    names, nick = asker.names, nick_of(member.name)
    state = f"{'G' if member.away else 'H'}{_mark(member)}"
    return asker.numeric("352", channel, "cho", names.host, names.server, nick, state, text=f"0 {member.name}")


def _mark(session: Session) -> str:
    if effective(session.priv) & STAFF:
        return "@"
    return "+" if session.irc else ""
