"""Sessions: who is online, what they do, who is told, and what of all that a session reads."""

from kiai.presence.model import Arrived, Left, PresenceChanged, StatsChanged
from kiai.presence.reading import readable
from kiai.presence.service import Presence

__all__ = ["Arrived", "Left", "Presence", "PresenceChanged", "StatsChanged", "readable"]
