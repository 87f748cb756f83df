"""What happened, as events of the feed: the JSON that `/v2/events` sends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kiai.presence.model import Arrived, Left, StatsChanged
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.port import Entry


def _seen(fact: Arrived | StatsChanged) -> Sequence[Entry]:
    session, status = fact.session, fact.session.status
    data = {
        "online": True,
        "action": status.action,
        "info_text": status.info_text,
        "mode": status.mode,
        "mods": status.mods,
    }
    return [feed_entry(FeedEvent("presence", fact.at_ms, session.user_id, status.map_id or None, data))]


def _left(fact: Left) -> Sequence[Entry]:
    return [feed_entry(FeedEvent("presence", fact.at_ms, fact.user_id, None, {"online": False}))]


TABLE: Final[Mapping[type, Callable[[Any], Sequence[Entry]]]] = {
    Arrived: _seen,
    StatsChanged: _seen,
    Left: _left,
}
