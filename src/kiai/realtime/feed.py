"""The feed: JSON events for readers without a session (API streams, live pages).

A service appends `feed_entry(FeedEvent(...))` together with its change where the port allows it. Everybody can read the
events, so no event is about hidden players, private matches or uncommitted changes. The exceptions are the types in
`STAFF_EVENT_TYPES`: a reader that passes events on withholds them from everybody but staff.
"""

from typing import Any, Final, Literal, get_args

import msgspec

from kiai.realtime.port import FEED, Entry

PublicEventType = Literal["score", "first_place", "match", "room", "presence", "online_count", "clan"]
StaffEventType = Literal["sanction", "flag", "report"]
EventType = Literal[PublicEventType, StaffEventType]
STAFF_EVENT_TYPES: Final[frozenset[str]] = frozenset(get_args(StaffEventType))
"""Types of events that only staff may read."""
SCORE_EVENT_TYPES: Final[frozenset[str]] = frozenset(("score", "first_place"))
"""Types of events about one score."""
EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)


class FeedEvent(msgspec.Struct, frozen=True):
    """One event at `at_ms` (unix ms), with its player and map where it has them.

    `data` has the same keys for every event of a type:
    - score: `id`, `mode`, `mods`, `score`, `pp`, `acc` (percent), `max_combo`, `grade`, `status`, as the API's
      scores, and `map_status`;
    - first_place: `score_id`, `mode`, `previous_user_id` (None if nobody was first);
    - match: `match_id`, `kind` (a kind of `match_events`), `name`;
    - `room`: the state of an open match after a change: `match_id`, `name`, `open` (False: it was closed), `locked` (it
      has a password), `in_progress`, `mode`, `team_type`, `win_condition`, `players`, `ready` and `seats`;
    - presence: `online`, and if that is true `action`, `info_text`, `mode`, `mods`;
    - clan: `clan_id`, `kind` (a kind of `clans.model.HistoryKind`), `tag`, `name`; `user_id` is the player whom the act
      concerns, if any;
    - sanction: `audit_id`, `action`, `actor` and `target` (`id` and `name`), `reason` and `until` (unix seconds);
    - report: a report as `staff.reports.Report`; flag: a flag;
    - online_count: `online`, the number of players online, at most once a second.
    """

    type: EventType
    at_ms: int = msgspec.field(name="at")
    user_id: int | None = None
    map_id: int | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class _ScoreIds(msgspec.Struct, frozen=True):
    """The ids in the data of an event about a score: `id` of the type `score`, `score_id` of `first_place`."""

    id: int | None = None
    score_id: int | None = None


class _OfScore(msgspec.Struct, frozen=True):
    data: _ScoreIds = _ScoreIds()


class EventHead(msgspec.Struct, frozen=True):
    """The fields of an encoded event by which readers filter.

    `type` is a plain text: during an upgrade a newer process may append a type that this one does not know.
    """

    type: str
    user_id: int | None = None
    map_id: int | None = None


_encode: Final = msgspec.json.Encoder().encode
_event_of: Final = msgspec.json.Decoder(FeedEvent).decode
_head_of: Final = msgspec.json.Decoder(EventHead).decode
_score_of: Final = msgspec.json.Decoder(_OfScore).decode


def feed_entry(event: FeedEvent) -> Entry:
    """Encode the event as an entry of the topic FEED. The body is one line of JSON."""
    return Entry(FEED, _encode(event), event.user_id or 0)


def feed_event(body: bytes) -> FeedEvent:
    """Decode the body of an entry of the feed. Raises msgspec.ValidationError or DecodeError."""
    return _event_of(body)


def event_head(body: bytes) -> EventHead:
    """Decode only the fields by which readers filter. Raises msgspec.ValidationError or DecodeError."""
    # PERF: runs for each event and reader; 0.3 us, because msgspec skips the other fields without decoding them.
    return _head_of(body)


def event_score(body: bytes) -> int:
    """Return the id of the score in an event of the type `score` or `first_place`, 0 without one.

    Raises msgspec.ValidationError or DecodeError.
    """
    data = _score_of(body).data
    return data.id or data.score_id or 0
