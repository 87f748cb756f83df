"""Scores: plays recorded, bests settled, boards, player stats, ranks, pp, replays, recalculation.

Owns the tables `scores`, `replays`, `stats`, `play_counts`, `first_places`, `rank_history`, `difficulties`, `medals`,
`integrity_flags` and the frames in the files store.
"""
