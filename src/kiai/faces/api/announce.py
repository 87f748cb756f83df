"""What happened, as events of the feed: the JSON that `/v2/events` sends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kiai.multiplayer import facts
from kiai.multiplayer.service import Opened, Told
from kiai.presence.model import Arrived, Left, StatsChanged
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.port import Entry

KINDS: Final[Mapping[type, str]] = {
    facts.Joined: "joined",
    facts.Left: "left",
    facts.HostPassed: "host_passed",
    facts.NameChanged: "name_changed",
    facts.MapChanged: "map_changed",
    facts.Started: "started",
    facts.Finished: "finished",
    facts.Aborted: "aborted",
    facts.Closed: "closed",
}
"""What of a match is news, as the history calls it."""


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


def _happened(fact: Told) -> Sequence[Entry]:
    match = fact.match
    if match.private:
        return ()
    entries = []
    for one in fact.facts:
        kind = KINDS.get(type(one))
        if kind is not None:
            user_id = getattr(one, "user_id", 0) or None
            data = {"match_id": match.history_id, "kind": kind, "name": match.name}
            entries.append(feed_entry(FeedEvent("match", fact.at_ms, user_id, max(0, match.map_id) or None, data)))
    return entries


def _opened(fact: Opened) -> Sequence[Entry]:
    match = fact.match
    if match.private:
        return ()
    data = {"match_id": match.history_id, "kind": "created", "name": match.name}
    return [feed_entry(FeedEvent("match", match.created_at_ms, match.created_by, None, data))]


TABLE: Final[Mapping[type, Callable[[Any], Sequence[Entry]]]] = {
    Arrived: _seen,
    StatsChanged: _seen,
    Left: _left,
    Told: _happened,
    Opened: _opened,
}
