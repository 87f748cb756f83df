"""The verbs of chat (docs/spec/chat.md).

Being in a channel is following its topic: `chat_topic(name) in session.follows`, and there is no second list that could
disagree. A line costs one entry, however many are in the channel; who has blocked its author skips it when reading.

Channels of matches (`#multi_<id>`) and spectators (`#spec_<host>`) have no row and are there while somebody is in them.
Clients know them as `#multiplayer` and `#spectator`; which one is meant follows from the session.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from kiai.accounts import Accounts, Relationships, User, Viewer
from kiai.accounts.visibility import is_public
from kiai.chat import queries
from kiai.chat.channels import Channel, Channels, may_read, may_write
from kiai.chat.journal import Journal
from kiai.chat.mail import Mail
from kiai.chat.model import (
    CLIENT_ONLY,
    MATCH,
    SPECTATOR,
    ChannelCounted,
    Hear,
    IsPrivate,
    Joined,
    LineSaid,
    MayRefer,
    MemberKicked,
    Result,
    Silence,
    Spoken,
    Whispered,
    aside_topic,
    cleaned,
    cut,
    is_instance,
    is_match_channel,
    match_channel,
    match_of,
    pieces,
    shown_name,
    silence_left_s,
    spectator_channel,
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
AWAY_TOLD_FOR_S: Final = 24 * 3_600.0
NOTED_FOR_S: Final = 86_400.0
COUNTS_EVERY_S: Final = 8.0
"""How often `tell_counts` is to run."""
TOPICS: Final = {MATCH: "Those who play in this match.", SPECTATOR: "Those who watch, and the one they watch."}

_STAFF: Final = Viewer(priv=STAFF)
_CHAT: Final = chat_topic("")


async def _nobody_may(session: Session, match_id: int) -> bool:
    return False


def _is_in(session: Session, channel: str) -> bool:
    if chat_topic(channel) in session.follows:
        return True
    return is_match_channel(channel) and aside_topic(channel) in session.follows


class Chat:
    """Who is in which channel, who says what to whom, and what they are told about it."""

    def __init__(
        self,
        database: Database,
        realtime: Realtime,
        channels: Channels,
        accounts: Accounts,
        relationships: Relationships,
        clock: Clock,
        announce: Announce,
        hear: Hear,
        silence: Silence,
        limits_on: bool,
        *,
        mail: Mail,
        journal: Journal,
        bot_name: str,
        note_active: Callable[[int], None] = lambda user_id: None,
        may_refer: MayRefer = _nobody_may,
        is_private: IsPrivate = lambda session, channel, text: False,
    ) -> None:
        self.bot_name = bot_name
        self._database = database
        self._realtime = realtime
        self._channels = channels
        self._accounts = accounts
        self._relationships = relationships
        self._clock = clock
        self._announce = announce
        self._hear = hear
        self._silence = silence
        self._limits_on = limits_on
        self._mail = mail
        self._journal = journal
        self._note_active = note_active
        self._may_refer = may_refer
        self._is_private = is_private
        self._recount: set[str] = set()  # channels in which somebody came or went since the last counts

    # --- coming and going

    async def topics_at_login(self, session: Session) -> list[str]:
        """What a session follows from its log-in on: the channels that everybody is put into."""
        if session.tournament:
            return []
        joined = self._channels.auto_join(session.priv)
        if not session.hidden:
            self._recount.update(channel.name for channel in joined)
        return [chat_topic(channel.name) for channel in joined]

    async def channels_at_login(self, session: Session) -> tuple[list[tuple[Channel, int]], list[tuple[Channel, int]]]:
        """The channels that the session is in, and the others that it is shown, each with how many are in it."""
        shown = [channel for channel in self._channels.readable(session.priv) if channel.name != LOBBY]
        counts = await self._realtime.followers([chat_topic(channel.name) for channel in shown])
        joined: list[tuple[Channel, int]] = []
        listed: list[tuple[Channel, int]] = []
        for channel, users in zip(shown, counts, strict=True):
            (joined if chat_topic(channel.name) in session.follows else listed).append((channel, users))
        return joined, listed

    async def join(self, session: Session, shown: str) -> Joined | None:
        """The session enters a channel; None for a tab of the client's own (docs/spec/chat.md#joining-and-leaving).

        Raises NotFound when there is no such channel for this session, SessionGone.
        """
        if shown in CLIENT_ONLY:
            return None
        if is_match_channel(shown):
            return await self._join_aside(session, shown)
        channel = await self._resolved(session, shown)
        if channel is None or not self._may_enter(session, channel):
            raise NotFound("channel")
        if not _is_in(session, channel):
            session = await self._follow(session, channel)
            self._recount.add(channel)
        [users] = await self._realtime.followers([chat_topic(channel)])
        return Joined(session, shown_name(channel), self._topic_of(channel), users)

    async def _join_aside(self, session: Session, channel: str) -> Joined:
        """A referee enters the channel of a match without a seat in it. Raises NotFound, SessionGone."""
        topic, match_id = aside_topic(channel), match_of(channel)
        if match_id is None or match_id == session.match_id:
            raise NotFound("channel")  # who sits there knows it as #multiplayer
        if topic not in session.follows:
            if not await self._may_refer(session, match_id):
                raise NotFound("channel")
            session = await self._realtime.change_session(
                session.token, lambda now: (msgspec.structs.replace(now, follows=now.follows | {topic}), ())
            )
            if not await self._may_refer(session, match_id):  # removed, or the room closed, since it asked
                await self._unfollow(session, {topic})
                raise NotFound("channel")
        [users] = await self._realtime.followers([chat_topic(channel)])
        return Joined(session, channel, self._topic_of(channel), users)

    async def _follow(self, session: Session, channel: str) -> Session:
        topic = chat_topic(channel)

        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            if not self._may_enter(now, channel):  # put out of the room since it asked
                raise NotFound("channel")
            return msgspec.structs.replace(now, follows=now.follows | {topic}), ()

        return await self._realtime.change_session(session.token, rule)

    async def part(self, session: Session, shown: str) -> Session:
        """The session leaves a channel if it is in it (docs/spec/chat.md#joining-and-leaving). Raises SessionGone."""
        if not shown.startswith("#") or shown in CLIENT_ONLY:
            return session
        channel = await self._resolved(session, shown)
        if channel is None or not _is_in(session, channel):
            return session
        self._recount.add(channel)
        topic = aside_topic(channel) if is_match_channel(shown) else chat_topic(channel)
        return await self._unfollow(session, {topic})

    async def leave_unreadable(self, session: Session) -> Session:
        """The session's privileges changed: it leaves the channels that it may not read any more.

        Its client is told to close their tabs. Raises SessionGone.
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
        return await self._unfollow(session, {chat_topic(channel) for channel in lost}, kicked)

    async def follow_privileges(self, user_ids: Sequence[str]) -> None:
        """As `leave_unreadable`, for every session of these accounts: an outbox's receiver."""
        for user_id in map(int, user_ids):
            for session in await self._realtime.sessions_of(user_id):
                try:
                    await self.leave_unreadable(session)
                except SessionGone:
                    continue

    async def _unfollow(self, session: Session, topics: AbstractSet[str], told: Sequence[object] = ()) -> Session:
        def rule(now: Session) -> tuple[Session, Sequence[Entry]]:
            return msgspec.structs.replace(now, follows=now.follows - topics), self._entries(told)

        return await self._realtime.change_session(session.token, rule)

    async def depart(self, session: Session) -> None:
        """Clears up behind an ended session."""
        if not session.hidden:
            left = [topic.removeprefix(_CHAT) for topic in session.follows if topic.startswith(_CHAT)]
            # Spectators' and matches' own lists say who left; a count would open closed tabs again.
            self._recount.update(channel for channel in left if not is_instance(channel))

    async def tell_counts(self) -> None:
        """Tells how many are in each channel where that changed. A job's work: one packet a channel and 8 s."""
        changed, self._recount = sorted(self._recount), set()
        counts = await self._realtime.followers([chat_topic(channel) for channel in changed])
        facts: list[object] = []
        for name, users in zip(changed, counts, strict=True):
            channel = self._channels.find(name)
            if channel is not None:
                facts.append(ChannelCounted(name, name, channel.topic, users, channel.read_priv))
            elif is_instance(name) and users:
                facts.append(ChannelCounted(name, shown_name(name), self._topic_of(name), users, instance=True))
        await self._realtime.append(self._entries(facts))

    # --- saying something

    async def say(self, session: Session, shown: str, text: str) -> Spoken:
        """A line in a channel (docs/spec/chat.md#lines-in-a-channel). Raises SessionGone."""
        if refusal := self._refused(session):
            return refusal
        dropped = Spoken(session, Result.DROPPED)
        text, was_cut = cut(cleaned(text))
        if not text or shown in CLIENT_ONLY or (session.tournament and shown != MATCH):
            return dropped
        channel = await self._resolved(session, shown)
        if channel is None or not _is_in(session, channel):
            return dropped
        row = self._channels.find(channel)
        private = self._is_private(session, channel, text)
        # A command that nobody else reads is heard where its author may only read, such as a report.
        if not private and not self._may_write(session, channel, row):
            return dropped
        if await self._floods(session, in_match=is_match_channel(channel)):
            return Spoken(await self._realtime.session(session.token), Result.DROPPED)
        if not private:
            # Before the bot acts: what comes of a command is read after it.
            self._note_active(session.user_id)
            await self._put(channel, [(session.user_id, session.name, text)])
        answer = await self._hear(session, channel, text)
        if answer is None:
            return Spoken(session, Result.SAID, cut=was_cut)
        # What the bot was told to do may have changed the session.
        session = await self._realtime.session(session.token)
        lines = tuple(piece for line in answer.lines for piece in pieces(line))
        if private:
            return Spoken(session, Result.SAID, cut=was_cut, lines=lines)
        await self._put(channel, self._bot_says(lines))
        return Spoken(session, Result.SAID, cut=was_cut)

    async def whisper(self, session: Session, to_name: str, text: str) -> Spoken:
        """A line to one player, or to the bot (docs/spec/chat.md#private-messages). Raises SessionGone."""
        if refusal := self._refused(session):
            return refusal
        dropped = Spoken(session, Result.DROPPED)
        text, was_cut = cut(cleaned(text))
        if not text or session.tournament:
            return dropped
        if await self._floods(session):
            return Spoken(await self._realtime.session(session.token), Result.DROPPED)
        if safe_name(to_name) == safe_name(self.bot_name):
            return await self._tell_bot(session, text, was_cut=was_cut)
        target = await self._account(to_name)
        # Before a block or a silence could tell a hidden account from one that there is not.
        if target is None or (not is_public(target.priv) and not effective(session.priv) & STAFF):
            return Spoken(session, Result.UNKNOWN)
        if target.id == session.user_id:
            return dropped
        spoken = await self._whisper(session, target, text)
        return msgspec.structs.replace(spoken, cut=was_cut and spoken.result in (Result.SAID, Result.STORED))

    async def _whisper(self, session: Session, target: User, text: str) -> Spoken:
        """The rows of the table in docs/spec/chat.md#private-messages, in their order."""
        sessions = await self._realtime.sessions_of(target.id)
        games = [one for one in sessions if not one.tournament]
        about = Spoken(session, Result.DROPPED, target_id=target.id, target=target.name)
        if not await self._wants(target, games, session):
            return msgspec.structs.replace(about, result=Result.BLOCKED)
        if silence_left_s(target.silenced_until_ms, self._clock.now_ms()):
            return msgspec.structs.replace(about, result=Result.TARGET_SILENCED)
        if sessions and not games:
            return about
        self._note_active(session.user_id)
        if not games:
            return await self._leave_letter(about, text)
        await self._mail.keep(session.user_id, target.id, text, delivered=True)
        await self._realtime.append(
            self._entries([Whispered(target.id, target.name, session.user_id, session.name, text)])
        )
        return msgspec.structs.replace(about, result=Result.SAID, away=await self._away_of(games[0], session.user_id))

    async def _wants(self, target: User, games: Sequence[Session], writer: Session) -> bool:
        """Whether blocks and "friends only" let the writer through; those of the target let staff through."""
        if target.id in writer.blocked:
            return False
        if effective(writer.priv) & STAFF:
            return True
        if games:
            friends, blocked = games[0].friends, games[0].blocked
            friends_only = games[0].friends_only_dms
        else:
            friends, blocked = await self._relationships.relations_of(target.id)
            friends_only = bool(await self._database.one(queries.FRIENDS_ONLY, user_id=target.id))
        return writer.user_id not in blocked and (not friends_only or writer.user_id in friends)

    async def _leave_letter(self, about: Spoken, text: str) -> Spoken:
        session = about.session
        if not await self._mail.keep(session.user_id, about.target_id, text, delivered=False):
            return msgspec.structs.replace(about, result=Result.NOT_STORED)
        first = await self._realtime.once(f"offline:{session.token}:{about.target_id}", NOTED_FOR_S)
        return msgspec.structs.replace(about, result=Result.STORED, noted=not first)

    async def _tell_bot(self, session: Session, text: str, *, was_cut: bool) -> Spoken:
        self._note_active(session.user_id)
        answer = await self._hear(session, "", text)
        if answer is not None:
            session = await self._realtime.session(session.token)
        lines = tuple(piece for line in answer.lines for piece in pieces(line)) if answer is not None else ()
        return Spoken(session, Result.SAID, target_id=BOT_ID, target=self.bot_name, cut=was_cut, lines=lines)

    async def set_away(self, session: Session, text: str) -> Session:
        """What those are told who write to the player meanwhile, once each; "" for nothing. Raises SessionGone."""
        text, _ = cut(cleaned(text))
        return await self._realtime.change_session(
            session.token, lambda now: (msgspec.structs.replace(now, away=text, aways=now.aways + 1), ())
        )

    async def _away_of(self, target: Session, user_id: int) -> str:
        if not target.away:
            return ""
        key = f"away:{target.token}:{target.aways}:{user_id}"
        return target.away if await self._realtime.once(key, AWAY_TOLD_FOR_S) else ""

    # --- what the bot says of itself

    async def post(self, channel: str, text: str) -> None:
        """The bot's lines in a channel, by the channel's own name. Raises NotFound."""
        if not is_instance(channel) and self._channels.find(channel) is None:
            raise NotFound("channel")
        await self._put(channel, self._bot_says(pieces(text)))

    async def act(self, channel: str, user_id: int, name: str, text: str) -> None:
        """What a player did, as an action of the player's own. Raises NotFound for a channel that is none."""
        if self._channels.find(channel) is None:
            raise NotFound("channel")
        await self._put(channel, [(user_id, name, f"\x01ACTION {text}\x01")])

    async def tell(self, user_id: int, name: str, text: str) -> None:
        """The bot's lines to one player, by id and name; lost when it is not online."""
        facts = [Whispered(user_id, name, BOT_ID, self.bot_name, line) for line in pieces(text)]
        await self._realtime.append(self._entries(facts))

    def _bot_says(self, lines: Sequence[str]) -> list[tuple[int, str, str]]:
        return [(BOT_ID, self.bot_name, line) for line in lines]

    async def _put(self, channel: str, lines: Sequence[tuple[int, str, str]]) -> None:
        row = self._channels.find(channel)
        needs = 0 if row is None else row.read_priv
        shown = shown_name(channel)
        facts = [LineSaid(channel, shown, user_id, name, text, needs) for user_id, name, text in lines]
        await self._realtime.append(self._entries(facts))
        for user_id, _, text in lines:
            self._journal.note(channel, user_id, text)

    # --- the rules

    def _refused(self, session: Session) -> Spoken | None:
        if silence_s := silence_left_s(session.silenced_until_ms, self._clock.now_ms()):
            return Spoken(session, Result.SILENCED, silence_s=silence_s)
        return Spoken(session, Result.DROPPED) if session.hidden else None

    async def _resolved(self, session: Session, shown: str) -> str | None:
        """The channel that a session means by a name, or None."""
        if shown == MATCH:
            return match_channel(session.room_id) if session.room_id else None
        if shown == SPECTATOR:
            if session.spectating:
                return spectator_channel(session.spectating)
            own = spectator_channel(session.user_id)
            return own if await self._realtime.is_followed(chat_topic(own)) else None
        if is_match_channel(shown):
            # Referees may be in rooms where they do not sit, and then say which one they mean.
            return shown if aside_topic(shown) in session.follows else None
        return shown if self._channels.find(shown) is not None else None

    def _may_enter(self, session: Session, channel: str) -> bool:
        if is_match_channel(channel):
            return channel == match_channel(session.room_id)
        row = self._channels.find(channel)
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
        """Whether this is one line too many (docs/spec/chat.md#flood): its player is then silenced.

        Exactly 10 lines in any 10 s: each takes a place that is free again 10 s later. In matches there are 20.
        """
        if not self._limits_on or effective(session.priv) & STAFF:
            return False
        kind, places = ("match-line", 2 * FLOOD_LINES) if in_match else ("line", FLOOD_LINES)
        for place in range(places):
            if await self._realtime.once(f"{kind}:{session.user_id}:{place}", FLOOD_S):
                return False
        await self._silence(session.user_id, FLOOD_SILENCE_S, "flood")
        return True

    def _topic_of(self, channel: str) -> str:
        row = self._channels.find(channel)
        return TOPICS[shown_name(channel)] if row is None else row.topic

    def _entries(self, facts: Sequence[object]) -> list[Entry]:
        return [entry for fact in facts for entry in self._announce(fact)]
