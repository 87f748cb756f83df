"""Multiplayer: the match as a pure value, who sits where in it, and what is played."""

from kiai.multiplayer.match import Match, Slot

__all__ = ["Match", "Slot"]
