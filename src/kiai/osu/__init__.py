"""The rules and file formats of the game: modes, mods, grades, weights, privileges, countries, names, .osu and .osr.

The modules are pure: they do no I/O and import no other package of kiai. Import from a module, e.g. `kiai.osu.mods`;
the package itself exports nothing.
"""
