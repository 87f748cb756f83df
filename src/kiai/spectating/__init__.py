"""Watching a player: who watches whom, and the frames that are relayed as bytes."""

from kiai.spectating.service import Spectating

__all__ = ["Spectating"]
