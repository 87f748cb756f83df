"""Packets for spectating: 13, 14, 15, 22, 42, 43 and the channel of spectators (docs/spec/spectating.md)."""

from collections.abc import Sequence

from kiai.chat.model import INSTANCE_TOPICS, SPECTATOR
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import Table
from kiai.realtime.port import Entry, frames_topic, spectate_topic, user_topic
from kiai.spectating.events import (
    FramesReceived,
    SpectatorChannelClosed,
    SpectatorChannelOpened,
    SpectatorJoined,
    SpectatorLacksMap,
    SpectatorLeft,
)


def channel_info(users: int) -> bytes:
    """Encode the channel of spectators for the client's list."""
    return packets.channel_info(SPECTATOR, INSTANCE_TOPICS[SPECTATOR], users)


def _spectator_joined(event: SpectatorJoined) -> Sequence[Entry]:
    return [
        Entry(user_topic(event.host_id), packets.spectator_joined(event.user_id)),
        Entry(spectate_topic(event.host_id), packets.fellow_spectator_joined(event.user_id), author=event.user_id),
    ]


def _spectator_left(event: SpectatorLeft) -> Sequence[Entry]:
    return [
        Entry(user_topic(event.host_id), packets.spectator_left(event.user_id)),
        Entry(spectate_topic(event.host_id), packets.fellow_spectator_left(event.user_id), author=event.user_id),
    ]


def _spectator_lacks_map(event: SpectatorLacksMap) -> Sequence[Entry]:
    # Without author, so that the spectator itself receives it too.
    packet = packets.cant_spectate(event.user_id)
    return [Entry(user_topic(event.host_id), packet), Entry(spectate_topic(event.host_id), packet)]


def _frames_received(event: FramesReceived) -> Sequence[Entry]:
    # A topic of their own, because readers may skip frames but not the packets above.
    return [Entry(frames_topic(event.host_id), packets.spectate_frames(event.bundle))]


def _channel_opened(event: SpectatorChannelOpened) -> Sequence[Entry]:
    return [Entry(user_topic(event.host_id), packets.channel_join_success(SPECTATOR) + channel_info(event.users))]


def _channel_closed(event: SpectatorChannelClosed) -> Sequence[Entry]:
    return [Entry(user_topic(event.user_id), packets.channel_kick(SPECTATOR))]


TABLE: Table = {
    SpectatorJoined: _spectator_joined,
    SpectatorLeft: _spectator_left,
    SpectatorLacksMap: _spectator_lacks_map,
    FramesReceived: _frames_received,
    SpectatorChannelOpened: _channel_opened,
    SpectatorChannelClosed: _channel_closed,
}
