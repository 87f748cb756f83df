"""The work budget: a price for each packet, and a budget for each player.

A unit is about 20 us of the event loop, or a part of an entry in another player's topic. The prices guarantee two
things:

- The packets of one player use at most about `UNITS_PER_S` units per second.
- A packet that appends an entry to a topic of other players costs at least `APPENDING` units. Every honest client polls
  within 60 seconds. In that time one player appends at most (BURST + 60 * UNITS_PER_S) / APPENDING = 812 entries to a
  topic. That is less than the smallest bound of a topic whose readers must not miss entries (`realtime.port.BOUNDS`):
  1,024 in the topic of a host's spectators, and at least 2,048 in all others. Frames of a running match are cheaper,
  but their topic has twice that bound.

Packets beyond the budget are dropped, and the player gets a notification. Leaving is always possible. The limit on
requests in `app.py` covers the cost of reading a body.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from kiai.faces.bancho.packets import ClientPacket

UNITS_PER_S: Final = 100
BURST: Final = 500
READING: Final = 2  # a read of shared state, with a reply only to the player
APPENDING: Final = 8  # an entry in a topic that other players follow
STORING: Final = 12  # a write or several reads in the database
IDS_A_UNIT: Final = 8
YIELD_UNITS: Final = 50  # after this work, about 1 ms, the event loop serves other requests

PRICES: Final[Mapping[int, int]] = {
    # Cheap, because joining has paid for leaving, and a repeated packet of this kind changes nothing.
    ClientPacket.LOGOUT: READING,
    ClientPacket.PART_MATCH: READING,
    ClientPacket.STOP_SPECTATING: READING,
    ClientPacket.PART_LOBBY: READING,
    ClientPacket.CHANNEL_PART: READING,
    ClientPacket.REQUEST_STATUS_UPDATE: READING,
    ClientPacket.RECEIVE_UPDATES: READING,
    ClientPacket.USER_STATS_REQUEST: READING,
    ClientPacket.USER_PRESENCE_REQUEST: READING,
    ClientPacket.SET_AWAY_MESSAGE: READING,
    ClientPacket.TOGGLE_BLOCK_NON_FRIEND_DMS: STORING,
    ClientPacket.FRIEND_ADD: STORING,
    ClientPacket.FRIEND_REMOVE: STORING,
    ClientPacket.CHANGE_ACTION: APPENDING,
    ClientPacket.SEND_PUBLIC_MESSAGE: APPENDING,
    ClientPacket.SEND_PRIVATE_MESSAGE: STORING,
    # Frames: their readers may skip entries, or their topic has twice the bound.
    ClientPacket.SPECTATE_FRAMES: 3,  # a client sends about 5 bundles a second
    ClientPacket.MATCH_SCORE_UPDATE: 4,
    # Joining also pays for leaving. Both change the user count of a channel, which everybody receives.
    ClientPacket.START_SPECTATING: 3 * APPENDING,
    ClientPacket.JOIN_LOBBY: 3 * APPENDING,
    ClientPacket.CHANNEL_JOIN: 2 * APPENDING,
    ClientPacket.JOIN_MATCH: 3 * APPENDING,
    ClientPacket.CREATE_MATCH: 4 * APPENDING,
    ClientPacket.MATCH_START: 2 * APPENDING,
    ClientPacket.BEATMAP_INFO_REQUEST: 5 * STORING,
    ClientPacket.USER_PRESENCE_REQUEST_ALL: 5 * STORING,
}
"""Units of each packet. Any other packet that has a handler costs `APPENDING`."""

LEAVING: Final = frozenset((ClientPacket.LOGOUT, ClientPacket.PART_MATCH, ClientPacket.STOP_SPECTATING))
"""Packets that are handled even when the budget is used up."""

_WITH_IDS: Final = frozenset((ClientPacket.USER_STATS_REQUEST, ClientPacket.USER_PRESENCE_REQUEST))


def price_of(packet_id: int, payload: bytes) -> int:
    """Return the units that handling this packet costs."""
    price = PRICES.get(packet_id, APPENDING)
    if packet_id in _WITH_IDS:
        return price + len(payload) // (4 * IDS_A_UNIT)  # an id has 4 bytes
    return price


def affordable(packets: Sequence[tuple[int, bytes]], units: int) -> list[tuple[int, bytes]]:
    """Return the packets that `units` pay for, in order.

    All packets after the first one that is too expensive are dropped, because a cheaper one may depend on it. One
    packet of each kind in `LEAVING` is returned even then.
    """
    accepted: list[tuple[int, bytes]] = []
    leaving: set[int] = set()
    paying = True
    for packet_id, payload in packets:
        price = price_of(packet_id, payload)
        if paying and price <= units:
            units -= price
            accepted.append((packet_id, payload))
            continue
        paying = False
        if packet_id in LEAVING and packet_id not in leaving:
            leaving.add(packet_id)
            accepted.append((packet_id, payload))
    return accepted
