"""Packets for events of matches: 26-28, 46, 48, 50, 53, 57, 58, 61, 66, 81, 91, 106 (docs/spec/multiplayer.md).

Each change sends the state of the match once to its topic and once to the lobby, whatever the number of events, and
without the password.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kiai.chat.model import INSTANCE_TOPICS, MATCH, match_channel
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import Table
from kiai.multiplayer import events
from kiai.multiplayer.events import (
    MatchChanged,
    MatchOpened,
    PlayerInvited,
    RefereeChannelOpened,
    RoomChannelClosed,
    ScoreFrame,
    SeatAssigned,
)
from kiai.multiplayer.model import Match, players
from kiai.osu.texts import chat_link
from kiai.realtime.port import LOBBY, Entry, match_topic, user_topic

LOBBY_CHAT: Final = "#lobby"
TOPIC: Final = INSTANCE_TOPICS[MATCH]


def seat_packets(match_id: int, match: Match, users: int, *, was_in_lobby: bool) -> bytes:
    """Encode the packets for a player who got a seat: the channel of the match with its user count, and the match.

    See docs/spec/multiplayer.md#create.
    """
    # The channel first: clients open its tab within the screen of the match.
    channel = packets.channel_join_success(MATCH) + packets.channel_info(MATCH, TOPIC, users)
    if was_in_lobby:
        channel += packets.channel_kick(LOBBY_CHAT)
    return channel + packets.match_join_success(match_id, match)


def _match_changed(event: MatchChanged) -> Sequence[Entry]:
    match_id, match = event.match_id, event.match
    entries: list[Entry] = []
    for part in event.events:
        encode = _ENCODERS.get(type(part))
        if encode is not None:
            entries += encode(event, part)
    if match.closed:
        return [*entries, Entry(LOBBY, packets.match_dispose(match_id))]
    topics = [match_topic(match_id)] if any(part.in_room for part in event.events) else []
    topics += [LOBBY] if any(part.in_lobby for part in event.events) else []
    if topics:
        # Referees and tournament clients also follow the topic of the match, but only seated players may have the
        # password.
        update = packets.match_update(match_id, match, hide_password=True)
        entries += [Entry(topic, update) for topic in topics]
    return entries


def _left(change: MatchChanged, event: events.Left) -> list[Entry]:
    # A player who leaves has closed the screen already. Only a kicked one needs the packets that close it.
    if event.why == "left":
        return [Entry(user_topic(event.user_id), packets.match_dispose(change.match_id))] if change.match.closed else []
    state = (
        packets.match_dispose(change.match_id)
        if change.match.closed
        else packets.match_update(change.match_id, change.match, hide_password=True)
    )
    return [Entry(user_topic(event.user_id), state + packets.channel_kick(MATCH))]


def _host(change: MatchChanged, event: events.HostPassed) -> list[Entry]:
    return [Entry(user_topic(event.user_id), packets.match_transfer_host())] if event.user_id else []


def _password(change: MatchChanged, event: events.PasswordChanged) -> list[Entry]:
    packet = packets.match_change_password(event.password)
    return [Entry(user_topic(user_id), packet) for user_id in players(change.match)]


def _started(change: MatchChanged, event: events.Started) -> list[Entry]:
    # To each player instead of the topic: seated players who do not play, and referees, must not load the map.
    start = packets.match_start(change.match_id, change.match)
    return [Entry(user_topic(seat.user_id), start) for seat in event.players]


def _all_loaded(change: MatchChanged, event: events.AllLoaded) -> list[Entry]:
    return [Entry(user_topic(user_id), packets.match_all_players_loaded()) for user_id in event.user_ids]


def _skipped(change: MatchChanged, event: events.PlayerSkipped) -> list[Entry]:
    return [Entry(match_topic(change.match_id), packets.match_player_skipped(event.slot))]


def _all_skipped(change: MatchChanged, event: events.AllSkipped) -> list[Entry]:
    return [Entry(match_topic(change.match_id), packets.match_skip())]


def _failed(change: MatchChanged, event: events.PlayerFailed) -> list[Entry]:
    return [Entry(match_topic(change.match_id), packets.match_player_failed(event.slot))]


def _finished(change: MatchChanged, event: events.Finished) -> list[Entry]:
    return [Entry(user_topic(seat.user_id), packets.match_complete()) for seat in event.players]


def _aborted(change: MatchChanged, event: events.Aborted) -> list[Entry]:
    # The first packet ends the wait of a client that has loaded the map before the others.
    both = packets.match_all_players_loaded() + packets.match_abort()
    return [Entry(user_topic(seat.user_id), both) for seat in event.players]


_ENCODERS: Final[Mapping[type, Callable[[MatchChanged, Any], list[Entry]]]] = {
    events.Left: _left,
    events.HostPassed: _host,
    events.PasswordChanged: _password,
    events.Started: _started,
    events.AllLoaded: _all_loaded,
    events.PlayerSkipped: _skipped,
    events.AllSkipped: _all_skipped,
    events.PlayerFailed: _failed,
    events.Finished: _finished,
    events.Aborted: _aborted,
}


def _match_opened(event: MatchOpened) -> Sequence[Entry]:
    return [Entry(LOBBY, packets.match_new(event.match_id, event.match))]


def _score_frame(event: ScoreFrame) -> Sequence[Entry]:
    return [Entry(match_topic(event.match_id), packets.match_score_update(event.payload, event.slot))]


def _player_invited(event: PlayerInvited) -> Sequence[Entry]:
    text = f"Come join my game: {chat_link(f'osump://{event.match_id}/{event.match.password}', event.match.name)}."
    return [Entry(user_topic(event.user_id), packets.match_invite(event.by_name, text, event.name, event.by_id))]


def _room_channel_closed(event: RoomChannelClosed) -> Sequence[Entry]:
    return [Entry(user_topic(event.user_id), packets.channel_kick(event.channel))]


def _referee_channel_opened(event: RefereeChannelOpened) -> Sequence[Entry]:
    channel = match_channel(event.match_id)
    tab = packets.channel_join_success(channel) + packets.channel_info(channel, TOPIC, event.users)
    return [Entry(user_topic(event.user_id), tab)]


def _seat_assigned(event: SeatAssigned) -> Sequence[Entry]:
    seated = seat_packets(event.match_id, event.match, event.users, was_in_lobby=event.was_in_lobby)
    return [Entry(user_topic(event.user_id), seated)]


TABLE: Table = {
    RoomChannelClosed: _room_channel_closed,
    RefereeChannelOpened: _referee_channel_opened,
    SeatAssigned: _seat_assigned,
    MatchChanged: _match_changed,
    MatchOpened: _match_opened,
    ScoreFrame: _score_frame,
    PlayerInvited: _player_invited,
}
