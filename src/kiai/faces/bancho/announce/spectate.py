"""Watching, as packets: 13, 14, 15, 22, 42, 43 and the channel of spectators (docs/spec/spectating.md)."""

from collections.abc import Sequence

from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import Table
from kiai.realtime.port import Entry, frames_topic, spectate_topic, user_topic
from kiai.spectating.service import (
    CannotWatch,
    ChannelClosed,
    ChannelOpened,
    Framed,
    SpectatorJoined,
    SpectatorLeft,
)

SHOWN = "#spectator"


def channel_info(users: int) -> bytes:
    """The channel of spectators, as a client's list shows it."""
    return packets.channel_info(SHOWN, "Those who watch, and the one they watch.", users)


def _joined(fact: SpectatorJoined) -> Sequence[Entry]:
    return [
        Entry(user_topic(fact.host_id), packets.spectator_joined(fact.user_id)),
        Entry(spectate_topic(fact.host_id), packets.fellow_spectator_joined(fact.user_id), author=fact.user_id),
    ]


def _left(fact: SpectatorLeft) -> Sequence[Entry]:
    return [
        Entry(user_topic(fact.host_id), packets.spectator_left(fact.user_id)),
        Entry(spectate_topic(fact.host_id), packets.fellow_spectator_left(fact.user_id), author=fact.user_id),
    ]


def _cannot_watch(fact: CannotWatch) -> Sequence[Entry]:
    packet = packets.cant_spectate(fact.user_id)
    return [Entry(user_topic(fact.host_id), packet), Entry(spectate_topic(fact.host_id), packet)]


def _framed(fact: Framed) -> Sequence[Entry]:
    return [Entry(frames_topic(fact.host_id), packets.spectate_frames(fact.bundle))]


def _opened(fact: ChannelOpened) -> Sequence[Entry]:
    return [Entry(user_topic(fact.host_id), packets.channel_join_success(SHOWN) + channel_info(fact.users))]


def _closed(fact: ChannelClosed) -> Sequence[Entry]:
    return [Entry(user_topic(fact.user_id), packets.channel_kick(SHOWN))]


TABLE: Table = {
    SpectatorJoined: _joined,
    SpectatorLeft: _left,
    CannotWatch: _cannot_watch,
    Framed: _framed,
    ChannelOpened: _opened,
    ChannelClosed: _closed,
}
