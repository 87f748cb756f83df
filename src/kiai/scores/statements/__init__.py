"""The statements that change scores and the rows that derive from them, with the reads that only these changes use.

Every transaction locks rows in the same order, so that two of them cannot deadlock: the row of the player, then rows of
maps by key. Engines without row locks (SQLite) run one writing transaction at a time.
"""

from kiai.scores.statements import checking, first_places, hiding, plays, ranks, rebuilding, reconciling

__all__ = ["checking", "first_places", "hiding", "plays", "ranks", "rebuilding", "reconciling"]
