"""Rooms, as packets: 26-28, 46, 48, 50, 53, 57, 58, 61, 66, 81, 91, 106 (docs/spec/multiplayer.md).

The room is shown the whole match once a change, whatever the number of facts, and so is the lobby, without password.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kiai.chat.model import MATCH, match_channel
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import Table
from kiai.multiplayer import facts
from kiai.multiplayer.model import players
from kiai.multiplayer.service import Invited, LetIn, Opened, PutOut, ScoreFrame, SeatGiven, Told
from kiai.osu.texts import chat_link
from kiai.realtime.port import LOBBY, Entry, match_topic, user_topic

CHAT: Final = MATCH
LOBBY_CHAT: Final = "#lobby"
TOPIC: Final = "Those who play in this match."


def _told(fact: Told) -> Sequence[Entry]:
    match_id, match = fact.match_id, fact.match
    entries: list[Entry] = []
    for one in fact.facts:
        encode = _OF_FACT.get(type(one))
        if encode is not None:
            entries += encode(fact, one)
    if match.closed:
        return [*entries, Entry(LOBBY, packets.match_dispose(match_id))]
    topics = [match_topic(match_id)] if any(one.in_room for one in fact.facts) else []
    topics += [LOBBY] if any(one.in_lobby for one in fact.facts) else []
    if topics:
        # Referees and tournament clients read the room's topic, too; the password goes to seated players only.
        update = packets.match_update(match_id, match, hide_password=True)
        entries += [Entry(topic, update) for topic in topics]
    return entries


def _left(told: Told, fact: facts.Left) -> list[Entry]:
    if fact.why == "left":
        return [Entry(user_topic(fact.user_id), packets.match_dispose(told.match_id))] if told.match.closed else []
    shown = (
        packets.match_dispose(told.match_id)
        if told.match.closed
        else packets.match_update(told.match_id, told.match, hide_password=True)
    )
    return [Entry(user_topic(fact.user_id), shown + packets.channel_kick(CHAT))]


def _host(told: Told, fact: facts.HostPassed) -> list[Entry]:
    return [Entry(user_topic(fact.user_id), packets.match_transfer_host())] if fact.user_id else []


def _password(told: Told, fact: facts.PasswordChanged) -> list[Entry]:
    packet = packets.match_change_password(fact.password)
    return [Entry(user_topic(user_id), packet) for user_id in players(told.match)]


def _started(told: Told, fact: facts.Started) -> list[Entry]:
    start = packets.match_start(told.match_id, told.match)
    return [Entry(user_topic(seat.user_id), start) for seat in fact.players]


def _all_loaded(told: Told, fact: facts.AllLoaded) -> list[Entry]:
    return [Entry(user_topic(user_id), packets.match_all_players_loaded()) for user_id in fact.user_ids]


def _skipped(told: Told, fact: facts.PlayerSkipped) -> list[Entry]:
    return [Entry(match_topic(told.match_id), packets.match_player_skipped(fact.slot))]


def _all_skipped(told: Told, fact: facts.AllSkipped) -> list[Entry]:
    return [Entry(match_topic(told.match_id), packets.match_skip())]


def _failed(told: Told, fact: facts.PlayerFailed) -> list[Entry]:
    return [Entry(match_topic(told.match_id), packets.match_player_failed(fact.slot))]


def _finished(told: Told, fact: facts.Finished) -> list[Entry]:
    return [Entry(user_topic(seat.user_id), packets.match_complete()) for seat in fact.players]


def _aborted(told: Told, fact: facts.Aborted) -> list[Entry]:
    # The first frees a client that still waits for others to load.
    both = packets.match_all_players_loaded() + packets.match_abort()
    return [Entry(user_topic(seat.user_id), both) for seat in fact.players]


_OF_FACT: Final[Mapping[type, Callable[[Told, Any], list[Entry]]]] = {
    facts.Left: _left,
    facts.HostPassed: _host,
    facts.PasswordChanged: _password,
    facts.Started: _started,
    facts.AllLoaded: _all_loaded,
    facts.PlayerSkipped: _skipped,
    facts.AllSkipped: _all_skipped,
    facts.PlayerFailed: _failed,
    facts.Finished: _finished,
    facts.Aborted: _aborted,
}


def _opened(fact: Opened) -> Sequence[Entry]:
    return [Entry(LOBBY, packets.match_new(fact.match_id, fact.match))]


def _frame(fact: ScoreFrame) -> Sequence[Entry]:
    return [Entry(match_topic(fact.match_id), packets.match_score_update(fact.payload, fact.slot))]


def _invited(fact: Invited) -> Sequence[Entry]:
    text = f"Come join my game: {chat_link(f'osump://{fact.match_id}/{fact.match.password}', fact.match.name)}."
    return [Entry(user_topic(fact.user_id), packets.match_invite(fact.by_name, text, fact.name, fact.by_id))]


def _put_out(fact: PutOut) -> Sequence[Entry]:
    return [Entry(user_topic(fact.user_id), packets.channel_kick(fact.channel))]


def _let_in(fact: LetIn) -> Sequence[Entry]:
    channel = match_channel(fact.match_id)
    tab = packets.channel_join_success(channel) + packets.channel_info(channel, TOPIC, fact.users)
    return [Entry(user_topic(fact.user_id), tab)]


def _seat_given(fact: SeatGiven) -> Sequence[Entry]:
    """As the client is answered that created or joined a room itself (docs/spec/multiplayer.md#create)."""
    tabs = packets.channel_join_success(CHAT) + packets.channel_info(CHAT, TOPIC, fact.users)
    if fact.was_in_lobby:
        tabs += packets.channel_kick(LOBBY_CHAT)
    return [Entry(user_topic(fact.user_id), tabs + packets.match_join_success(fact.match_id, fact.match))]


TABLE: Table = {
    PutOut: _put_out,
    LetIn: _let_in,
    SeatGiven: _seat_given,
    Told: _told,
    Opened: _opened,
    ScoreFrame: _frame,
    Invited: _invited,
}
