"""The feed: what happens on this server as JSON events, for readers without a session (API streams, live pages).

Whoever makes something happen appends `feed_entry(FeedEvent(...))`, in the same act where the port allows it. A feed
shows everything to everybody: nothing about hidden players, private matches or what was not yet committed goes in.
"""

from typing import Any, Final, Literal, get_args

import msgspec

from kiai.realtime.port import FEED, Entry

EventType = Literal["score", "first_place", "match", "presence"]
EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)


class FeedEvent(msgspec.Struct, frozen=True):
    """Something that happened at `at_ms` (unix ms). `user_id`: who did it; `map_id`: on which map; None is neither.

    What else there is to say is in `data`, the same keys for every event of a type:
    - score: `id`, `mode`, `mods`, `score`, `pp`, `acc` (percent), `max_combo`, `grade`, `status` as the API's scores;
    - first_place: `score_id`, `mode`, `previous_user_id` (None: nobody was first);
    - match: `match_id`, `kind` (what of `match_events` happened), `name`;
    - presence: `online`, and while that is true `action`, `info_text`, `mode`, `mods`.
    """

    type: EventType
    at_ms: int = msgspec.field(name="at")
    user_id: int | None = None
    map_id: int | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class EventHead(msgspec.Struct, frozen=True):
    """What of an encoded event decides who wants it. `type` may be one that a newer process of ours appended."""

    type: str
    user_id: int | None = None
    map_id: int | None = None


_encode: Final = msgspec.json.Encoder().encode
_event_of: Final = msgspec.json.Decoder(FeedEvent).decode
_head_of: Final = msgspec.json.Decoder(EventHead).decode


def feed_entry(event: FeedEvent) -> Entry:
    """The event as an entry of the topic FEED. Its body is one line of JSON."""
    return Entry(FEED, _encode(event), event.user_id or 0)


def feed_event(body: bytes) -> FeedEvent:
    """The event that an entry's body says."""
    return _event_of(body)


def event_head(body: bytes) -> EventHead:
    """As `feed_event`, without the rest."""
    # PERF: 0.3 us; what is not asked for is skipped, not decoded.
    return _head_of(body)
