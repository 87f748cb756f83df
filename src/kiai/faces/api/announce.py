"""The public feed: domain events as the JSON entries that `/v2/events` streams."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kiai.multiplayer import events
from kiai.multiplayer.events import MatchChanged, MatchOpened
from kiai.multiplayer.model import LOCKED, READY, Match
from kiai.presence.events import CameOnline, OnlineHidden, OnlineShown, StatsChanged, WentOffline
from kiai.realtime.feed import FeedEvent, feed_entry
from kiai.realtime.port import Entry

# Readiness, slots, teams and mods change many times a minute and concern only the players of the match.
KINDS: Final[Mapping[type, str]] = {
    events.Joined: "joined",
    events.Left: "left",
    events.HostPassed: "host_passed",
    events.NameChanged: "name_changed",
    events.MapChanged: "map_changed",
    events.Started: "started",
    events.Finished: "finished",
    events.Aborted: "aborted",
    events.Closed: "closed",
}
"""The match events that the feed carries, with the names that the match history uses for them."""

QUIET: Final = (
    events.PlayerLoaded,
    events.AllLoaded,
    events.PlayerSkipped,
    events.AllSkipped,
    events.PlayerCompleted,
    events.TimerSet,
    events.TimerCleared,
    events.HistoryIdsSet,
)
"""The match events after which the feed has no `room` event: they change nothing that a list of rooms shows."""


def _online(event: CameOnline | StatsChanged | OnlineShown) -> Sequence[Entry]:
    if event.session.hides_online:
        return ()
    # The map is not in `data`, because the feed can be filtered by the event's own `map_id`.
    session, status = event.session, event.session.status
    data = {
        "online": True,
        "action": status.action,
        "info_text": status.info_text,
        "mode": status.mode,
        "mods": status.mods,
    }
    return [feed_entry(FeedEvent("presence", event.at_ms, session.user_id, status.map_id or None, data))]


def _offline(event: WentOffline) -> Sequence[Entry]:
    return () if event.hides_online else _shown_offline(event)


def _shown_offline(event: WentOffline | OnlineHidden) -> Sequence[Entry]:
    return [feed_entry(FeedEvent("presence", event.at_ms, event.user_id, None, {"online": False}))]


def _match_changed(event: MatchChanged) -> Sequence[Entry]:
    match = event.match
    if match.private:
        return ()
    entries = []
    for change in event.events:
        kind = KINDS.get(type(change))
        if kind is not None:
            user_id = getattr(change, "user_id", 0) or None
            data = {"match_id": match.history_id, "kind": kind, "name": match.name}
            # The rules use -1 for "no map picked"; the feed has null for it.
            entries.append(feed_entry(FeedEvent("match", event.at_ms, user_id, max(0, match.map_id) or None, data)))
    if any(not isinstance(change, QUIET) for change in event.events):
        entries.append(_room(match, event.at_ms))
    return entries


def _room(match: Match, at_ms: int) -> Entry:
    data = {
        "match_id": match.history_id,
        "name": match.name,
        "open": not match.closed,
        "locked": bool(match.password),
        "in_progress": match.in_progress,
        "mode": match.mode,
        "team_type": match.team_type,
        "win_condition": match.win_condition,
        "players": sum(slot.occupied for slot in match.slots),
        "ready": sum(slot.status == READY for slot in match.slots),
        "seats": sum(slot.status != LOCKED for slot in match.slots),
    }
    return feed_entry(FeedEvent("room", at_ms, None, max(0, match.map_id) or None, data))


def _match_opened(event: MatchOpened) -> Sequence[Entry]:
    match = event.match
    if match.private:
        return ()
    data = {"match_id": match.history_id, "kind": "created", "name": match.name}
    return [
        feed_entry(FeedEvent("match", match.created_at_ms, match.created_by, None, data)),
        _room(match, match.created_at_ms),
    ]


TABLE: Final[Mapping[type, Callable[[Any], Sequence[Entry]]]] = {
    CameOnline: _online,
    StatsChanged: _online,
    WentOffline: _offline,
    OnlineHidden: _shown_offline,
    OnlineShown: _online,
    MatchChanged: _match_changed,
    MatchOpened: _match_opened,
}
"""The encoder of each event type. An event of any other type is not published."""
