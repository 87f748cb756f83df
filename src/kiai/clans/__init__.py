"""Clans: groups of players. Owns the tables of clans; `users` has the membership and role of each player."""

from kiai.clans.acts import ClanActs, ClanRules
from kiai.clans.directory import ClanDirectory
from kiai.clans.service import Clan, Clans, Member

__all__ = ["Clan", "ClanActs", "ClanDirectory", "ClanRules", "Clans", "Member"]
