"""The block that lazer appends to its replay files, and its conversion to a score of stable.

Lazer counts standardised points: 1,000,000 plus bonuses for every map. The boards compare classic points, which grow
with the map. `classic_score` is the formula by which lazer displays its scores in classic points; it depends on the
number of objects.

See docs/spec/replays.md#files-of-lazer.
"""

from typing import Any, Final

import msgspec

from kiai.osu.accuracy import HitCounts, judged
from kiai.osu.mods import bit_of, refused_mods
from kiai.osu.replay_file import BadReplay, decompress_block

BLOCK_MAX_BYTES: Final = 1024 * 1024
STANDARDISED_MAX: Final = 4_000_000
"""A bound above the 1,000,000 points with all multipliers and bonuses."""
OBJECTS_MAX: Final = 1_000_000

_POINTS: Final = 1_000_000
_BASIC: Final = frozenset({"miss", "meh", "ok", "good", "great", "perfect"})
"""The judgements of objects; ticks, slider tails and bonuses have others."""
_CLASSIC: Final = "CL"
_STABLE_ACRONYMS: Final = {"DC": "HT", "DS": "CO", "SV2": "V2"}
"""Lazer's acronym of a mod -> the acronym in stable, where they differ."""
_HARMLESS: Final = frozenset({"adjust_pitch", "restart"})
"""Settings of mods that do not affect the score."""
_SPEEDS: Final = {"DT": 1.5, "NC": 1.5, "HT": 0.75, "DC": 0.75}


class LazerMod(msgspec.Struct, frozen=True):
    """A mod; `settings` contains only the values that differ from the defaults."""

    acronym: str
    settings: dict[str, Any] | None = None


class LazerScore(msgspec.Struct, frozen=True):
    """The fields of lazer's block that kiai reads."""

    mods: list[LazerMod] | None = None
    maximum_statistics: dict[str, int] | None = None
    """The number of judgements of each kind in a perfect play."""
    rank: str | int | None = None

    @property
    def failed(self) -> bool:
        """Whether the block states a fail; older versions have no rank."""
        return self.rank in ("F", "f", -1)


def read_lazer_score(block: bytes) -> LazerScore:
    """Parse the block of a replay file. Returns a score without data for an empty block. Raises BadReplay."""
    if not block:
        return LazerScore()
    content = decompress_block(block, "lazer's block", max_bytes=BLOCK_MAX_BYTES)
    try:
        return msgspec.json.decode(content, type=LazerScore)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadReplay(f"lazer's block cannot be read: {error}") from None
    except RecursionError:
        raise BadReplay("lazer's block cannot be read: it is nested too deeply") from None


def lazer_mods(score: LazerScore) -> int:
    """Return the bits of the mods in the block; unknown mods have none."""
    mods = 0
    for mod in score.mods or ():
        mods |= bit_of(_STABLE_ACRONYMS.get(mod.acronym.upper(), mod.acronym)) or 0
    return mods


def lazer_mods_fault(score: LazerScore, mode: int) -> str | None:
    """Return which mod of the score does not exist in stable, or None."""
    for mod in score.mods or ():
        acronym = mod.acronym.upper()
        if acronym == _CLASSIC:  # Classic restores the behaviour of stable
            continue
        label = ascii(mod.acronym[:16])[1:-1]  # untrusted text; it ends up in a message
        bit = bit_of(_STABLE_ACRONYMS.get(acronym, acronym))
        if bit is None or _not_in_mode(bit, mode):
            return f"its mod {label} exists in lazer only"
        for name, value in (mod.settings or {}).items():
            if name not in _HARMLESS and not (name == "speed_change" and value == _SPEEDS.get(acronym)):
                return f"its mod {label} has a setting that exists in lazer only ({ascii(name[:32])[1:-1]})"
    return None


def _not_in_mode(bit: int, mode: int) -> bool:
    why = refused_mods(bit, mode)
    return why is not None and "outside" in why


def classic_score(standardised: int, mode: int, objects: int) -> int:
    """Convert a standardised score to classic points. `mode` is 0-3, `objects` the result of `objects_judged`."""
    # The constants are lazer's (ScoreInfoExtensions.GetDisplayScore). Mania's standardised score is its classic score.
    share = standardised / _POINTS
    match mode:
        case 0:
            return round((objects**2 * 32.57 + 100_000) * share)
        case 1:
            return round((objects * 1109 + 100_000) * share)
        case 2:
            return round((share * objects) ** 2 * 21.62 + standardised / 10)
        case _:
            return standardised


def objects_judged(score: LazerScore, mode: int, counts: HitCounts) -> int | None:
    """Return the number of objects in a complete play, or None if the file does not contain it."""
    judgements = sum(number for kind, number in (score.maximum_statistics or {}).items() if kind in _BASIC)
    if 0 < judgements <= OBJECTS_MAX:
        return judgements
    # Without the block the header's counts give the number. In catch a miss can be a fruit or a droplet, so there they
    # give it only without misses.
    if mode != 2:
        return judged(counts, mode)
    return counts.n300 if counts.nmiss == 0 else None
