"""Start and end of sessions, statuses, and the filter of entries that a session may read."""

from kiai.presence.events import CameOnline, PresenceChanged, StatsChanged, WentOffline
from kiai.presence.service import Presence
from kiai.presence.visible_entries import readable

__all__ = ["CameOnline", "Presence", "PresenceChanged", "StatsChanged", "WentOffline", "readable"]
