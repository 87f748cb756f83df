"""Spectating: which session watches which host, and the relay of frames."""

from kiai.spectating.service import Spectating

__all__ = ["Spectating"]
