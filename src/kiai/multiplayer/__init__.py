"""Multiplayer: the rules of a match as pure functions, the service that runs them, history and mappools."""

from kiai.multiplayer.match import Match, Slot

__all__ = ["Match", "Slot"]
