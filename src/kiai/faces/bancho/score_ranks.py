"""Replies for clients that show ranks by ranked score (`!ranking score`).

Topics store each presence and each status once, with the rank by pp. This module puts the other ranks into the reply to
one session (docs/spec/protocol.md#user-presence, docs/spec/protocol.md#user-stats).
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final

from kiai.faces.bancho.packets import ServerPacket
from kiai.realtime.port import Realtime

_HEADER: Final = struct.Struct("<HBI")
_I32: Final = struct.Struct("<i")
# The rank is the last field of a presence. In stats, the pp follow it.
_BYTES_AFTER: Final = {ServerPacket.USER_PRESENCE: 0, ServerPacket.USER_STATS: 2}


async def with_score_ranks(realtime: Realtime, reply: bytes) -> bytes:
    """Return a reply in which presences and stats have the ranks by ranked score."""
    users = sorted({user_id for user_id, _ in _ranks_in(reply)})
    if not users:
        return reply
    sessions = await realtime.sessions_among(users)
    ranks = {user_id: 0 if one.hidden else one.stats.score_rank for user_id, one in sessions.items()}
    return with_ranks(reply, ranks)


def with_ranks(reply: bytes, ranks: Mapping[int, int]) -> bytes:
    """Return a reply with these ranks by user id. Other players have no rank, which is 0."""
    changed = bytearray(reply)
    for user_id, place in _ranks_in(reply):
        _I32.pack_into(changed, place, ranks.get(user_id, 0))
    return bytes(changed)


def _ranks_in(reply: bytes) -> Iterator[tuple[int, int]]:
    """Yield the id of each player in a reply of the server, and the index of the rank in the bytes."""
    start = 0
    while start < len(reply):
        packet_id, _, size = _HEADER.unpack_from(reply, start)
        payload = start + _HEADER.size
        start = payload + size
        if packet_id in _BYTES_AFTER:
            # A negative id in a presence is that of a player who is only in IRC.
            user_id = abs(_I32.unpack_from(reply, payload)[0])
            yield user_id, start - _BYTES_AFTER[packet_id] - _I32.size
