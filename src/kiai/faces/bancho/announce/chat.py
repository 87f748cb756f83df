"""Packets for events of chat and silences: 7, 65, 66, 92, 94.

See docs/spec/game-rules.md#silence and docs/spec/chat.md.
"""

from collections.abc import Sequence

from kiai.chat.events import (
    ChannelCountChanged,
    ChannelMessageSent,
    ChannelOpened,
    ChannelRemoved,
    LinesErased,
    MemberKicked,
    PrivateMessageSent,
    Silenced,
    Unsilenced,
)
from kiai.chat.model import is_match_channel, referee_topic
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import Table
from kiai.realtime.port import ONLINE, Entry, chat_topic, user_topic


def _channel_message_sent(event: ChannelMessageSent) -> Sequence[Entry]:
    line = packets.message(event.name, event.text, event.client_name, event.user_id)
    entries = [Entry(chat_topic(event.channel), line, author=event.user_id, needs=event.needs)]
    # A referee without a seat knows the channel by another name, which is part of the packet.
    if is_match_channel(event.channel):
        for_referees = packets.message(event.name, event.text, event.channel, event.user_id)
        entries.append(Entry(referee_topic(event.channel), for_referees, author=event.user_id))
    return entries


def _private_message_sent(event: PrivateMessageSent) -> Sequence[Entry]:
    # Without author: `Chat` has checked blocks, and a reader's filter would also drop lines of staff whom it blocked.
    return [Entry(user_topic(event.to_id), packets.message(event.from_name, event.text, event.to_name, event.from_id))]


def _channel_count_changed(event: ChannelCountChanged) -> Sequence[Entry]:
    info = packets.channel_info(event.client_name, event.topic, event.users)
    # All matches share the client's name #multiplayer: in ONLINE every player would get the counts of all matches.
    if event.instance:
        return [Entry(chat_topic(event.channel), info)]
    return [Entry(ONLINE, info, needs=event.read_priv)]


def _channel_opened(event: ChannelOpened) -> Sequence[Entry]:
    body = packets.channel_join_success(event.client_name) + packets.channel_info(
        event.client_name, event.topic, event.users
    )
    return [Entry(user_topic(event.user_id), body)]


def _member_kicked(event: MemberKicked) -> Sequence[Entry]:
    return [Entry(user_topic(event.user_id), packets.channel_kick(event.client_name))]


def _channel_removed(event: ChannelRemoved) -> Sequence[Entry]:
    return [Entry(ONLINE, packets.channel_kick(event.client_name), needs=event.read_priv)]


def _lines_erased(event: LinesErased) -> Sequence[Entry]:
    # Clients remove all lines of a player whom this packet names. It does not silence anybody.
    erased = packets.user_silenced(event.user_id)
    entries = [Entry(chat_topic(event.channel), erased)]
    return [*entries, Entry(referee_topic(event.channel), erased)] if is_match_channel(event.channel) else entries


def _silenced(event: Silenced) -> Sequence[Entry]:
    entries = [Entry(user_topic(event.user_id), packets.silence_end(event.seconds))]
    if not event.hidden:  # the packet would reveal a restricted player
        entries.append(Entry(ONLINE, packets.user_silenced(event.user_id)))
    return entries


def _unsilenced(event: Unsilenced) -> Sequence[Entry]:
    return [Entry(user_topic(event.user_id), packets.silence_end(0))]


TABLE: Table = {
    ChannelMessageSent: _channel_message_sent,
    PrivateMessageSent: _private_message_sent,
    ChannelCountChanged: _channel_count_changed,
    ChannelOpened: _channel_opened,
    ChannelRemoved: _channel_removed,
    LinesErased: _lines_erased,
    MemberKicked: _member_kicked,
    Silenced: _silenced,
    Unsilenced: _unsilenced,
}
