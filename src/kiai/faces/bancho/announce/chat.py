"""What is said, and who may speak, as packets: 7, 65, 66, 92, 94.

See docs/spec/game-rules.md#silence and docs/spec/chat.md.
"""

from collections.abc import Sequence

from kiai.chat.model import (
    ChannelCounted,
    LineSaid,
    MemberKicked,
    Silenced,
    Unsilenced,
    Whispered,
    aside_topic,
    is_match_channel,
)
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import Table
from kiai.realtime.port import ONLINE, Entry, chat_topic, user_topic


def _line_said(fact: LineSaid) -> Sequence[Entry]:
    line = packets.message(fact.name, fact.text, fact.shown, fact.user_id)
    entries = [Entry(chat_topic(fact.channel), line, author=fact.user_id, needs=fact.needs)]
    if is_match_channel(fact.channel):
        aside = packets.message(fact.name, fact.text, fact.channel, fact.user_id)
        entries.append(Entry(aside_topic(fact.channel), aside, author=fact.user_id))
    return entries


def _whispered(fact: Whispered) -> Sequence[Entry]:
    # Without author: who may write to whom was decided before, and readers have nothing to filter.
    return [Entry(user_topic(fact.to_id), packets.message(fact.from_name, fact.text, fact.to_name, fact.from_id))]


def _counted(fact: ChannelCounted) -> Sequence[Entry]:
    info = packets.channel_info(fact.shown, fact.topic, fact.users)
    if fact.instance:
        return [Entry(chat_topic(fact.channel), info)]
    return [Entry(ONLINE, info, needs=fact.read_priv)]


def _kicked(fact: MemberKicked) -> Sequence[Entry]:
    return [Entry(user_topic(fact.user_id), packets.channel_kick(fact.shown))]


def _silenced(fact: Silenced) -> Sequence[Entry]:
    told = [Entry(user_topic(fact.user_id), packets.silence_end(fact.seconds))]
    if not fact.hidden:
        told.append(Entry(ONLINE, packets.user_silenced(fact.user_id)))
    return told


def _unsilenced(fact: Unsilenced) -> Sequence[Entry]:
    return [Entry(user_topic(fact.user_id), packets.silence_end(0))]


TABLE: Table = {
    LineSaid: _line_said,
    Whispered: _whispered,
    ChannelCounted: _counted,
    MemberKicked: _kicked,
    Silenced: _silenced,
    Unsilenced: _unsilenced,
}
