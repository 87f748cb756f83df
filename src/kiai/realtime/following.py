"""Follows the public feed for readers inside the server, such as live pages. One reader per process."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from kiai.realtime.port import FEED, Realtime

READ_AT_ONCE: Final = 256


class LiveEvent(msgspec.Struct, frozen=True):
    """A decoded event of the feed, with the fields of `feed.FeedEvent`.

    `type` is a plain text: during an upgrade a newer process may append a type that this one does not know.
    """

    type: str
    at_ms: int = msgspec.field(name="at")
    user_id: int | None = None
    map_id: int | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class FeedPart(msgspec.Struct, frozen=True):
    """New events, oldest first. `gap`: events before them were lost, so the receiver reads its data again."""

    events: tuple[LiveEvent, ...]
    gap: bool = False


Receiver = Callable[[FeedPart], Awaitable[None]]

_decode: Final = msgspec.json.Decoder(LiveEvent).decode


class FeedFollower:
    """Passes each event of the feed once to every receiver. A job calls `follow` several times a second."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime
        self._receivers: list[Receiver] = []
        self._next: int | None = None

    def subscribe(self, receiver: Receiver) -> None:
        """Add a receiver. The first part that it gets has a gap: it loads its data then."""
        self._receivers.append(receiver)

    async def follow(self) -> None:
        """Pass on what is new in the feed. Raises Unavailable; the next call continues at the same place."""
        # The end is read before the receivers load their data, so that no event falls between the two.
        end = await self._realtime.feed_end(FEED)
        if self._next is None:
            await self._pass_on(FeedPart((), gap=True))
            self._next = end
        while end != self._next:
            first, bodies = await self._realtime.feed_after(FEED, self._next, READ_AT_ONCE)
            # Another position: the feed dropped entries, or it is a new one because shared state was lost.
            await self._pass_on(FeedPart(tuple(map(_decode, bodies)), gap=first != self._next))
            self._next = first + len(bodies)
            if len(bodies) < READ_AT_ONCE:
                break

    async def _pass_on(self, part: FeedPart) -> None:
        for receiver in self._receivers:
            await receiver(part)
