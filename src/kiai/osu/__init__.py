"""The game's own vocabulary: modes, mods, counts, grades, weights, privileges, countries, names, .osu and .osr files.

Pure rules and formats only: nothing here does I/O, and nothing here imports anything else of kiai's.
Import from its modules, such as `kiai.osu.mods`; this package exports nothing itself.
"""
