"""One request of one session: who asks, and what is answered to it alone, before anything its topics hold."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kiai.realtime.port import Session


class Turn:
    """What the handlers of one request share. `session` is as the last handler left it."""

    __slots__ = ("ended", "out", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.out: list[bytes] = []
        self.ended = False

    def say(self, *packets: bytes) -> None:
        """Adds whole packets to the reply."""
        self.out.extend(packets)


Handler = Callable[[Turn, Any], Awaitable[None]]
"""Handles one packet whose payload was read (`packets.READERS`). A KiaiError from it costs this packet alone."""

Handlers = Mapping[int, Handler]
"""c2s packet id -> handler."""
