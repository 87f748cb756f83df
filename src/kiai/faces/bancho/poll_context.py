"""The state that the handlers of one poll share."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kiai.realtime.port import Session


class PollContext:
    """One poll: the session as the last handler left it, and the replies for that session only.

    `out`: packets that precede the entries of the session's topics. `ended`: a handler ended the session.
    `lobby_listed`: the reply has the matches of the lobby already.
    """

    __slots__ = ("ended", "lobby_listed", "out", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.out: list[bytes] = []
        self.ended = False
        self.lobby_listed = False

    def reply(self, *packets: bytes) -> None:
        """Add encoded packets to the reply."""
        self.out.extend(packets)


Handler = Callable[[PollContext, Any], Awaitable[None]]
"""Handles one packet with its decoded payload (`packets.READERS`). After a KiaiError the next packet is handled."""

Handlers = Mapping[int, Handler]
"""Handlers by the id of the client's packet."""
