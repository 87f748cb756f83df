"""Tells players what happened in clans: lines in #announce, messages of the bot, events of the feed.

The outbox delivers each act at least once, after its commit. Nothing public names a hidden player.
"""

from collections.abc import Sequence
from typing import Final

from kiai.accounts import Accounts, Relationships
from kiai.chat.mail import Mail
from kiai.chat.service import Chat
from kiai.clans.model import CLANS_CHANGED, PRIVATE, Notice, notice_of
from kiai.errors import NotFound
from kiai.osu.texts import chat_name, chat_text
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.port import BOT_ID, Realtime
from kiai.storage.outbox import Outbox

CHANNEL: Final = "#announce"
DELIVERED_S: Final = 3_600.0
"""The time for which a repeated delivery is recognised."""
ANNOUNCED: Final = {"found": "founded", "disband": "disbanded"}
MOVES: Final = ("found", "join", "leave", "kick", "disband")
"""The kinds of acts that change who is in the channel of the clan."""


class ClanNotices:
    """Receives the acts in clans."""

    def __init__(
        self,
        accounts: Accounts,
        relationships: Relationships,
        chat: Chat,
        mail: Mail,
        realtime: Realtime,
        outbox: Outbox,
        *,
        invite_days: int,
    ) -> None:
        self._accounts = accounts
        self._relationships = relationships
        self._chat = chat
        self._mail = mail
        self._realtime = realtime
        self._invite_days = invite_days
        outbox.subscribe(CLANS_CHANGED, self.deliver)

    async def deliver(self, payloads: Sequence[str]) -> None:
        """Report each act once. The outbox calls this, possibly twice with the same acts."""
        for payload in payloads:
            notice = notice_of(payload)
            if notice.kind in MOVES:
                # Before the check for repetition: it reads the present clans, so repeating it does no harm.
                for user_id in (notice.player_id, *notice.members):
                    if user_id:
                        await self._chat.refresh_clan_channel(user_id)
            if await self._realtime.once(f"clan-notice:{notice.id}", DELIVERED_S):
                await self._publish(notice)

    async def _publish(self, notice: Notice) -> None:
        names = await self._accounts.names_of(sorted({i for i in (notice.player_id, notice.actor_id) if i}))
        if notice.kind not in PRIVATE and (not notice.player_id or notice.player_id in names):
            await self._realtime.append([feed_entry(_event(notice))])
        if notice.kind in ANNOUNCED:
            await self._announce(notice, names)
        await self._write_to_player(notice, names)

    async def _announce(self, notice: Notice, names: dict[int, str]) -> None:
        clan = f"[{chat_text(notice.tag)}] {chat_text(notice.name)}"
        author = notice.player_id or notice.actor_id
        try:
            if notice.by_staff or not author:
                await self._chat.post(CHANNEL, f"The clan {clan} was {ANNOUNCED[notice.kind]}.")
            elif author in names:
                await self._chat.act(CHANNEL, author, names[author], f"{ANNOUNCED[notice.kind]} {clan}")
        except NotFound:  # the operator has removed the channel
            return

    async def _write_to_player(self, notice: Notice, names: dict[int, str]) -> None:
        if notice.player_id not in names:
            return
        by = chat_name(names.get(notice.actor_id, "The staff"))
        clan = f"[{chat_text(notice.tag)}] {chat_text(notice.name)}"
        own = notice.player_id == notice.actor_id
        text = {
            "invite": f"{by} invites you to the clan {clan}. Type !clan join {chat_text(notice.tag)} within "
            f"{self._invite_days} {'day' if self._invite_days == 1 else 'days'} to join it.",
            "deny": f"The clan {clan} has denied your request.",
            "join": "" if own else f"{by} has accepted you. You are now a member of the clan {clan}.",
            "kick": f"You were removed from the clan {clan}.",
            "promote": f"You are now an officer of the clan {clan}.",
            "demote": f"You are now a member of the clan {clan} without an office.",
            "transfer": f"You are now the owner of the clan {clan}.",
            "inherit": f"You are now the owner of the clan {clan}.",
        }.get(notice.kind, "")
        if not text:
            return
        if notice.kind == "invite":
            _, blocked = await self._relationships.relations_of(notice.player_id)
            if notice.actor_id in blocked:
                return
        if await self._realtime.sessions_of(notice.player_id):
            await self._chat.notify(notice.player_id, names[notice.player_id], text)
        else:
            await self._mail.store(BOT_ID, notice.player_id, text, delivered=False)


def _event(notice: Notice) -> FeedEvent:
    data = {"clan_id": notice.clan_id, "kind": notice.kind, "tag": notice.tag, "name": notice.name}
    return FeedEvent("clan", notice.at_ms, notice.player_id or None, data=data)
