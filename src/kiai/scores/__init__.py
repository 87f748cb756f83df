"""Scores: recording of plays, best scores, boards, player stats, ranks, pp, replays and recalculation.

Owns the tables `scores`, `replays`, `stats`, `play_counts`, `first_places`, `rank_history`, `difficulties`, `medals`,
`integrity_flags` and the frames in the files store.
"""
