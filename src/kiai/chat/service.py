"""The service of chat (docs/spec/chat.md).

A session is a member of a channel if it follows the channel's topic: `chat_topic(name) in session.follows`. There is no
second list of members that could differ. A line is one entry, whatever the number of members. Readers who have blocked
its author skip it in their polls.

Channels of matches (`#multi_<id>`) and spectators (`#spec_<host>`) have no row and exist while they have members.
Clients call them `#multiplayer` and `#spectator`; the session determines which channel that is.

`channel` is always the server's name of a channel, `client_name` the name that a client uses.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from kiai.accounts import Accounts, Relationships, User, Viewer
from kiai.accounts.visibility import is_public
from kiai.chat import queries
from kiai.chat.channels import Channel, Channels, may_read, may_write
from kiai.chat.events import (
    ChannelCountChanged,
    ChannelMessageSent,
    ChannelOpened,
    ChannelRemoved,
    LinesErased,
    MemberJoined,
    MemberKicked,
    MemberLeft,
    PrivateMessageSent,
)
from kiai.chat.filtering import Verdict, WordFilter
from kiai.chat.journal import Journal
from kiai.chat.mail import Mail
from kiai.chat.model import (
    CLAN,
    CLIENT_ONLY,
    INSTANCE_TOPICS,
    MATCH,
    SPECTATOR,
    IsPrivate,
    JoinedChannel,
    MayRefer,
    OnMessage,
    SendResult,
    SendStatus,
    Silence,
    clan_channel,
    clean_line,
    is_clan_channel,
    is_instance,
    is_match_channel,
    is_report,
    match_channel,
    match_of,
    name_for_clients,
    referee_topic,
    silence_left_s,
    spectator_channel,
    split_lines,
    truncate_line,
)
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.osu.names import safe_name
from kiai.osu.privileges import STAFF, effective, may
from kiai.realtime.port import BOT_ID, Announce, Entry, Realtime, Session, SessionGone, chat_topic
from kiai.storage.port import Database

LOBBY: Final = "#lobby"
FLOOD_LINES: Final = 10
FLOOD_S: Final = 10.0
FLOOD_SILENCE_S: Final = 300
NAME_MAX: Final = 64
AWAY_MESSAGE_EVERY_S: Final = 24 * 3_600.0
OFFLINE_NOTICE_EVERY_S: Final = 86_400.0
COUNTS_EVERY_S: Final = 8.0
"""The interval of `publish_counts`."""

_STAFF: Final = Viewer(priv=STAFF)
_CHAT: Final = chat_topic("")


async def _nobody_may(session: Session, match_id: int) -> bool:
    return False


def _channels_with_row(session: Session) -> list[str]:
    channels = [topic.removeprefix(_CHAT) for topic in session.follows if topic.startswith(_CHAT)]
    return [channel for channel in channels if not is_instance(channel)]


def _clan_channels(session: Session) -> list[str]:
    channels = [topic.removeprefix(_CHAT) for topic in session.follows if topic.startswith(_CHAT)]
    return [channel for channel in channels if is_clan_channel(channel)]


def _is_in(session: Session, channel: str) -> bool:
    if chat_topic(channel) in session.follows:
        return True
    return is_match_channel(channel) and referee_topic(channel) in session.follows


class Chat:
    """Members of channels, lines in channels and private lines.

    `limits_on`: whether the flood rule applies. `announces_members`: whether it publishes who joins and leaves
    channels, which only IRC shows. `mark_active`: called with the id of a player who writes.
    """

    def __init__(
        self,
        database: Database,
        realtime: Realtime,
        channels: Channels,
        accounts: Accounts,
        relationships: Relationships,
        clock: Clock,
        announce: Announce,
        on_message: OnMessage,
        silence: Silence,
        limits_on: bool,
        *,
        mail: Mail,
        journal: Journal,
        bot_name: str,
        mark_active: Callable[[int], None] = lambda user_id: None,
        may_refer: MayRefer = _nobody_may,
        is_private: IsPrivate = lambda session, channel, text: False,
        announces_members: bool = False,
        word_filter: WordFilter,
    ) -> None:
        self.bot_name = bot_name
        self._database = database
        self._realtime = realtime
        self._channels = channels
        self._accounts = accounts
        self._relationships = relationships
        self._clock = clock
        self._announce = announce
        self._on_message = on_message
        self._silence = silence
        self._limits_on = limits_on
        self._mail = mail
        self._journal = journal
        self._mark_active = mark_active
        self._may_refer = may_refer
        self._is_private = is_private
        self._announces_members = announces_members
        self._word_filter = word_filter
        self._recount: set[str] = set()  # channels whose members changed since the last `publish_counts`

    # --- members

    async def topics_at_login(self, session: Session) -> list[str]:
        """Return the topics of the channels that a session joins at login."""
        if session.tournament:  # it shows only the channel of its match
            return []
        joined = self._channels.auto_join(session.priv)
        if not session.hidden:
            self._recount.update(channel.name for channel in joined)
        topics = [chat_topic(channel.name) for channel in joined]
        clan = await self.clan_channel_of(session.user_id)
        return topics if clan is None else [*topics, chat_topic(clan)]

    async def channels_at_login(self, session: Session) -> tuple[list[tuple[Channel, int]], list[tuple[Channel, int]]]:
        """Return the channels that the session has joined, and the others that it may join, with their user counts."""
        visible = [channel for channel in self._channels.readable(session.priv) if channel.name != LOBBY]
        counts = await self._realtime.followers([chat_topic(channel.name) for channel in visible])
        joined: list[tuple[Channel, int]] = []
        listed: list[tuple[Channel, int]] = []
        for channel, users in zip(visible, counts, strict=True):
            (joined if chat_topic(channel.name) in session.follows else listed).append((channel, users))
        for name in _clan_channels(session):
            [users] = await self._realtime.followers([chat_topic(name)])
            topic = self._topic_of(name)
            joined.append((Channel(CLAN, topic, read_priv=0, write_priv=0, auto_join=True, moderated=False), users))
        return joined, listed

    async def join(self, session: Session, client_name: str) -> JoinedChannel | None:
        """Join a channel (docs/spec/chat.md#joining-and-leaving). Return None for a tab of the client itself.

        Raises NotFound if the channel does not exist or the session may not join it, and SessionGone.
        """
        if client_name in CLIENT_ONLY:
            return None
        if is_match_channel(client_name):
            return await self._join_as_referee(session, client_name)
        channel = await self._resolve(session, client_name)
        if channel is None or not self._may_enter(session, channel):
            raise NotFound("channel")
        if not _is_in(session, channel):
            session = await self._follow(session, channel)
            self._recount.add(channel)
            # Checked again after the change: the player may have left the clan between the two.
            if is_clan_channel(channel) and await self.clan_channel_of(session.user_id) != channel:
                await self._unfollow(session, {chat_topic(channel)})
                raise NotFound("channel")
            await self._announce_members(MemberJoined, session, [channel])
        [users] = await self._realtime.followers([chat_topic(channel)])
        return JoinedChannel(session, name_for_clients(channel), self._topic_of(channel), users)

    async def _join_as_referee(self, session: Session, channel: str) -> JoinedChannel:
        """Join the channel of a match as a referee without a seat in it. Raises NotFound, SessionGone."""
        topic, match_id = referee_topic(channel), match_of(channel)
        if match_id is None or match_id == session.match_id:
            raise NotFound("channel")  # the client of a seated player calls it #multiplayer
        if topic not in session.follows:
            if not await self._may_refer(session, match_id):
                raise NotFound("channel")
            session = await self._realtime.change_session(
                session.token, lambda now: (msgspec.structs.replace(now, follows=now.follows | {topic}), ())
            )
            # Checked again after the change: between the two, the referee may have been removed or the match closed.
            # Their clean-up found no follower then, and nothing else would remove this one.
            if not await self._may_refer(session, match_id):
                await self._unfollow(session, {topic})
                raise NotFound("channel")
        [users] = await self._realtime.followers([chat_topic(channel)])
        return JoinedChannel(session, channel, self._topic_of(channel), users)

    async def _follow(self, session: Session, channel: str) -> Session:
        topic = chat_topic(channel)

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            # Checked in the rule, on the newest session: the player may have been kicked from the match meanwhile.
            if not self._may_enter(now, channel):
                raise NotFound("channel")
            return msgspec.structs.replace(now, follows=now.follows | {topic}), ()

        return await self._realtime.change_session(session.token, rule)

    async def part(self, session: Session, client_name: str) -> Session:
        """Leave a channel, if the session is a member (docs/spec/chat.md#joining-and-leaving). Raises SessionGone."""
        if not client_name.startswith("#") or client_name in CLIENT_ONLY:  # the client also sends it for private tabs
            return session
        channel = await self._resolve(session, client_name)
        if channel is None or not _is_in(session, channel):
            return session
        self._recount.add(channel)
        topic = referee_topic(channel) if is_match_channel(client_name) else chat_topic(channel)
        session = await self._unfollow(session, {topic})
        await self._announce_members(MemberLeft, session, [channel])
        return session

    async def refresh_clan_channel(self, user_id: int) -> None:
        """Move the sessions of a player into the channel of the present clan, and out of that of the last one."""
        channel = await self.clan_channel_of(user_id)
        for session in await self._realtime.sessions_of(user_id):
            left = [name for name in _clan_channels(session) if name != channel]
            joins_itself = not session.tournament and not session.irc
            is_new = channel is not None and joins_itself and not _is_in(session, channel)
            try:
                if left:
                    kicked = [MemberKicked(user_id, CLAN)]
                    await self._unfollow(session, {chat_topic(name) for name in left}, kicked)
                if channel is not None and is_new:
                    await self._follow(session, channel)
                    [users] = await self._realtime.followers([chat_topic(channel)])
                    opened = ChannelOpened(user_id, CLAN, self._topic_of(channel), users)
                    await self._realtime.append(self._entries([opened]))
            except SessionGone:
                continue
            self._recount.update([*left, *([] if channel is None else [channel])])

    async def clan_channel_of(self, user_id: int) -> str | None:
        """Return the channel of the player's clan, or None without a clan."""
        clan_id = await self._database.one(queries.CLAN_OF, user_id=user_id)
        return clan_channel(clan_id) if clan_id else None

    async def leave_unreadable(self, session: Session) -> Session:
        """Remove a session from the channels that its changed privileges no longer admit. Raises SessionGone.

        Its client closes their tabs.
        """
        lost = [
            channel.name
            for channel in self._channels.all()
            if chat_topic(channel.name) in session.follows and not may_read(channel, session.priv)
        ]
        if not lost:
            return session
        self._recount.update(lost)
        kicked = [MemberKicked(session.user_id, channel) for channel in lost]
        session = await self._unfollow(session, {chat_topic(channel) for channel in lost}, kicked)
        await self._announce_members(MemberLeft, session, lost)
        return session

    async def on_privileges_change(self, user_ids: Sequence[str]) -> None:
        """Call `leave_unreadable` for all sessions of these accounts. The outbox calls this, possibly twice."""
        for user_id in map(int, user_ids):
            for session in await self._realtime.sessions_of(user_id):
                try:
                    await self.leave_unreadable(session)
                except SessionGone:
                    continue

    async def on_channel_change(self, names: Sequence[str]) -> None:
        """Offer added and changed channels to all players, and take removed ones away.

        The outbox calls this on one worker, possibly twice. The other workers reload their channels every few seconds.
        """
        await self._channels.reload()
        for name in names:
            channel = self._channels.get(name)
            if channel is not None:
                [users] = await self._realtime.followers([chat_topic(name)])
                changed = ChannelCountChanged(name, name, channel.topic, users, channel.read_priv)
                await self._realtime.append(self._entries([changed]))
                continue
            # The packet first: it also removes the channel from the lists of players who are not in it.
            read_priv = await self._database.one(queries.READ_MASK, channel=name) or 0
            await self._realtime.append(self._entries([ChannelRemoved(name, read_priv)]))
            for session in await self._realtime.following(chat_topic(name)):
                try:
                    await self._unfollow(session, {chat_topic(name)})
                except SessionGone:
                    continue

    async def erase_lines(self, channel: str, user_id: int) -> None:
        """Remove a player's lines from the windows of the members of a channel. The stored lines stay."""
        await self._realtime.append(self._entries([LinesErased(channel, user_id)]))

    async def _unfollow(self, session: Session, topics: AbstractSet[str], events: Sequence[object] = ()) -> Session:
        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            return msgspec.structs.replace(now, follows=now.follows - topics), self._entries(events)

        return await self._realtime.change_session(session.token, rule)

    async def on_session_start(self, session: Session) -> None:
        """Publish the channels that a new session has joined."""
        await self._announce_members(MemberJoined, session, _channels_with_row(session))

    async def on_session_end(self, session: Session) -> None:
        """Schedule new user counts of the channels of an ended session."""
        if not session.hidden:  # no count includes hidden sessions
            # Not for channels of matches and spectators: in some clients a count opens a closed tab again.
            left = _channels_with_row(session)
            self._recount.update(left)
            await self._announce_members(MemberLeft, session, left, quits=True)

    async def _announce_members(
        self,
        kind: type[MemberJoined | MemberLeft],
        session: Session,
        channels: Sequence[str],
        *,
        quits: bool = False,
    ) -> None:
        """Publish that a player joined or left channels, except those in which another session of the player is."""
        if not self._announces_members or session.hidden:
            return
        others = [other for other in await self._realtime.sessions_of(session.user_id) if other.token != session.token]
        shown = tuple(
            channel
            for channel in channels
            if not is_instance(channel) and not any(chat_topic(channel) in other.follows for other in others)
        )
        if shown:
            given = {"quits": quits} if kind is MemberLeft else {}
            await self._realtime.append(self._entries([kind(session.user_id, session.name, shown, **given)]))

    async def publish_counts(self) -> None:
        """Publish the user counts of changed channels. A job calls this every 8 s: one packet per channel."""
        # Replaced before the first await: a change during the call belongs to the next one.
        changed, self._recount = sorted(self._recount), set()
        counts = await self._realtime.followers([chat_topic(channel) for channel in changed])
        events: list[object] = []
        for name, users in zip(changed, counts, strict=True):
            channel = self._channels.get(name)
            if channel is not None:
                events.append(ChannelCountChanged(name, name, channel.topic, users, channel.read_priv))
            elif is_instance(name) and users:
                events.append(
                    ChannelCountChanged(name, name_for_clients(name), self._topic_of(name), users, instance=True)
                )
        await self._realtime.append(self._entries(events))

    # --- lines

    async def say(self, session: Session, client_name: str, text: str, *, for_bot: bool = True) -> SendResult:
        """Send a line to a channel (docs/spec/chat.md#lines-in-a-channel). Raises SessionGone.

        Without `for_bot`, the line is no command of the bot.
        """
        if refusal := self._refusal(session):
            return refusal
        dropped = SendResult(session, SendStatus.DROPPED)
        text, was_cut = truncate_line(clean_line(text))
        if is_report(text):  # nobody else may read it, in any channel
            if await self._floods(session):
                return SendResult(await self._realtime.session(session.token), SendStatus.DROPPED)
            return await self._message_bot(session, text, was_cut=was_cut)
        if not text or client_name in CLIENT_ONLY or (session.tournament and client_name != MATCH):
            return dropped
        channel = await self._resolve(session, client_name)
        if channel is None or not _is_in(session, channel):
            return dropped
        row = self._channels.get(channel)
        private = for_bot and self._is_private(session, channel, text)
        # A hidden command, such as a report, also works where its author may only read.
        if not private and not self._may_write(session, channel, row):
            return dropped
        # After the checks above: only a line that would be published counts towards the flood limit.
        if await self._floods(session, in_match=is_match_channel(channel)):
            return SendResult(await self._realtime.session(session.token), SendStatus.DROPPED)
        if not private:
            verdict = self._word_filter.applied_to(text)
            if verdict.blocked:
                return await self._punished(session, verdict, SendStatus.FILTERED)
            shown, became_longer = truncate_line(verdict.text)
            was_cut = was_cut or became_longer
            # Published before the bot runs, so that clients show the command above its effects.
            self._mark_active(session.user_id)
            await self._publish(channel, [(session.user_id, session.name, shown)])
            if not verdict.now_playing:  # the bot reads the map in a /np
                text = shown
            if verdict.silence_s:
                return await self._punished(session, verdict, SendStatus.SAID)
        answer = await self._on_message(session, channel, text) if for_bot else None
        if answer is None:
            return SendResult(session, SendStatus.SAID, cut=was_cut)
        # The command may have changed the session.
        session = await self._realtime.session(session.token)
        lines = tuple(piece for line in answer.lines for piece in split_lines(line))
        if private:
            return SendResult(session, SendStatus.SAID, cut=was_cut, lines=lines)
        await self._publish(channel, self._bot_lines(lines))
        return SendResult(session, SendStatus.SAID, cut=was_cut)

    async def whisper(self, session: Session, to_name: str, text: str) -> SendResult:
        """Send a line to one player or to the bot (docs/spec/chat.md#private-messages). Raises SessionGone."""
        if refusal := self._refusal(session):
            return refusal
        dropped = SendResult(session, SendStatus.DROPPED)
        text, was_cut = truncate_line(clean_line(text))
        if not text or session.tournament:
            return dropped
        if await self._floods(session):
            return SendResult(await self._realtime.session(session.token), SendStatus.DROPPED)
        # The report window of the game writes to the open tab, which may be that of the reported player.
        if safe_name(to_name) == safe_name(self.bot_name) or is_report(text):
            return await self._message_bot(session, text, was_cut=was_cut)
        target = await self._account(to_name)
        # First of all checks: a block or a silence must not reveal that a hidden account exists.
        if target is None or (not is_public(target.priv) and not effective(session.priv) & STAFF):
            return SendResult(session, SendStatus.UNKNOWN)
        if target.id == session.user_id:
            return dropped
        result = await self._whisper(session, target, text)
        return msgspec.structs.replace(result, cut=was_cut and result.status in (SendStatus.SAID, SendStatus.STORED))

    async def write_from_site(self, writer: User, target: User, text: str) -> SendResult:
        """Send a private line that a player writes on the website, by the rules of `whisper`.

        The caller has checked that the writer may see the target, and that they are not the same player. The session of
        the result stands for the writer, who needs none.
        """
        _, blocked = await self._relationships.relations_of(writer.id)
        session = Session(
            token="",
            user_id=writer.id,
            login_time_ms=self._clock.now_ms(),
            name=writer.name,
            priv=writer.priv,
            hidden=not is_public(writer.priv),
            silenced_until_ms=writer.silenced_until_ms,
            blocked=frozenset(blocked),
        )
        if refusal := self._refusal(session):
            return refusal
        text, was_cut = truncate_line(clean_line(text))
        if not text or is_report(text) or await self._floods(session):  # nobody but staff reads a report
            return SendResult(session, SendStatus.DROPPED)
        return msgspec.structs.replace(await self._whisper(session, target, text), cut=was_cut)

    async def _whisper(self, session: Session, target: User, text: str) -> SendResult:
        """Apply the table in docs/spec/chat.md#private-messages, row by row."""
        sessions = await self._realtime.sessions_of(target.id)
        games = [session for session in sessions if not session.tournament]
        result = SendResult(session, SendStatus.DROPPED, target_id=target.id, target=target.name)
        if not await self._accepts(target, games, session):
            return msgspec.structs.replace(result, status=SendStatus.BLOCKED)
        if silence_left_s(target.silenced_until_ms, self._clock.now_ms()):
            return msgspec.structs.replace(result, status=SendStatus.TARGET_SILENCED)
        if sessions and not games:
            return result
        verdict = self._word_filter.applied_to(text)
        if verdict.blocked:
            return await self._punished(session, verdict, SendStatus.FILTERED)
        text, _ = truncate_line(verdict.text)
        result = await self._deliver(result, games, text)
        if verdict.silence_s:
            session = (await self._punished(session, verdict, result.status)).session
            return msgspec.structs.replace(result, session=session)
        return result

    async def _deliver(self, result: SendResult, games: Sequence[Session], text: str) -> SendResult:
        """Send a private line to the sessions of the target, or store it for the next login."""
        session = result.session
        self._mark_active(session.user_id)
        if not games:
            return await self._store_letter(result, text)
        # Stored before it is sent: a crash in between loses a delivery, but never a line that staff may have to read.
        await self._mail.store(session.user_id, result.target_id, text, delivered=True)
        await self._realtime.append(
            self._entries([PrivateMessageSent(result.target_id, result.target, session.user_id, session.name, text)])
        )
        return msgspec.structs.replace(
            result, status=SendStatus.SAID, away=await self._away_of(games[0], session.user_id)
        )

    async def _accepts(self, target: User, games: Sequence[Session], writer: Session) -> bool:
        """Return whether blocks and "friends only" allow the line. The target's own settings do not apply to staff."""
        if target.id in writer.blocked:
            return False
        if effective(writer.priv) & STAFF:
            return True
        if games:  # PERF: the session has a copy, which saves two queries per line
            friends, blocked = games[0].friends, games[0].blocked
            friends_only = games[0].friends_only_dms
        else:
            friends, blocked = await self._relationships.relations_of(target.id)
            friends_only = bool(await self._database.one(queries.FRIENDS_ONLY, user_id=target.id))
        return writer.user_id not in blocked and (not friends_only or writer.user_id in friends)

    async def _store_letter(self, result: SendResult, text: str) -> SendResult:
        session = result.session
        if not await self._mail.store(session.user_id, result.target_id, text, delivered=False):
            return msgspec.structs.replace(result, status=SendStatus.NOT_STORED)
        first = await self._realtime.once(f"offline:{session.token}:{result.target_id}", OFFLINE_NOTICE_EVERY_S)
        return msgspec.structs.replace(result, status=SendStatus.STORED, already_notified=not first)

    async def _message_bot(self, session: Session, text: str, *, was_cut: bool) -> SendResult:
        self._mark_active(session.user_id)
        answer = await self._on_message(session, "", text)
        if answer is not None:
            session = await self._realtime.session(session.token)
        lines = tuple(piece for line in answer.lines for piece in split_lines(line)) if answer is not None else ()
        return SendResult(session, SendStatus.SAID, target_id=BOT_ID, target=self.bot_name, cut=was_cut, lines=lines)

    async def set_away(self, session: Session, text: str) -> Session:
        """Set the away message, which each sender of a private line gets once; "" clears it. Raises SessionGone."""
        text, _ = truncate_line(clean_line(text))
        return await self._realtime.change_session(
            session.token, lambda now: (msgspec.structs.replace(now, away=text, aways=now.aways + 1), ())
        )

    async def _away_of(self, target: Session, user_id: int) -> str:
        if not target.away:
            return ""
        # `aways` counts the messages of the session: a new message is sent again to senders who got the old one.
        key = f"away:{target.token}:{target.aways}:{user_id}"
        if not await self._realtime.once(key, AWAY_MESSAGE_EVERY_S):
            return ""
        verdict = self._word_filter.applied_to(target.away)
        return "" if verdict.blocked else truncate_line(verdict.text)[0]

    # --- lines of the server

    def check_exists(self, channel: str) -> None:
        """Raise NotFound for the name of a public channel that does not exist."""
        if not is_instance(channel) and self._channels.get(channel) is None:
            raise NotFound("channel")

    async def post(self, channel: str, text: str) -> None:
        """Send a text to a channel in the bot's name, one line per line of the text. Raises NotFound.

        Lines in a match are not stored: they repeat its events, which the match history stores.
        """
        self.check_exists(channel)
        await self._publish(channel, self._bot_lines(split_lines(text)), stored=not is_instance(channel))

    async def act(self, channel: str, user_id: int, name: str, text: str) -> None:
        """Send an action (`/me`) to a channel in a player's name, e.g. a new first place. Raises NotFound."""
        if self._channels.get(channel) is None:
            raise NotFound("channel")
        await self._publish(channel, [(user_id, name, f"\x01ACTION {text}\x01")])

    async def notify(self, user_id: int, name: str, text: str) -> None:
        """Send a text to one player in the bot's name. It is lost if the player is offline."""
        events = [PrivateMessageSent(user_id, name, BOT_ID, self.bot_name, line) for line in split_lines(text)]
        await self._realtime.append(self._entries(events))

    def _bot_lines(self, lines: Sequence[str]) -> list[tuple[int, str, str]]:
        return [(BOT_ID, self.bot_name, line) for line in lines]

    async def _publish(self, channel: str, lines: Sequence[tuple[int, str, str]], *, stored: bool = True) -> None:
        row = self._channels.get(channel)
        needs = 0 if row is None else row.read_priv
        client_name = name_for_clients(channel)
        events = [ChannelMessageSent(channel, client_name, user_id, name, text, needs) for user_id, name, text in lines]
        await self._realtime.append(self._entries(events))
        for user_id, _, text in lines if stored else ():
            self._journal.add(channel, user_id, text)

    # --- rules

    def _refusal(self, session: Session) -> SendResult | None:
        if silence_s := silence_left_s(session.silenced_until_ms, self._clock.now_ms()):
            return SendResult(session, SendStatus.SILENCED, silence_s=silence_s)
        return SendResult(session, SendStatus.DROPPED) if session.hidden else None

    async def _resolve(self, session: Session, client_name: str) -> str | None:
        """Return the channel that a session means by a client's name, or None."""
        if client_name == MATCH:
            return match_channel(session.room_id) if session.room_id else None
        if client_name == SPECTATOR:
            if session.spectating:
                return spectator_channel(session.spectating)
            own = spectator_channel(session.user_id)  # a host's channel exists while it has spectators
            return own if await self._realtime.is_followed(chat_topic(own)) else None
        if client_name == CLAN:
            return await self.clan_channel_of(session.user_id)
        if is_clan_channel(client_name):  # the gateway of IRC uses the server's name
            return client_name if client_name == await self.clan_channel_of(session.user_id) else None
        if is_match_channel(client_name):
            # A referee without a seat uses the server's name, because it may be in several matches.
            return client_name if referee_topic(client_name) in session.follows else None
        return client_name if self._channels.get(client_name) is not None else None

    def _may_enter(self, session: Session, channel: str) -> bool:
        if is_match_channel(channel):
            return channel == match_channel(session.room_id)
        if is_clan_channel(channel):
            return True  # `_resolve` has read the player's clan
        row = self._channels.get(channel)
        if row is not None:
            return may_read(row, session.priv)
        return channel == spectator_channel(session.spectating or session.user_id)

    def _may_write(self, session: Session, channel: str, row: Channel | None) -> bool:
        if row is None:
            return is_instance(channel)
        if row.moderated and not may(session.priv, "chat.bypass_silence_of_channel"):
            return False
        return may_read(row, session.priv) and may_write(row, session.priv)

    async def _account(self, name: str) -> User | None:
        if not 0 < len(name) <= NAME_MAX or not name.isprintable():
            return None
        try:
            return await self._accounts.user(_STAFF, name=name)
        except NotFound:
            return None

    async def _floods(self, session: Session, *, in_match: bool = False) -> bool:
        """Count a line. Silence its author and return True if it exceeds the flood limit (docs/spec/chat.md#flood).

        The limit is 10 lines in any 10 s, 20 in the channel of a match.
        """
        # The IRC gateway has a limit of its own.
        if not self._limits_on or session.irc or effective(session.priv) & STAFF:
            return False
        # Each line occupies one of 10 once-keys for 10 s. A token bucket would admit 20 lines in its first 10 s.
        kind, places = ("match-line", 2 * FLOOD_LINES) if in_match else ("line", FLOOD_LINES)
        for place in range(places):
            if await self._realtime.once(f"{kind}:{session.user_id}:{place}", FLOOD_S):
                return False
        await self._silence(session.user_id, FLOOD_SILENCE_S, "flood")
        return True

    async def _punished(self, session: Session, verdict: Verdict, status: SendStatus) -> SendResult:
        """Silence the author of a line as the word filter demands, and return the result. Staff is not silenced."""
        if verdict.silence_s and not effective(session.priv) & STAFF:
            await self._silence(session.user_id, verdict.silence_s, f"word filter: {verdict.pattern}")
            if session.token:  # a line from the website has no session
                session = await self._realtime.session(session.token)
        return SendResult(session, status)

    def _topic_of(self, channel: str) -> str:
        row = self._channels.get(channel)
        return INSTANCE_TOPICS[name_for_clients(channel)] if row is None else row.topic

    def _entries(self, events: Sequence[object]) -> list[Entry]:
        return [entry for event in events for entry in self._announce(event)]
