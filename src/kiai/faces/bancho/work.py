"""What a game client's packets may cost: a price for each packet, and a budget for each player.

A unit is about 20 us of the event loop, or a share of an entry in somebody else's topic. The prices hold two promises:

- A player's packets take at most about `UNITS_PER_S` units of every second, whatever they are.
- A packet that appends an entry to a topic of others costs at least `APPENDING` units. In the 60 seconds in which every
  honest client polls, one player therefore appends at most (BURST + 60 * UNITS_PER_S) / APPENDING = 812 entries to a
  topic: less than half of the smallest bound of a topic whose readers must miss nothing (`realtime.port.BOUNDS`). The
  frames of a running match come more often, and go to a topic with twice that bound.

Packets beyond the budget are dropped, and the player is told so. Leaving is always possible. What a body costs to read
is counted by the limit on requests, see `app.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from kiai.faces.bancho.packets import Client

UNITS_PER_S: Final = 100
BURST: Final = 500
READING: Final = 2  # a look at the state of this process, answered to the asker alone
APPENDING: Final = 8  # an entry in a topic that others follow
STORING: Final = 12  # a write or several reads in the database
IDS_A_UNIT: Final = 8
YIELD_UNITS: Final = 50  # after that much work the event loop serves others, about 1 ms

PRICES: Final[Mapping[int, int]] = {
    # Leaving was paid for by joining, and a second packet of this kind in a row changes nothing.
    Client.LOGOUT: READING,
    Client.PART_MATCH: READING,
    Client.STOP_SPECTATING: READING,
    Client.PART_LOBBY: READING,
    Client.CHANNEL_PART: READING,
    Client.REQUEST_STATUS_UPDATE: READING,
    Client.RECEIVE_UPDATES: READING,
    Client.USER_STATS_REQUEST: READING,
    Client.USER_PRESENCE_REQUEST: READING,
    Client.SET_AWAY_MESSAGE: READING,
    Client.TOGGLE_BLOCK_NON_FRIEND_DMS: STORING,
    Client.FRIEND_ADD: STORING,
    Client.FRIEND_REMOVE: STORING,
    Client.CHANGE_ACTION: APPENDING,
    Client.SEND_PUBLIC_MESSAGE: APPENDING,
    Client.SEND_PRIVATE_MESSAGE: STORING,
    # Frames: their readers skip what they missed, or have twice the bound.
    Client.SPECTATE_FRAMES: 3,  # a client sends about 5 bundles a second
    Client.MATCH_SCORE_UPDATE: 4,
    # Joining pays for leaving as well; a channel's count is told to everybody both times.
    Client.START_SPECTATING: 3 * APPENDING,
    Client.JOIN_LOBBY: 3 * APPENDING,
    Client.CHANNEL_JOIN: 2 * APPENDING,
    Client.JOIN_MATCH: 3 * APPENDING,
    Client.CREATE_MATCH: 4 * APPENDING,
    Client.MATCH_START: 2 * APPENDING,
    Client.BEATMAP_INFO_REQUEST: 5 * STORING,
    Client.USER_PRESENCE_REQUEST_ALL: 5 * STORING,
}
"""Units of each packet; any other packet that has a handler costs `APPENDING`."""

LEAVING: Final = frozenset((Client.LOGOUT, Client.PART_MATCH, Client.STOP_SPECTATING))
"""A player whose budget is used up can still leave."""

_ASKING_FOR_IDS: Final = frozenset((Client.USER_STATS_REQUEST, Client.USER_PRESENCE_REQUEST))


def price_of(packet_id: int, payload: bytes) -> int:
    """Units that handling this packet costs."""
    price = PRICES.get(packet_id, APPENDING)
    if packet_id in _ASKING_FOR_IDS:
        return price + len(payload) // (4 * IDS_A_UNIT)
    return price


def affordable(asked: Sequence[tuple[int, bytes]], units: int) -> list[tuple[int, bytes]]:
    """The packets, in order, that this many units pay for.

    The first packet that is too expensive ends the paying, because a later, cheaper one may depend on it. After that
    one packet of each kind in `LEAVING` is still taken.
    """
    taken: list[tuple[int, bytes]] = []
    left: set[int] = set()
    paying = True
    for packet_id, payload in asked:
        price = price_of(packet_id, payload)
        if paying and price <= units:
            units -= price
            taken.append((packet_id, payload))
            continue
        paying = False
        if packet_id in LEAVING and packet_id not in left:
            left.add(packet_id)
            taken.append((packet_id, payload))
    return taken
