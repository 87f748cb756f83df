"""Clans: who belongs together. Owns the table `clans`; membership stands in `users`."""

from kiai.clans.service import Clan, Clans, Member

__all__ = ["Clan", "Clans", "Member"]
